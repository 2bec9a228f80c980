"""The numbers behind the cuts of `toeplitz-aes`: what a key and a configuration mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bitbacker_plugins.gear.sizes import (
    check_key,
    check_sizes,
    loose_bits_of,
    strict_bits_of,
    switch_size_bytes_of,
)

Table: TypeAlias = NDArray[np.uint64]
"""256 random pairs of elements of GF(2^64), one for each value of a byte."""

AES_KEY_BYTES = 16
_TABLE_PERSON = b"toeplitz.table"
_AES_PERSON = b"toeplitz.aes"
_SYMBOLS = 256
_DIGEST_BYTES = 64


class Rule(NamedTuple):
    """All that decides where a chunk ends; a tuple because `_scan.c` takes it apart.  See `Limits`."""

    table: Table
    aes_key: bytes
    strict_bits: int
    loose_bits: int
    min_size_bytes: int
    switch_size_bytes: int
    max_size_bytes: int


@dataclass(frozen=True, slots=True)
class ToeplitzAesConfig:
    """Chunk sizes in bytes.

    `average_size_bytes` is a power of two, `min_size_bytes` at most half of it, `max_size_bytes` at
    least twice it.
    """

    min_size_bytes: int = 256 << 10
    average_size_bytes: int = 512 << 10
    max_size_bytes: int = 2 << 20

    def __post_init__(self) -> None:
        """Raise `ConfigError` when the sizes do not fit together."""
        check_sizes("toeplitz-aes", self)


def rule_of(config: ToeplitzAesConfig, key: bytes) -> Rule:
    """The rule of a configuration under a 32-byte key.  Raises `ConfigError` for another length."""
    check_key("toeplitz-aes", key)
    return Rule(
        table=_table(key),
        aes_key=hashlib.blake2b(digest_size=AES_KEY_BYTES, key=key, person=_AES_PERSON).digest(),
        strict_bits=strict_bits_of(config),
        loose_bits=loose_bits_of(config),
        min_size_bytes=config.min_size_bytes,
        switch_size_bytes=switch_size_bytes_of(config),
        max_size_bytes=config.max_size_bytes,
    )


def _table(key: bytes) -> Table:
    """BLAKE2b in counter mode; independent entries are what the bound in docs/chunkers.md rests on."""
    blocks = _SYMBOLS * 16 // _DIGEST_BYTES
    stream = b"".join(
        hashlib.blake2b(
            block.to_bytes(4, "little"), digest_size=_DIGEST_BYTES, key=key, person=_TABLE_PERSON
        ).digest()
        for block in range(blocks)
    )
    table = np.frombuffer(stream, dtype="<u8").astype(np.uint64).reshape(_SYMBOLS, 2)
    table.setflags(write=False)
    return table
