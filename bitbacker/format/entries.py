"""Pages of an entry table: directories with their entries.  docs/format.md section 6.

Directories stand in table order (depth first, names ascending by their bytes); a large one may go on
in the next page.  All columns of a page are arrays, so that a directory which did not change is
found equal by two comparisons of bytes, and no object is made per file.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bitbacker.errors import FormatError
from bitbacker.format.block import CHUNK_ID_SIZE_BYTES
from bitbacker.format.rows import ROW_SIZE_BYTES, Rows, as_rows, from_planes, to_planes
from bitbacker.format.wire import Reader, Writer

PAGE_TARGET_BYTES = 120 * 1024
"""Two pages that do not compress at all fit into a small segment."""

FINGERPRINT_SIZE_BYTES = 8

MARK_CHANGED_WHILE_READ = 1
"""The content is what was read while somebody else wrote; the row is the one from before."""

MARK_CONTINUES = 2
"""The chunk ids of this entry go on in the next entry of the table, which has its directory and name."""

_MARKS = MARK_CHANGED_WHILE_READ | MARK_CONTINUES

_ROWS_AS_THEY_ARE = 0
_ROWS_AS_PLANES = 1


def directory_key(path: bytes) -> bytes:
    """The sort key of a directory: its path with NUL for slash, so that bytes order as components do."""
    return path.replace(b"/", b"\0")


@dataclass(frozen=True, slots=True)
class Extra:
    """What few entries have: `position` counts entries of the directory; see `extras.py`."""

    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory, or a part of a large one, column by column.

    `names` joined by NUL; `rows` n x 52 bytes; `fingerprints` n x 8; `marks` n; `chunk_counts` n;
    `chunk_ids` 16 bytes per chunk; `links` the targets of the symlinks among the entries, in order.
    """

    path: bytes
    names: bytes
    rows: bytes
    fingerprints: bytes
    marks: bytes
    chunk_counts: npt.NDArray[np.uint32]
    chunk_ids: bytes
    links: tuple[bytes, ...] = ()
    extras: tuple[Extra, ...] = ()

    @property
    def entries(self) -> int:
        return len(self.marks)

    @property
    def name_list(self) -> list[bytes]:
        return self.names.split(b"\0") if self.marks else []

    @property
    def size_bytes(self) -> int:
        """About how much of a page it takes."""
        extras = sum(len(extra.data) + 8 for extra in self.extras)
        links = sum(map(len, self.links)) + len(self.links)
        per_entry = ROW_SIZE_BYTES + FINGERPRINT_SIZE_BYTES + 5
        return (
            len(self.path) + len(self.names) + self.entries * per_entry + len(self.chunk_ids) + links + extras
        )


@dataclass(frozen=True)
class EntryPage:
    """The columns of all directories of a page."""

    paths: tuple[bytes, ...]
    entry_counts: npt.NDArray[np.uint32]
    name_sizes: npt.NDArray[np.uint32]
    names: bytes
    row_bytes: bytes
    fingerprints: npt.NDArray[np.uint64]
    marks: npt.NDArray[np.uint8]
    chunk_counts: npt.NDArray[np.uint32]
    chunk_ids: bytes
    links: tuple[bytes, ...]
    extra_positions: npt.NDArray[np.uint32]
    extra_data: tuple[bytes, ...]
    drops: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def entries(self) -> int:
        return len(self.marks)

    @cached_property
    def rows(self) -> Rows:
        return as_rows(self.row_bytes)

    @cached_property
    def any_mark(self) -> bool:
        """Whether any entry bears a mark."""
        return bool(self.marks.any())

    @cached_property
    def starts(self) -> list[int]:
        """First entry of each directory, and the end."""
        return _offsets(self.entry_counts)

    @cached_property
    def name_starts(self) -> list[int]:
        """First byte of each directory's names, and the end."""
        return _offsets(self.name_sizes)

    @cached_property
    def chunk_starts(self) -> npt.NDArray[np.int64]:
        """First chunk of each entry, and the end."""
        return np.concatenate(([0], np.cumsum(self.chunk_counts, dtype=np.int64)))

    @cached_property
    def link_starts(self) -> npt.NDArray[np.int64]:
        """How many symlinks stand before each entry, and in all."""
        return np.concatenate(([0], np.cumsum(is_link(self.rows), dtype=np.int64)))

    def names_of(self, directory: int) -> bytes:
        """The joined names of one directory."""
        return self.names[self.name_starts[directory] : self.name_starts[directory + 1]]

    def rows_of(self, directory: int) -> bytes:
        """The packed rows of one directory."""
        first, end = self.starts[directory], self.starts[directory + 1]
        return self.row_bytes[first * ROW_SIZE_BYTES : end * ROW_SIZE_BYTES]

    def directory(self, index: int) -> Directory:
        """One directory with all its columns."""
        first, end = self.starts[index], self.starts[index + 1]
        chunks = slice(int(self.chunk_starts[first]) * 16, int(self.chunk_starts[end]) * 16)
        links = slice(int(self.link_starts[first]), int(self.link_starts[end]))
        low, high = np.searchsorted(self.extra_positions, (first, end)).tolist()
        extras = tuple(
            Extra(int(self.extra_positions[i]) - first, self.extra_data[i]) for i in range(low, high)
        )
        return Directory(
            self.paths[index],
            self.names_of(index),
            self.rows_of(index),
            self.fingerprints[first:end].tobytes(),
            self.marks[first:end].tobytes(),
            self.chunk_counts[first:end],
            self.chunk_ids[chunks],
            self.links[links],
            extras,
        )

    def directories(self) -> Iterator[Directory]:
        """All directories, in order."""
        return (self.directory(index) for index in range(len(self.paths)))


def _offsets(counts: npt.NDArray[np.uint32]) -> list[int]:
    return [0, *np.cumsum(counts, dtype=np.int64).tolist()]


def is_link(rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows are symlinks."""
    links: npt.NDArray[np.bool_] = np.equal(rows["mode"] & 0o170000, stat.S_IFLNK)
    return links


def page_of(directories: list[Directory], drops: npt.NDArray[np.uint64] | None = None) -> EntryPage:
    """Join directories, in order, to a page."""
    counts = np.array([item.entries for item in directories], dtype=np.uint32)
    starts = _offsets(counts)
    extras = [
        (start + extra.position, extra.data)
        for start, item in zip(starts, directories, strict=False)
        for extra in item.extras
    ]
    empty = np.empty(0, np.uint32)
    return EntryPage(
        tuple(item.path for item in directories),
        counts,
        np.array([len(item.names) for item in directories], dtype=np.uint32),
        b"".join(item.names for item in directories),
        b"".join(item.rows for item in directories),
        np.frombuffer(b"".join(item.fingerprints for item in directories), dtype="<u8"),
        np.frombuffer(b"".join(item.marks for item in directories), dtype=np.uint8),
        np.concatenate([item.chunk_counts for item in directories]) if directories else empty,
        b"".join(item.chunk_ids for item in directories),
        tuple(link for item in directories for link in item.links),
        np.array([position for position, _ in extras], dtype=np.uint32),
        tuple(data for _, data in extras),
        np.empty(0, np.uint64) if drops is None else drops,
    )


def encode_page(page: EntryPage, *, planes: bool = True) -> bytes:
    """`planes` for the repository, rows as they are for the local cache."""
    writer = Writer()
    links = b"\0".join(page.links)
    extra_sizes = np.array([len(data) for data in page.extra_data], dtype="<u4")
    for number in (len(page.paths), page.entries, len(page.links), len(page.extra_data), len(page.drops)):
        writer.u32(number)
    writer.blob(b"\0".join(page.paths))
    writer.array(page.entry_counts)
    writer.array(page.name_sizes)
    writer.raw(page.names)
    writer.u8(_ROWS_AS_PLANES if planes else _ROWS_AS_THEY_ARE)
    writer.raw(to_planes(page.rows) if planes else page.row_bytes)
    writer.array(page.fingerprints)
    writer.array(page.marks)
    writer.array(page.chunk_counts)
    writer.raw(page.chunk_ids)
    writer.blob(links)
    writer.array(page.extra_positions)
    writer.array(extra_sizes)
    writer.raw(b"".join(page.extra_data))
    writer.array(page.drops)
    return writer.bytes()


def decode_page(raw: bytes | memoryview) -> EntryPage:
    """Raises `FormatError`."""
    reader = Reader(raw)
    dirs, entries, links, extras, drops = (reader.u32() for _ in range(5))
    if links > entries:
        raise FormatError("more symlinks than entries")
    paths = _split(reader.blob(), dirs)
    entry_counts = reader.array("<u4", dirs).astype(np.uint32)
    name_sizes = reader.array("<u4", dirs).astype(np.uint32)
    names = reader.raw(int(name_sizes.sum(dtype=np.uint64)))
    row_bytes = _read_rows(reader, entries)
    fingerprints = reader.array("<u8", entries).astype(np.uint64)
    marks = reader.array("u1", entries).astype(np.uint8)
    chunk_counts = reader.array("<u4", entries).astype(np.uint32)
    chunk_ids = reader.raw(int(chunk_counts.sum(dtype=np.uint64)) * CHUNK_ID_SIZE_BYTES)
    link_targets = _split(reader.blob(), links)
    positions = reader.array("<u4", extras).astype(np.uint32)
    extra_data = tuple(reader.raw(int(size)) for size in reader.array("<u4", extras))
    drop_list = reader.array("<u8", drops).astype(np.uint64)
    reader.end()
    page = EntryPage(
        paths,
        entry_counts,
        name_sizes,
        names,
        row_bytes,
        fingerprints,
        marks,
        chunk_counts,
        chunk_ids,
        link_targets,
        positions,
        extra_data,
        drop_list,
    )
    _check(page)
    return page


def _read_rows(reader: Reader, entries: int) -> bytes:
    form = reader.u8()
    data = reader.view(entries * ROW_SIZE_BYTES)
    if form == _ROWS_AS_PLANES:
        return from_planes(data, entries).tobytes()
    if form == _ROWS_AS_THEY_ARE:
        return bytes(data)
    raise FormatError("rows in an unknown form")


def _split(joined: bytes, count: int) -> tuple[bytes, ...]:
    # Counted first: splitting a long run of zero bytes would take many times its size.
    if joined.count(b"\0") + 1 != max(count, 1) or (not count and joined):
        raise FormatError("a list of strings with another number of strings")
    return tuple(joined.split(b"\0")) if count else ()


def _check(page: EntryPage) -> None:
    if int(page.entry_counts.sum(dtype=np.uint64)) != page.entries:
        raise FormatError("directories whose entries are not those of the page")
    if int(is_link(page.rows).sum()) != len(page.links):
        raise FormatError("symlinks without a target")
    ascending = page.extra_positions[1:] > page.extra_positions[:-1]
    if not bool(ascending.all()) or bool((page.extra_positions >= page.entries).any()):
        raise FormatError("extras of no entry")
    empty = page.entry_counts == 0
    if bool((empty != (page.name_sizes == 0)).any()):
        raise FormatError("a directory with names but no entries")
    for index, count in enumerate(page.entry_counts.tolist()):
        if count and page.names_of(index).count(b"\0") != count - 1:
            raise FormatError("a directory with another number of names than entries")
    keys = [directory_key(path) for path in page.paths]
    if any(low > high for low, high in pairwise(keys)):
        raise FormatError("directories out of order")
    if bool((page.drops[1:] < page.drops[:-1]).any()):
        raise FormatError("drops out of order")
    if bool((page.marks > _MARKS).any()):
        raise FormatError("an entry with a mark of unknown meaning")


def check_names(names: list[bytes]) -> None:
    """Raise `FormatError` for a name that no directory can hold, or names that do not ascend."""
    for name in names:
        if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise FormatError("an entry with a name that no directory can hold")
    if any(low >= high for low, high in pairwise(names)):
        raise FormatError("entries out of order")


def split_entry(directory: Directory) -> tuple[Directory, Directory]:
    """A directory of one entry whose chunk ids are too many for a page, as two pieces of it."""
    half = len(directory.chunk_ids) // CHUNK_ID_SIZE_BYTES // 2
    cut = half * CHUNK_ID_SIZE_BYTES
    first = replace(
        directory,
        marks=bytes([directory.marks[0] | MARK_CONTINUES]),
        chunk_counts=np.array([half], dtype=np.uint32),
        chunk_ids=directory.chunk_ids[:cut],
    )
    second = replace(
        directory,
        chunk_counts=directory.chunk_counts - np.uint32(half),
        chunk_ids=directory.chunk_ids[cut:],
        extras=(),
    )
    return first, second


def split_directory(directory: Directory, at: int) -> tuple[Directory, Directory]:
    """The first `at` entries of a directory, and the others."""
    names = directory.name_list
    chunks = int(directory.chunk_counts[:at].sum()) * CHUNK_ID_SIZE_BYTES
    links = int(is_link(as_rows(directory.rows)[:at]).sum())
    extras = directory.extras
    first = Directory(
        directory.path,
        b"\0".join(names[:at]),
        directory.rows[: at * ROW_SIZE_BYTES],
        directory.fingerprints[: at * FINGERPRINT_SIZE_BYTES],
        directory.marks[:at],
        directory.chunk_counts[:at],
        directory.chunk_ids[:chunks],
        directory.links[:links],
        tuple(extra for extra in extras if extra.position < at),
    )
    second = Directory(
        directory.path,
        b"\0".join(names[at:]),
        directory.rows[at * ROW_SIZE_BYTES :],
        directory.fingerprints[at * FINGERPRINT_SIZE_BYTES :],
        directory.marks[at:],
        directory.chunk_counts[at:],
        directory.chunk_ids[chunks:],
        directory.links[links:],
        tuple(Extra(extra.position - at, extra.data) for extra in extras if extra.position >= at),
    )
    return first, second
