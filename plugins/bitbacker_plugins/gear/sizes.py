"""What a configuration of chunk sizes means, for `gear` and `toeplitz-aes` alike; see docs/chunkers.md."""

from __future__ import annotations

from typing import Protocol

from bitbacker.errors import ConfigError

WINDOW_BYTES = 64
"""A hash depends on this many bytes before its position and on nothing else."""

KEY_SIZE_BYTES = 32
_NORMALISATION_BITS = 2
_LARGEST_CHUNK_BYTES = 1 << 30


class Sizes(Protocol):
    """Chunk sizes in bytes."""

    @property
    def min_size_bytes(self) -> int: ...
    @property
    def average_size_bytes(self) -> int: ...
    @property
    def max_size_bytes(self) -> int: ...


class Limits(Protocol):
    """What a rule says about sizes; the bits are how many top bits of a hash must be zero to end a chunk."""

    @property
    def strict_bits(self) -> int:
        """For a chunk that is still short."""

    @property
    def loose_bits(self) -> int:
        """For a chunk that is long enough."""

    @property
    def min_size_bytes(self) -> int: ...

    @property
    def switch_size_bytes(self) -> int:
        """From this size on a chunk is long enough."""

    @property
    def max_size_bytes(self) -> int: ...


def check_sizes(name: str, sizes: Sizes) -> None:
    """Raise `ConfigError`, in the name of a chunker, when the sizes do not fit together."""
    average = sizes.average_size_bytes
    if average < 1 or average & (average - 1):
        raise ConfigError(f"{name}: average_size_bytes = {average} is not a power of two")
    if not WINDOW_BYTES <= sizes.min_size_bytes <= average // 2:
        raise ConfigError(
            f"{name}: min_size_bytes = {sizes.min_size_bytes} is not between {WINDOW_BYTES} "
            f"and half of average_size_bytes = {average}"
        )
    if not 2 * average <= sizes.max_size_bytes <= _LARGEST_CHUNK_BYTES:
        raise ConfigError(
            f"{name}: max_size_bytes = {sizes.max_size_bytes} is not between twice "
            f"average_size_bytes = {average} and {_LARGEST_CHUNK_BYTES}"
        )


def check_key(name: str, key: bytes) -> None:
    """Raise `ConfigError`, in the name of a chunker, when `key` is not 32 bytes long."""
    if len(key) != KEY_SIZE_BYTES:
        raise ConfigError(f"{name}: the key has {len(key)} bytes and needs {KEY_SIZE_BYTES}")


def strict_bits_of(sizes: Sizes) -> int:
    return sizes.average_size_bytes.bit_length() - 1 + _NORMALISATION_BITS


def loose_bits_of(sizes: Sizes) -> int:
    return sizes.average_size_bytes.bit_length() - 1 - _NORMALISATION_BITS


def switch_size_bytes_of(sizes: Sizes) -> int:
    """Where short chunks end.

    The search for a loose end takes another quarter of the average on top.  Switching at 13/16 brings
    the mean of random data to within some percent of the average.
    """
    return sizes.average_size_bytes * 13 // 16
