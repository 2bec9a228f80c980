"""Reading what changed: files to chunk ids, by way of the sink."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bitbacker.engine.chunks import SMALL_FILE_MAX_BYTES, ChunkSink
from bitbacker.errors import SourceUnreadable
from bitbacker.format.block import CHUNK_PIECE_BYTES
from bitbacker.format.extras import ExtentRef
from bitbacker.format.rows import ROW_SIZE_BYTES
from bitbacker.spi import ROW, TOO_LARGE, Chunker, Extent, Listing, Source

_READ_BYTES = 4 * 1024 * 1024

Problem = Callable[[bytes, str], None]
Tick = Callable[[bytes, int], None]
"""Called with the path of a file and how many bytes of it were read since the last call."""


@dataclass(frozen=True, slots=True)
class Content:
    """What was read of one entry: its row as it was then, 16 bytes per chunk, holes if it has some."""

    row: bytes
    chunk_ids: bytes = b""
    changed: bool = False
    extents: tuple[ExtentRef, ...] | None = None


def path_of(listing: Listing, index: int) -> bytes:
    """The path of an entry, without a leading slash."""
    name = listing.names[index]
    return b"%b/%b" % (listing.path, name) if listing.path else name


def row_of(listing: Listing, index: int) -> bytes:
    return listing.rows[index * ROW_SIZE_BYTES : (index + 1) * ROW_SIZE_BYTES]


class ContentReader:
    """Reads regular files of listings; a problem is told and, where nothing was read, None returned."""

    def __init__(
        self, source: Source, chunker: Chunker, sink: ChunkSink, problem: Problem, tick: Tick
    ) -> None:
        """`tick` is called again and again while a large file is read."""
        self._source = source
        self._chunker = chunker
        self._sink = sink
        self._problem = problem
        self._tick = tick
        self._small_max_bytes = min(chunker.min_size_bytes, SMALL_FILE_MAX_BYTES)
        self._buffer = memoryview(bytearray(max(_READ_BYTES, 2 * chunker.max_size_bytes)))
        self._links: dict[tuple[int, int], Content] = {}
        self.read_bytes = 0

    def read(self, listing: Listing, indexes: Sequence[int]) -> dict[int, Content]:
        """Contents of these entries; entries that could not be read are absent."""
        result: dict[int, Content] = {}
        small: list[int] = []
        for index in indexes:
            row = row_of(listing, index)
            mode, _, _, nlink, filesystem, size, _, _, inode = ROW.unpack(row)
            if not stat.S_ISREG(mode):
                result[index] = Content(row)
            elif nlink > 1 and inode and (filesystem, inode) in self._links:
                self._reuse(result, index, row, self._links[filesystem, inode])
            elif nlink > 1 or size > self._small_max_bytes or size < 0:
                self._read_large(listing, index, result)
            elif size == 0:
                result[index] = Content(row)
            else:
                small.append(index)
        if small:
            self._read_small(listing, small, result)
        return result

    @staticmethod
    def _reuse(result: dict[int, Content], index: int, row: bytes, first: Content) -> None:
        """Another name of a file that was read already, if it still is as it was then."""
        changed = first.changed or _stamp(row) != _stamp(first.row)
        result[index] = Content(first.row, first.chunk_ids, changed, first.extents)

    def _read_small(self, listing: Listing, indexes: list[int], result: dict[int, Content]) -> None:
        limit = self._small_max_bytes
        done = 0
        while done < len(indexes):
            answers = self._source.read_small(listing, indexes[done:], limit, self._sink.room())
            if not answers:
                raise AssertionError("a source that reads nothing into an empty arena")
            for index, answer in zip(indexes[done:], answers, strict=False):
                if answer.problem == TOO_LARGE:
                    # The large file is read when the arena is no longer filled from behind.
                    continue
                if answer.problem:
                    self._problem(path_of(listing, index), answer.problem)
                if answer.size_bytes >= 0:
                    ids = self._sink.take_pieces(answer.size_bytes)
                    result[index] = Content(answer.row, ids, bool(answer.problem))
                    self.read_bytes += answer.size_bytes
            for index, answer in zip(indexes[done:], answers, strict=False):
                if answer.problem == TOO_LARGE:
                    self._read_large(listing, index, result)
            done += len(answers)

    def _read_large(self, listing: Listing, index: int, result: dict[int, Content]) -> None:
        try:
            result[index] = content = self._stream(listing, index)
        except SourceUnreadable as error:
            self._problem(path_of(listing, index), error.message)
            return
        _, _, _, nlink, filesystem, _, _, _, inode = ROW.unpack(content.row)
        if nlink > 1 and inode:
            self._links[filesystem, inode] = content

    def _stream(self, listing: Listing, index: int) -> Content:
        with self._source.open(listing, index) as file:
            ids: list[bytes] = []
            path = path_of(listing, index)
            size = self._chunks(file.readinto, ids, lambda got: self._tick(path, got))
            problem = file.problem()
            if problem:
                self._problem(path, problem)
            row = _sized(file.row, size)
            holes = _holes(row, file.extents)
            if problem:
                row, holes = _as_read(row, holes, size)
            return Content(row, b"".join(ids), bool(problem), holes)

    def _chunks(
        self, readinto: Callable[[memoryview], int], ids: list[bytes], tick: Callable[[int], None]
    ) -> int:
        """Cut a stream into chunks; returns its length."""
        buffer, held, total = self._buffer, 0, 0
        final = False
        while not final:
            wanted = len(buffer) - held
            got = readinto(buffer[held:])
            total += got
            self.read_bytes += got
            tick(got)
            final = got < wanted
            data = buffer[: held + got]
            start = 0
            for end in self._cut(data, final=final):
                ids += [
                    self._sink.add(data[piece : min(piece + CHUNK_PIECE_BYTES, end)])
                    for piece in range(start, end, CHUNK_PIECE_BYTES)
                ]
                start = end
            held = len(data) - start
            buffer[:held] = data[start:]
        return total

    def _cut(self, data: memoryview, *, final: bool) -> Sequence[int]:
        if not data:
            return ()
        if final and len(data) <= self._chunker.min_size_bytes:
            return (len(data),)
        return self._chunker.cut(data, final=final)


def _stamp(row: bytes) -> tuple[int, int, int]:
    """Kind and mode, size and mtime: what two names of one file share, whatever ctime is trusted."""
    mode, _, _, _, _, size, mtime, _, _ = ROW.unpack(row)
    return mode, size, mtime


def _as_read(
    row: bytes, holes: tuple[ExtentRef, ...] | None, read_bytes: int
) -> tuple[bytes, tuple[ExtentRef, ...] | None]:
    """A file that was cut off while it was read is stored as long as it was read."""
    fields = ROW.unpack(row)
    if holes is None:
        return ROW.pack(*fields[:5], read_bytes, *fields[6:]), None
    kept: list[ExtentRef] = []
    for extent in holes:
        size = min(extent.size_bytes, read_bytes)
        read_bytes -= size
        if size:
            kept.append(ExtentRef(extent.offset_bytes, size))
        if size < extent.size_bytes:
            end = extent.offset_bytes + size
            return ROW.pack(*fields[:5], end, *fields[6:]), tuple(kept)
    return row, holes


def _sized(row: bytes, size: int) -> bytes:
    """A stream of unknown length has the length that was read."""
    fields = ROW.unpack(row)
    if fields[5] >= 0:
        return row
    return ROW.pack(*fields[:5], size, *fields[6:])


def _holes(row: bytes, extents: Sequence[Extent]) -> tuple[ExtentRef, ...] | None:
    """Where data is, or None when it is everywhere."""
    size = ROW.unpack(row)[5]
    whole = [Extent(0, size)] if size else []
    if list(extents) == whole or any(extent.size_bytes < 0 for extent in extents):
        return None
    return tuple(ExtentRef(extent.offset_bytes, extent.size_bytes) for extent in extents)
