"""Blocks of tables that were fetched: kept on this machine until the process ends, and nowhere to be found.

Whoever reads a table fetches its segments whole.  What else they hold of tables is kept here, so that no
segment is fetched twice for tables, whatever they look like.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock

from bitbacker.errors import BitBackerError, FormatError
from bitbacker.format.block import BlockInfo, BlockRef

_IN_MEMORY_BYTES = 8 * 1024 * 1024


class SpoolFull(BitBackerError):
    """This machine has no room for what a command must keep while it runs."""

    code = "spool-full"
    default_hint = "make room where XDG_CACHE_HOME points, or on the disk of temporary files"


class TemporaryStore:
    """Bytes that end with the process: a little in memory, more in a file without a name."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when it is not there; None is where this machine keeps temporary files."""
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError:
                folder = None
        where = None if folder is None else str(folder)
        self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=where)  # noqa: SIM115  # see the next line
        weakref.finalize(self, self._file.close)
        self._lock = Lock()
        self._end = 0

    def append(self, data: bytes | bytearray | memoryview) -> int:
        """Keep bytes; returns where they are.  Raises `SpoolFull`."""
        with self._lock:
            at = self._end
            try:
                self._file.seek(at)
                self._file.write(data)
            except OSError as error:
                raise SpoolFull(f"what was read cannot be kept: {error.strerror}") from error
            self._end += len(data)
            return at

    def read(self, at: int, size_bytes: int) -> bytes:
        """What was appended there.  Raises `SpoolFull` when the file cannot be read."""
        with self._lock:
            try:
                self._file.seek(at)
                return self._file.read(size_bytes)
            except OSError as error:
                raise SpoolFull(f"what was kept cannot be read: {error.strerror}") from error


class Spool:
    """Blocks by segment and number, stored as the segment had them."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.clear()

    def clear(self) -> None:
        """Let go of everything."""
        self._store: TemporaryStore | None = None
        self._blocks: dict[bytes, dict[int, BlockInfo]] = {}

    def holds(self, segment: bytes) -> bool:
        """Whether the blocks of a segment were kept, if it had any."""
        return segment in self._blocks

    def keep(self, segment: bytes, blocks: Iterable[tuple[int, BlockInfo, memoryview]]) -> None:
        """Keep blocks of a segment: number, description, and the stored bytes.  Raises `SpoolFull`."""
        if self._store is None:
            self._store = TemporaryStore(self._folder)
        held: dict[int, BlockInfo] = {}
        for number, info, stored in blocks:
            at = self._store.append(stored)
            # The row of a table of contents refers to the plaintext of its whole segment.
            held[number] = replace(info, offset_bytes=at, chunk_ids=memoryview(b""))
        self._blocks[segment] = held

    def block(self, ref: BlockRef) -> tuple[BlockInfo, memoryview]:
        """A block of a segment that is held.  Raises `FormatError` when it is not one of a table."""
        info = self._blocks[ref.segment].get(ref.number)
        if info is None or self._store is None:
            raise FormatError(f"block {ref.number} of segment {ref.segment.hex()} belongs to no table")
        return info, memoryview(self._store.read(info.offset_bytes, info.stored_bytes))
