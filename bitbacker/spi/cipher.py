"""The cipher contract: authenticated encryption of a whole object under a key that is used once.

The framework derives a fresh key for every object, so a cipher needs no nonce of its own and uses a
fixed one.  Called from many threads at once; should leave the GIL.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from bitbacker.spi.types import Buffer


class Cipher(Protocol):
    """An AEAD.  The plugin's name is stored in the repository."""

    api_version: ClassVar[int]
    Config: ClassVar[type[Any]]
    key_size_bytes: ClassVar[int]
    """How much key it wants, at most 64."""
    tag_size_bytes: ClassVar[int]
    """How much longer than the plaintext the sealed bytes are."""

    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`."""

    def seal_into(self, key: bytes, aad: bytes, plaintext: Buffer, out: bytearray | memoryview) -> None:
        """Write the sealed bytes, `len(plaintext) + tag_size_bytes` of them, into `out`.

        Never called twice with one key.  `out` does not overlap `plaintext`.
        """

    def open_into(self, key: bytes, aad: bytes, sealed: Buffer, out: bytearray | memoryview) -> None:
        """Write the plaintext into `out`, or raise `SealBroken` and reveal nothing."""
