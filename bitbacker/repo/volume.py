"""How much a session stores: a bucket of what it needs, in segments that follow from the bucket alone.

V(T) = max(floor, Padmé(T) rounded up to small segments), where T is what has to be stored with all
metadata.  Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019) keeps
the leading bits of a length and rounds the others up: at most 12 % more, and 3 % from 1 GB on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitbacker.format.names import LARGE_SEGMENT_SIZE_BYTES, SMALL_SEGMENT_SIZE_BYTES

FLOOR_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Padding:
    """How sessions are padded; `none` gives up that a session tells no more than its bucket."""

    mode: Literal["padme", "none"] = "padme"
    floor_bytes: int = FLOOR_BYTES

    @property
    def blind_bytes(self) -> int:
        """Content up to this size is stored without asking whether it is stored already."""
        return self.floor_bytes if self.mode == "padme" else 0

    def bucket(self, needed_bytes: int) -> int:
        """The volume V of a session that has so much to store, in bytes."""
        if self.mode == "none":
            return _in_segments(max(needed_bytes, 1))
        return _in_segments(max(self.floor_bytes, padme(needed_bytes), 1))

    def at_least(self, volume_bytes: int) -> int:
        """The smallest bucket that is not less; not `bucket`, which rounds some large floors up."""
        floor = self.bucket(0)
        return floor if volume_bytes <= floor else self.bucket(volume_bytes)


@dataclass(frozen=True, slots=True)
class Volume:
    """How many segments of each size a bucket has."""

    large: int
    small: int

    @property
    def size_bytes(self) -> int:
        return self.large * LARGE_SEGMENT_SIZE_BYTES + self.small * SMALL_SEGMENT_SIZE_BYTES


def volume_of(bucket_bytes: int) -> Volume:
    """As many large segments as fit, the rest in small ones."""
    large, rest = divmod(bucket_bytes, LARGE_SEGMENT_SIZE_BYTES)
    return Volume(large, rest // SMALL_SEGMENT_SIZE_BYTES)


def padme(size_bytes: int) -> int:
    """`size_bytes` rounded up so that few bits of it are left."""
    if size_bytes < 2:  # noqa: PLR2004  # there is nothing to round
        return size_bytes
    exponent = size_bytes.bit_length() - 1
    kept_bits = exponent.bit_length()
    return _round_up(size_bytes, 1 << max(0, exponent - kept_bits))


def _in_segments(size_bytes: int) -> int:
    return _round_up(size_bytes, SMALL_SEGMENT_SIZE_BYTES)


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
