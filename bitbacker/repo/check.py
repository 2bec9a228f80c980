"""Checking a repository: does every snapshot still have everything that it needs?

The structure is checked from heads to chunks without reading data; with `read_data` every segment is
fetched and every chunk hashed.  Problems are told in words of objects, snapshots and files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

from bitbacker.errors import DamageError, ObjectMissing, StorageError
from bitbacker.format import names
from bitbacker.format.block import BlockKind
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ, MARK_CONTINUES, EntryPage, check_names
from bitbacker.format.extras import decode_extras
from bitbacker.format.head import Head
from bitbacker.format.root import TableRef
from bitbacker.repo.catalog import Catalog
from bitbacker.repo.heads import SeenHead
from bitbacker.repo.index import UNKNOWN, ChunkIndex
from bitbacker.repo.known import ids_of
from bitbacker.repo.marks import NeededPage, Suffix, needed_pages, suffixes_of
from bitbacker.repo.open import Repository
from bitbacker.repo.read import OpenSegment

_THREADS = 2
_PATHS_MAX = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be, and which snapshots and files it costs."""

    object: str
    text: str
    snapshots: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was looked at, and what was found.

    `padding_part` is the part of what was read in segments of the large class that holds nothing.
    """

    problems: tuple[Problem, ...]
    heads: int
    snapshots: int
    segments: int
    chunks: int
    orphans: int
    read_bytes: int
    padding_part: float


Tell = Callable[[int, int], None]
"""Called with how many segments were read, and how many there are."""


def check(repository: Repository, *, read_data: bool, tell: Tell | None = None) -> CheckResult:
    """Look at everything.

    Raises `DamageError` when keyslots, the newest head or the catalog cannot be read, because then
    nothing else can be said; everything else is a `Problem` in the result.
    """
    return _Check(repository, tell or (lambda _done, _all: None)).run(read_data=read_data)


class _Check:
    def __init__(self, repository: Repository, tell: Tell) -> None:
        self._repository = repository
        self._tell = tell
        self._problems: list[Problem] = []
        self._bad_segments: set[bytes] = set()
        self._lock = Lock()
        self._read_bytes = self._large_bytes = self._padding_bytes = 0

    def run(self, *, read_data: bool) -> CheckResult:
        seen = self._repository.heads.newest()
        heads = self._check_chain(seen)
        catalog = self._repository.catalog(seen.head)
        orphans = self._check_presence(catalog)
        index = self._open_index(seen.head, catalog)
        if read_data:
            self._check_data(catalog, index)
        for table, suffixes in suffixes_of(catalog.snapshots).items():
            holders = tuple(snapshot.id for snapshot in catalog.snapshots if table in snapshot.tables)
            self._check_table(table, suffixes, holders, index)
        live = len(catalog.live)
        return CheckResult(
            tuple(self._problems),
            heads,
            len(catalog.snapshots),
            live,
            index.chunks,
            orphans,
            self._read_bytes,
            self._padding_bytes / max(self._large_bytes, 1),
        )

    def _found(self, name: str, text: str) -> None:
        self._problems.append(Problem(name, text))

    def _check_chain(self, newest: SeenHead) -> int:
        """Every head that is there opens, and names the hash of the one before it."""
        numbers = self._repository.heads.numbers()
        after = newest
        for number in numbers[1:]:
            try:
                seen = self._repository.heads.read(number)
            except ObjectMissing:
                continue
            except DamageError as error:
                self._found(names.head_name(number), error.message)
                break
            if number == after.head.number - 1 and after.head.previous_hash != seen.hash:
                self._found(names.head_name(number), f"is not the head that head {after.head.number} follows")
            after = seen
        return len(numbers)

    def _check_presence(self, catalog: Catalog) -> int:
        """Every live segment is there with its size; returns how many others are there."""
        stored = {info.name: info.size_bytes for info in self._repository.storage.list(names.SEGMENTS)}
        for identity in sorted(catalog.live):
            name = names.segment_name(identity)
            size = stored.pop(name, None)
            wanted = catalog.segments[identity].size_bytes
            if size != wanted:
                self._bad_segments.add(identity)
                self._found(name, "is missing" if size is None else f"has {size} bytes instead of {wanted}")
        return len(stored)

    def _open_index(self, head: Head, catalog: Catalog) -> ChunkIndex:
        try:
            index = self._repository.index(head)
        except (DamageError, StorageError) as error:
            self._found("index", error.message)
            return ChunkIndex([])
        for identity in set(index.segments) - catalog.live:
            self._found(names.segment_name(identity), "is named by the index, but not live")
        return index

    def _check_data(self, catalog: Catalog, index: ChunkIndex) -> None:
        wanted = sorted(catalog.live - self._bad_segments)
        rows = _rows_by_segment(index)
        with ThreadPoolExecutor(_THREADS, "check") as pool:
            for done, result in enumerate(pool.map(lambda i: self._check_segment(i, rows.get(i)), wanted), 1):
                if result:
                    self._found(*result)
                self._tell(done, len(wanted))

    def _check_segment(self, identity: bytes, rows: list[_Rows] | None) -> tuple[str, str] | None:
        """Fetch one segment, hash every chunk, and hold the index against it."""
        name = names.segment_name(identity)
        try:
            segment = self._repository.segments.fetch(identity)
            read = self._hash_chunks(segment)
            with self._lock:
                self._count(segment, read)
            if rows is not None:
                _compare_with_index(segment, rows)
        except (DamageError, StorageError) as error:
            self._bad_segments.add(identity)
            return name, error.message
        return None

    def _count(self, segment: OpenSegment, read_bytes: int) -> None:
        self._read_bytes += read_bytes
        if segment.size_bytes > names.SMALL_SEGMENT_SIZE_BYTES:
            self._large_bytes += segment.size_bytes
            self._padding_bytes += segment.padding_bytes

    def _hash_chunks(self, segment: OpenSegment) -> int:
        identify = self._repository.keys.chunk_identity
        size = 0
        for number, info in enumerate(segment.contents):
            raw = memoryview(segment.block(number))
            size += len(raw)
            if info.kind is not BlockKind.DATA:
                continue
            at = 0
            ids = bytes(info.chunk_ids)
            for position, length in enumerate(info.chunk_sizes.tolist()):
                if identify(raw[at : at + length]) != ids[position * 16 : position * 16 + 16]:
                    raise DamageError(f"chunk {position} of block {number} does not have its id")
                at += length
        return size

    def _check_table(
        self, table: TableRef, suffixes: list[Suffix], holders: tuple[str, ...], index: ChunkIndex
    ) -> None:
        """Every entry that a snapshot shows has a name, and chunks that are there and fill it."""
        bad = np.isin(
            np.arange(len(index.segments)),
            [at for at, identity in enumerate(index.segments) if identity in self._bad_segments],
        )
        paths: list[str] = []
        name = f"table {table.identity}"
        try:
            pieces = _Pieces()
            for needed in needed_pages(self._repository.tables, table, suffixes):
                paths += _broken_paths(needed, index, bad, pieces)
        except (DamageError, StorageError) as error:
            self._problems.append(Problem(name, f"cannot be read: {error.message}", holders))
        if paths:
            text = f"{len(paths)} entries cannot be restored"
            self._problems.append(Problem(name, text, holders, tuple(paths[:_PATHS_MAX])))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The records of an index that point into one segment."""

    ids: npt.NDArray[np.void]
    locations: npt.NDArray[np.void]


def _rows_by_segment(index: ChunkIndex) -> dict[bytes, list[_Rows]]:
    result: dict[bytes, list[_Rows]] = {}
    for table in index.table_arrays():
        ids = ids_of(table)
        order = np.argsort(table.locations["segment"], kind="stable")
        cuts = np.searchsorted(table.locations["segment"][order], np.arange(len(table.segments) + 1))
        for number, identity in enumerate(table.segments):
            members = order[cuts[number] : cuts[number + 1]]
            result.setdefault(identity, []).append(_Rows(ids[members], table.locations[members]))
    return result


def _compare_with_index(segment: OpenSegment, rows: list[_Rows]) -> None:
    """Raise `DamageError` when an index record does not name a chunk of the table of contents."""
    held = {
        (bytes(info.chunk_ids[at * 16 : at * 16 + 16]), number, offset, size)
        for number, info in enumerate(segment.contents)
        for at, (offset, size) in enumerate(_spans(info.chunk_sizes))
    }
    for part in rows:
        places = part.locations[["block", "offset", "size"]].tolist()
        for identity, (block, offset, size) in zip(part.ids, places, strict=True):
            if (identity.tobytes(), block, offset, size) not in held:
                raise DamageError(f"the index names a chunk in block {block} that is not there")


def _spans(sizes: npt.NDArray[np.uint32]) -> list[tuple[int, int]]:
    ends = np.cumsum(sizes, dtype=np.int64)
    return list(zip((ends - sizes).tolist(), sizes.tolist(), strict=True))


@dataclass(slots=True)
class _Pieces:
    """Of an entry that goes on from page to page: what it has held so far, and what it should hold."""

    size_bytes: int = 0
    expected_bytes: int | None = None

    def wrong(self, page: EntryPage, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which entries of a page end in it and are not filled by their chunks."""
        expected = _expected_sizes(page)
        ends = (page.marks & MARK_CONTINUES) == 0
        if self.expected_bytes is not None and page.entries:
            sizes[0] += self.size_bytes
            expected[0] = self.expected_bytes
            self.expected_bytes = None
        for piece in np.flatnonzero(~ends).tolist():
            if piece + 1 < page.entries:
                sizes[piece + 1] += sizes[piece]
                expected[piece + 1] = expected[piece]
            else:
                self.size_bytes, self.expected_bytes = int(sizes[piece]), int(expected[piece])
        unchanged = (page.marks & MARK_CHANGED_WHILE_READ) == 0
        wrong: npt.NDArray[np.bool_] = ends & unchanged & (sizes != expected)
        return wrong


def _broken_paths(
    needed: NeededPage, index: ChunkIndex, bad: npt.NDArray[np.bool_], pieces: _Pieces
) -> list[str]:
    """Entries of a page whose chunks are not all there, or do not fill them.  Raises `FormatError`."""
    page = needed.page
    located = index.locate(page.chunk_ids)
    missing = located["segment"] == UNKNOWN
    known = ~missing
    missing[known] = bad[located["segment"][known]]
    lacking = np.diff(np.concatenate(([0], np.cumsum(missing)))[page.chunk_starts]) > 0
    sizes = np.diff(np.concatenate(([0], np.cumsum(located["size"], dtype=np.int64)))[page.chunk_starts])
    broken = ~needed.hidden & (lacking | pieces.wrong(page, sizes))
    starts = page.starts
    paths: list[str] = []
    for number, path in enumerate(page.paths):
        entries = page.names_of(number).split(b"\0") if starts[number + 1] > starts[number] else []
        check_names(entries)
        prefix = path + b"/" if path else b""
        found = np.flatnonzero(broken[starts[number] : starts[number + 1]]).tolist()
        paths += ["/" + os.fsdecode(prefix + entries[at]) for at in found]
    return paths


def _expected_sizes(page: EntryPage) -> npt.NDArray[np.int64]:
    """How many bytes of chunks each entry should have."""
    rows = page.rows
    regular = (rows["mode"] & 0o170000) == stat.S_IFREG
    expected = np.where(regular, rows["size_bytes"], 0)
    for position, data in zip(page.extra_positions.tolist(), page.extra_data, strict=True):
        extents = decode_extras(data).extents
        if extents is not None:
            expected[position] = sum(extent.size_bytes for extent in extents)
    return expected
