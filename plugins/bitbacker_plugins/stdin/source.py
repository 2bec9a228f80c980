"""One file at the root whose size nobody knows before it was read."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from types import TracebackType
from typing import ClassVar, Protocol

from bitbacker.errors import ConfigError, SourceError, SourceUnreadable
from bitbacker.spi import (
    API_VERSION,
    ROW,
    TOO_LARGE,
    Description,
    Extent,
    Listing,
    OnProblem,
    OpenFile,
    SmallRead,
)


class Stream(Protocol):
    """What is read: a raw or buffered binary stream."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read once into `buffer`; 0 at the end."""


UNKNOWN_SIZE = -1
"""The size in the row, and of the one extent: the file is read until `readinto` returns 0."""


@dataclass(frozen=True, slots=True)
class StdinConfig:
    """`name` is what the file is called in the snapshot.  Raises `ConfigError` when it is no name."""

    name: str = "stdin"

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or not {"/", "\0"}.isdisjoint(self.name):
            raise ConfigError(f"'name' is {self.name!r}, which is no file name")


class StdinSource:
    """What is piped in, as one file of mode 0600.

    The stream can be read once, so the file can be opened once.
    """

    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[StdinConfig]] = StdinConfig

    def __init__(self, config: StdinConfig, stream: Stream | None = None) -> None:
        """`stream` is read instead of file descriptor 0."""
        self._name = os.fsencode(config.name)
        # Buffering would only copy: whole buffers are asked for.
        self._stream = stream if stream is not None else FileIO(0, closefd=False)
        self._opened = False
        mode = stat.S_IFREG | 0o600
        self._row = ROW.pack(mode, os.getuid(), os.getgid(), 1, 0, UNKNOWN_SIZE, time.time_ns(), 0, 0)

    def roots(self) -> tuple[str, ...]:
        """The name of the file."""
        return (os.fsdecode(self._name),)

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:  # noqa: ARG002  # one file has no problems
        """Yield the root with its one file."""
        yield Listing(b"", (self._name,), self._row)

    def read_small(
        self,
        listing: Listing,  # noqa: ARG002  # there is only one
        indexes: Sequence[int],
        limit_bytes: int,  # noqa: ARG002  # nobody knows whether the stream stays below it
        into: memoryview,  # noqa: ARG002  # nothing is read
    ) -> Sequence[SmallRead]:
        """Always ask for `open`: what is read from a stream cannot be given back."""
        return [SmallRead(-1, self._row, TOO_LARGE) for _ in indexes]

    def describe(
        self,
        listing: Listing,  # noqa: ARG002  # there is only one
        indexes: Sequence[int],
    ) -> Sequence[Description]:
        """A stream has no attributes."""
        return [Description() for _ in indexes]

    def open(self, listing: Listing, index: int) -> OpenFile:  # noqa: ARG002  # there is only one
        """Open the stream.  Raises `SourceError` the second time."""
        if self._opened:
            raise SourceError("stdin was read before, and can only be read once")
        self._opened = True
        return _Stream(self._stream, self._row)

    def close(self) -> None:
        """Nothing is held."""


class _Stream:
    def __init__(self, stream: Stream, row: bytes) -> None:
        self._stream = stream
        self._failed = ""
        self.row = row
        self.extents: Sequence[Extent] = (Extent(0, UNKNOWN_SIZE),)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, waiting for as long as the writer takes.  Raises `SourceUnreadable`."""
        filled = 0
        while filled < len(buffer):
            got = self._read_some(buffer[filled:])
            if not got:
                break
            filled += got
        return filled

    def _read_some(self, buffer: memoryview) -> int:
        try:
            got = self._stream.readinto(buffer)
        except (OSError, ValueError) as error:
            self._failed = f"stdin cannot be read: {error}"
            raise SourceUnreadable(self._failed) from error
        if got is None:
            self._failed = "stdin cannot be read: it does not wait for data"
            raise SourceUnreadable(self._failed)
        return got

    def problem(self) -> str:
        """Why the stream was not read to its end, if so."""
        return self._failed

    def __enter__(self) -> _Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The stream belongs to whoever gave it."""
