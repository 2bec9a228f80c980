"""`fixed`: chunks of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bitbacker.errors import ConfigError
from bitbacker.spi import Buffer, hookimpl

_LARGEST_CHUNK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class FixedConfig:
    """The size of every chunk in bytes."""

    size_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        """Raise `ConfigError` when the size makes no sense."""
        if not 1 <= self.size_bytes <= _LARGEST_CHUNK_BYTES:
            raise ConfigError(
                f"fixed: size_bytes = {self.size_bytes} is not between 1 and {_LARGEST_CHUNK_BYTES}"
            )


class FixedChunker:
    """Chunks of one size: for disk images, databases and whatever else is changed in place.

    What is overwritten costs the chunks that it touches.  An insertion moves everything behind it,
    and none of that is found again: use `gear` for files.  The key is not used, because the sizes
    of the chunks tell nothing.

    Options:

    size_bytes  the size of every chunk but the last; default 1048576 (1 MiB)
    """

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[FixedConfig]] = FixedConfig

    def __init__(self, config: FixedConfig, key: bytes) -> None:  # noqa: ARG002  # all are given one
        self._size_bytes = config.size_bytes

    @property
    def min_size_bytes(self) -> int:
        return self._size_bytes

    @property
    def max_size_bytes(self) -> int:
        return self._size_bytes

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        """Every multiple of the size, and with `final` the end."""
        length = memoryview(data).nbytes
        ends = list(range(self._size_bytes, length + 1, self._size_bytes))
        if final and length % self._size_bytes:
            ends.append(length)
        return ends


@hookimpl
def bitbacker_chunker(name: str) -> type[FixedChunker] | None:
    """Answer to `fixed`."""
    return FixedChunker if name == "fixed" else None
