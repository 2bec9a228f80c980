"""The numbers behind the cuts: what a key and a configuration mean.  docs/chunkers.md is the authority."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bitbacker.errors import ConfigError

Table: TypeAlias = NDArray[np.uint64]
"""256 random numbers, one for each value of a byte."""

WINDOW_BYTES = 64
"""A 64-bit hash that shifts by one bit a byte knows this many bytes."""

KEY_SIZE_BYTES = 32
_PERSON = b"bitbacker.gear"
_SYMBOLS = 256
_DIGEST_BYTES = 64
_NORMALISATION_BITS = 2
_LARGEST_CHUNK_BYTES = 1 << 30


class Rule(NamedTuple):
    """All that decides where a chunk ends; a tuple because `_gear.c` takes it apart."""

    table: Table
    strict_bits: int
    """How many top bits of a hash must be zero to end a chunk that is still short."""
    loose_bits: int
    """How many top bits of a hash must be zero to end a chunk that is long enough."""
    min_size_bytes: int
    switch_size_bytes: int
    """From this size on a chunk is long enough."""
    max_size_bytes: int


@dataclass(frozen=True, slots=True)
class GearConfig:
    """Chunk sizes in bytes.

    `average_size_bytes` is a power of two, `min_size_bytes` at most half of it, `max_size_bytes` at
    least twice it.
    """

    min_size_bytes: int = 128 << 10
    average_size_bytes: int = 512 << 10
    max_size_bytes: int = 2 << 20

    def __post_init__(self) -> None:
        """Raise `ConfigError` when the sizes do not fit together."""
        average = self.average_size_bytes
        if average < 1 or average & (average - 1):
            raise ConfigError(f"gear: average_size_bytes = {average} is not a power of two")
        if not WINDOW_BYTES <= self.min_size_bytes <= average // 2:
            raise ConfigError(
                f"gear: min_size_bytes = {self.min_size_bytes} is not between {WINDOW_BYTES} "
                f"and half of average_size_bytes = {average}"
            )
        if not 2 * average <= self.max_size_bytes <= _LARGEST_CHUNK_BYTES:
            raise ConfigError(
                f"gear: max_size_bytes = {self.max_size_bytes} is not between twice "
                f"average_size_bytes = {average} and {_LARGEST_CHUNK_BYTES}"
            )


def rule_of(config: GearConfig, key: bytes) -> Rule:
    """The rule of a configuration under a 32-byte key.  Raises `ConfigError` for another length."""
    bits = config.average_size_bytes.bit_length() - 1
    return Rule(
        table=_table(key),
        strict_bits=bits + _NORMALISATION_BITS,
        loose_bits=bits - _NORMALISATION_BITS,
        min_size_bytes=config.min_size_bytes,
        # The search for a loose end takes another quarter of the average on top.  Switching at 13/16
        # brings the mean of random data to within some percent of the average.
        switch_size_bytes=config.average_size_bytes * 13 // 16,
        max_size_bytes=config.max_size_bytes,
    )


def _table(key: bytes) -> Table:
    """BLAKE2b in counter mode."""
    if len(key) != KEY_SIZE_BYTES:
        raise ConfigError(f"gear: the key has {len(key)} bytes and needs {KEY_SIZE_BYTES}")
    blocks = _SYMBOLS * 8 // _DIGEST_BYTES
    stream = b"".join(
        hashlib.blake2b(
            block.to_bytes(4, "little"), digest_size=_DIGEST_BYTES, key=key, person=_PERSON
        ).digest()
        for block in range(blocks)
    )
    table = np.frombuffer(stream, dtype="<u8").astype(np.uint64)
    table.setflags(write=False)
    return table
