"""The chunker contract: where a stream of bytes is cut.

A chunker is called with large buffers from one thread at a time per instance, and should leave the
GIL while it works.  Cuts depend on nothing but the key, the configuration and the bytes since the
last cut, so that a stream gives the same chunks whatever the buffer sizes were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from bitbacker.spi.types import Buffer


class Chunker(Protocol):
    """Decides chunk boundaries.  `Config` and the plugin's name are stored in the repository."""

    api_version: ClassVar[int]
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any, key: bytes) -> None:
        """`config` is an instance of `Config`; `key` 32 bytes that belong to the repository."""

    @property
    def min_size_bytes(self) -> int:
        """A stream no longer than this is one chunk and is never given to `cut`."""

    @property
    def max_size_bytes(self) -> int:
        """No chunk is longer; with at least this many bytes `cut` always finds a boundary."""

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        """Ends of the chunks in `data`, ascending offsets; `data[0]` starts a chunk.

        With `final` the stream ends with `data`, and the last offset is `len(data)`.  Without it the
        bytes behind the last offset are undecided, and the caller presents them again, first, with
        more behind them.  `data` must not be kept.
        """
