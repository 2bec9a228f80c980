"""Looking for words in what a storage holds, in every disguise that a careless program might use."""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

import blake3
import zstandard

_DIGEST_BYTES = 16
"""A hash is looked for by its first 16 bytes, so one that was cut off is found, too."""

_OUTPUT_MAX_BYTES = 64 * 1024 * 1024


def disguises(word: str) -> dict[str, bytes]:
    """What to look for, and what to call it when it is found."""
    found: dict[str, bytes] = {}
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        raw = word.encode(encoding)
        found[encoding] = raw
        found[f"{encoding} in hex"] = raw.hex().encode()
        for shift in range(3):
            found[f"{encoding} in base64, shifted by {shift}"] = _base64(raw, shift)
    for name, digest in _digests(word.encode()):
        found[name] = digest
        found[f"{name} in hex"] = digest.hex().encode()
        found[f"{name} in base64"] = _base64(digest, 0)
    return found


def _digests(raw: bytes) -> Iterator[tuple[str, bytes]]:
    for name in ("sha1", "sha256", "blake2b"):
        yield name, hashlib.new(name, raw).digest()[:_DIGEST_BYTES]
    yield "blake3", blake3.blake3(raw).digest()[:_DIGEST_BYTES]


def _base64(raw: bytes, shift: int) -> bytes:
    """The characters that `raw` alone decides, when it starts `shift` bytes into a group of three."""
    text = base64.b64encode(bytes(shift) + raw)
    return text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]


def readings(data: bytes) -> Iterator[bytes]:
    """An object as it is, and unpacked, if somebody can."""
    yield data
    with suppress(OSError, EOFError, zlib.error):
        yield gzip.decompress(data)
    with suppress(zlib.error):
        yield zlib.decompress(data)
    with suppress(zstandard.ZstdError):
        yield zstandard.ZstdDecompressor().decompress(data, max_output_size=_OUTPUT_MAX_BYTES)


def found_in(words: Iterable[str], haystacks: Iterable[bytes]) -> set[str]:
    """Which words occur, and how, in any letter case of hex."""
    needles = {(word, name): needle for word in words for name, needle in disguises(word).items()}
    found: set[str] = set()
    for haystack in haystacks:
        for reading in readings(haystack):
            lower = reading.lower()
            for (word, name), needle in needles.items():
                if needle in reading or (name.endswith("hex") and needle in lower):
                    found.add(f"{word!r} as {name}")
    return found
