"""The local cache: decrypted copies of tables, disposable at any time.

A cached table is one file: blobs of bytes with their offsets and a BLAKE3 of everything before it.
A file that is not exactly what was written is removed and counts as absent.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from bitbacker.crypto.keys import object_hash, object_hasher

_MAGIC = b"bitbacker cache 1\n"
_HASH_SIZE_BYTES = 32
_COUNT = struct.Struct("<Q")
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# This directory is a cache of bitbacker.\n"


class TableCache:
    """Cached tables of one repository, by the identity of their root."""

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self._folder = folder
        self._enabled = enabled

    def load(self, identity: str) -> Sequence[memoryview] | None:
        """The blobs that were stored under this identity, or None."""
        if not self._enabled:
            return None
        path = self._folder / identity
        try:
            blobs = _parse(_mapped(path))
        except OSError:
            return None
        if blobs is None:
            with suppress(OSError):
                path.unlink()
        return blobs

    def store(self, identity: str, blobs: Iterable[bytes | memoryview]) -> None:
        """Keep blobs; a cache that cannot be written is no error."""
        if not self._enabled:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            tag = self._folder.parent / "CACHEDIR.TAG"
            if not tag.exists():
                tag.write_bytes(_TAG)
            _write(self._folder / identity, list(blobs))

    def keep_only(self, identities: Iterable[str]) -> None:
        """Remove everything else."""
        wanted = set(identities)
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in wanted:
                    path.unlink()


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            # An empty file cannot be mapped.
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _write(path: Path, blobs: list[bytes | memoryview]) -> None:
    sizes = b"".join(_COUNT.pack(len(blob)) for blob in blobs)
    hasher = object_hasher()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in (_MAGIC, _COUNT.pack(len(blobs)), sizes, *blobs):
                hasher.update(part)
                file.write(part)
            file.write(hasher.digest())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _parse(data: memoryview) -> list[memoryview] | None:
    start = len(_MAGIC) + _COUNT.size
    if len(data) < start + _HASH_SIZE_BYTES or data[: len(_MAGIC)] != _MAGIC:
        return None
    if object_hash(data[:-_HASH_SIZE_BYTES]) != data[-_HASH_SIZE_BYTES:]:
        return None
    (count,) = _COUNT.unpack_from(data, len(_MAGIC))
    at = start + count * _COUNT.size
    blobs: list[memoryview] = []
    for number in range(count):
        (size,) = _COUNT.unpack_from(data, start + number * _COUNT.size)
        blobs.append(data[at : at + size])
        at += size
    return blobs
