"""Sealed objects: `salt (32) | commitment (32) | AEAD(plaintext)`.  docs/format.md section 3.

Every object has a fresh random salt and so a key of its own; the commitment binds the ciphertext to
that key, because the AEADs do not (https://eprint.iacr.org/2020/1456).  The object's name is part of
the derivation, so that bytes served under another name do not open.
"""

from __future__ import annotations

import hmac
import secrets

from bitbacker.crypto.keys import derive
from bitbacker.errors import SealBroken
from bitbacker.spi import Buffer, Cipher

SALT_SIZE_BYTES = 32
COMMITMENT_SIZE_BYTES = 32
_PREFIX_SIZE_BYTES = SALT_SIZE_BYTES + COMMITMENT_SIZE_BYTES


class Sealer:
    """Seals and opens objects of one purpose.  Safe to share between threads."""

    def __init__(self, cipher: Cipher, key: bytes) -> None:
        self._cipher = cipher
        self._key = key

    @property
    def overhead_bytes(self) -> int:
        """How much longer an object is than its plaintext."""
        return _PREFIX_SIZE_BYTES + self._cipher.tag_size_bytes

    def seal_into(self, name: str, plaintext: Buffer, out: bytearray | memoryview) -> None:
        """Fill `out`, which is `overhead_bytes` longer than `plaintext`, with the sealed object."""
        view = memoryview(out)
        salt = secrets.token_bytes(SALT_SIZE_BYTES)
        key, commitment = self._derive(salt, name)
        view[:SALT_SIZE_BYTES] = salt
        view[SALT_SIZE_BYTES:_PREFIX_SIZE_BYTES] = commitment
        self._cipher.seal_into(key, name.encode(), plaintext, view[_PREFIX_SIZE_BYTES:])

    def seal(self, name: str, plaintext: Buffer) -> bytes:
        """Like `seal_into`, into new memory."""
        out = bytearray(len(plaintext) + self.overhead_bytes)
        self.seal_into(name, plaintext, out)
        return bytes(out)

    def open(self, name: str, sealed: Buffer) -> bytearray:
        """The plaintext of the object called `name`.  Raises `SealBroken`."""
        out = bytearray(max(0, len(sealed) - self.overhead_bytes))
        self.open_into(name, sealed, out)
        return out

    def open_into(self, name: str, sealed: Buffer, out: bytearray | memoryview) -> None:
        """Like `open`, into memory that is reused: `overhead_bytes` shorter than `sealed`."""
        view = memoryview(sealed)
        if len(view) < self.overhead_bytes:
            raise SealBroken(f"{name} is too short to be a sealed object")
        key, commitment = self._derive(bytes(view[:SALT_SIZE_BYTES]), name)
        if not hmac.compare_digest(commitment, view[SALT_SIZE_BYTES:_PREFIX_SIZE_BYTES]):
            raise SealBroken(f"{name} is damaged, or not an object of this repository")
        try:
            self._cipher.open_into(key, name.encode(), view[_PREFIX_SIZE_BYTES:], out)
        except SealBroken as error:
            raise SealBroken(f"{name} is damaged") from error

    def _derive(self, salt: bytes, name: str) -> tuple[bytes, bytes]:
        size = self._cipher.key_size_bytes
        material = derive(
            self._key, salt, b"bitbacker/1/object/" + name.encode(), size + COMMITMENT_SIZE_BYTES
        )
        return material[:size], material[size:]
