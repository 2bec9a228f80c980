"""The key hierarchy: one random root key, one derived key per purpose.  docs/format.md section 11."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from blake3 import blake3
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

CHUNK_ID_SIZE_BYTES = 16
FINGERPRINT_SIZE_BYTES = 8
_PREFIX = b"bitbacker/1/"


def expand(key: bytes, purpose: str, size_bytes: int = 32) -> bytes:
    """A key for one purpose (HKDF-Expand with SHA-256, RFC 5869)."""
    return HKDFExpand(SHA256(), size_bytes, _PREFIX + purpose.encode()).derive(key)


def derive(secret: bytes, salt: bytes, info: bytes, size_bytes: int) -> bytes:
    """Key material from a secret and a salt (HKDF with SHA-256, RFC 5869)."""
    return HKDF(SHA256(), size_bytes, salt, info).derive(secret)


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Every key of a repository; never shown."""

    chunk_id: bytes
    chunker: bytes
    stat: bytes
    segment: bytes
    head: bytes
    sketch: bytes
    source: bytes
    repository_id: str

    def __repr__(self) -> str:
        return "Keys(***)"

    def chunk_identity(self, chunk: bytes | bytearray | memoryview) -> bytes:
        """Keyed BLAKE3 of a chunk, truncated to 128 bits."""
        return blake3(chunk, key=self.chunk_id).digest(CHUNK_ID_SIZE_BYTES)

    def fingerprint(self, path: bytes, row: bytes, link_target: bytes, *, marked: bool = False) -> bytes:
        """The 64-bit stat fingerprint of an entry: docs/format.md section 6.3.

        One that is `marked` changed while it was read, and never looks like what is there now.
        """
        data = b"%b%b\0%b%b" % (row, path, link_target, b"\0\1" if marked else b"")
        return blake2b(data, key=self.stat, digest_size=FINGERPRINT_SIZE_BYTES).digest()

    def segment_hash(self, identity: bytes) -> int:
        """The keyed hash of a segment's identity, as a number to be summed."""
        return int.from_bytes(blake3(identity, key=self.sketch).digest(), "little")

    def source_identity(self, host: str, source: str) -> bytes:
        """What names a source in a head."""
        data = host.encode("utf-8", "surrogateescape") + b"\0" + source.encode("utf-8", "surrogateescape")
        return blake3(data, key=self.source).digest(16)


def keys_of(root_key: bytes) -> Keys:
    """All keys below a root key."""
    return Keys(
        chunk_id=expand(root_key, "chunk-id"),
        chunker=expand(root_key, "chunker"),
        stat=expand(root_key, "stat"),
        segment=expand(root_key, "segment"),
        head=expand(root_key, "head"),
        sketch=expand(root_key, "sketch"),
        source=expand(root_key, "source"),
        repository_id=expand(root_key, "repository-id", 16).hex(),
    )


def object_hash(data: bytes | bytearray | memoryview) -> bytes:
    """The hash by which a head names the head before it: BLAKE3 of the whole object."""
    return blake3(data).digest()


def object_hasher() -> blake3:
    """The same of what comes in parts: `update` takes them, `digest` returns the hash."""
    return blake3()
