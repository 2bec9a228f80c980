"""The `gear` chunker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bitbacker.spi import Buffer
from bitbacker_plugins.gear.rule import GearConfig, rule_of

try:
    from bitbacker_plugins.gear._scan import cut_gear as scan

    IMPLEMENTATION = "c"
except ImportError:
    from bitbacker_plugins.gear._numpy import cut as scan

    IMPLEMENTATION = "numpy"


class GearChunker:
    """Content-defined chunks by a keyed rolling hash (Gear, FastCDC): the default for files.

    A chunk ends where the 64 bytes before its end hash to a number with enough zero bits, so an
    insertion moves the ends that follow it along with their bytes, and all but the chunks that it
    touches are found again.  The hash is made from the repository's key, so every repository cuts the
    same file at other places.

    Options, all in bytes:

    min_size_bytes      no chunk but the last of a stream is smaller; default 131072 (128 KiB)
    average_size_bytes  what random data comes to, a power of two; default 524288 (512 KiB)
    max_size_bytes      no chunk is larger; default 2097152 (2 MiB)

    Smaller chunks find more that is alike and cost more index.  The sizes are fixed when a
    repository is made, because other sizes would find nothing of what is stored.

    The scan is written in C; where it could not be compiled, NumPy does the same some twenty times slower.
    """

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[GearConfig]] = GearConfig
    implementation: ClassVar[str] = IMPLEMENTATION
    """Which scan is in use: `c` or `numpy`."""

    def __init__(self, config: GearConfig, key: bytes) -> None:
        """Derive the gear table.  Raises `ConfigError` when `key` is not 32 bytes long."""
        self._rule = rule_of(config, key)

    @property
    def min_size_bytes(self) -> int:
        return self._rule.min_size_bytes

    @property
    def max_size_bytes(self) -> int:
        return self._rule.max_size_bytes

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        """Ends of the chunks in `data`.  Raises `BufferError` when `data` is not contiguous."""
        return scan(data, self._rule, final)
