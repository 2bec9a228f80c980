"""`chacha20-poly1305`: authenticated encryption for machines without AES instructions."""

from __future__ import annotations

from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bitbacker.errors import SealBroken
from bitbacker.spi import Buffer, NoConfig, hookimpl

# Every key seals once, so every nonce is the first of its key.
_NONCE = bytes(12)


class ChaCha20Poly1305Cipher:
    """ChaCha20-Poly1305 (RFC 8439): faster than `aes-256-gcm` where the CPU has no AES instructions.

    It is as strong, and runs in constant time on any CPU.
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
        ChaCha20Poly1305(key).encrypt_into(_NONCE, plaintext, aad, out)

    def open_into(self, key: bytes, aad: bytes, sealed: Buffer, out: bytearray | memoryview) -> None:
        """Write the plaintext into `out`.

        Raises `SealBroken`, and then `out` is all zeros; `ValueError` for a wrong size of `key` or `out`.
        """
        try:
            ChaCha20Poly1305(key).decrypt_into(_NONCE, sealed, aad, out)
        except InvalidTag as error:
            # OpenSSL decrypts before it has seen the tag, and leaves there what nobody vouches for.
            memoryview(out).cast("B")[:] = bytes(memoryview(out).nbytes)
            raise SealBroken("the ChaCha20-Poly1305 seal of an object does not hold") from error


@hookimpl
def bitbacker_cipher(name: str) -> type[ChaCha20Poly1305Cipher] | None:
    """Answer to `chacha20-poly1305`."""
    return ChaCha20Poly1305Cipher if name == "chacha20-poly1305" else None
