"""`aes-256-gcm`: authenticated encryption for machines with AES instructions."""

from __future__ import annotations

from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bitbacker.errors import SealBroken
from bitbacker.spi import Buffer, NoConfig, hookimpl

# Every key seals once, so every nonce is the first of its key.
_NONCE = bytes(12)


class Aes256Gcm:
    """AES-256-GCM (NIST SP 800-38D): the default, and the fastest where the CPU has AES instructions.

    Every object has a key of its own, so the nonce is fixed and never repeats under a key.
    A tag of 16 bytes follows the ciphertext.  There is nothing to configure.
    """

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[NoConfig]] = NoConfig
    key_size_bytes: ClassVar[int] = 32
    tag_size_bytes: ClassVar[int] = 16

    def __init__(self, config: NoConfig) -> None:
        """Nothing to keep: the keys come with the calls."""

    def seal_into(self, key: bytes, aad: bytes, plaintext: Buffer, out: bytearray | memoryview) -> None:
        """Write ciphertext and tag into `out`.  Raises `ValueError` for a wrong size of `key` or `out`."""
        self._aead(key).encrypt_into(_NONCE, plaintext, aad, out)

    def open_into(self, key: bytes, aad: bytes, sealed: Buffer, out: bytearray | memoryview) -> None:
        """Write the plaintext into `out`.

        Raises `SealBroken`, and then `out` is all zeros; `ValueError` for a wrong size of `key` or `out`.
        """
        try:
            self._aead(key).decrypt_into(_NONCE, sealed, aad, out)
        except InvalidTag as error:
            # OpenSSL decrypts before it has seen the tag, and leaves there what nobody vouches for.
            memoryview(out).cast("B")[:] = bytes(memoryview(out).nbytes)
            raise SealBroken("the AES-256-GCM seal of an object does not hold") from error

    def _aead(self, key: bytes) -> AESGCM:
        # The library would take a shorter key and quietly be a weaker cipher.
        if len(key) != self.key_size_bytes:
            raise ValueError(f"AES-256-GCM takes a key of {self.key_size_bytes} bytes, not {len(key)}")
        return AESGCM(key)


@hookimpl
def bitbacker_cipher(name: str) -> type[Aes256Gcm] | None:
    """Answer to `aes-256-gcm`."""
    return Aes256Gcm if name == "aes-256-gcm" else None
