"""The tree of a snapshot: its entry tables seen as one.

Later tables overrule earlier ones entry by entry, and take away the entries whose fingerprints they
drop.  A directory that only one table speaks of is passed on as it is, without a look at its entries.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from bitbacker.format.columns import Columns, Pick, pick_entries
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ, Directory, EntryPage, directory_key
from bitbacker.format.root import TableRef
from bitbacker.repo.tables import EntryTable, TableReader

Drops = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Part:
    """A directory, or a part of it, in one page of one table; nothing is copied before `load`."""

    table: int
    page: EntryPage
    index: int
    dropped: npt.NDArray[np.bool_] | None

    @property
    def key(self) -> bytes:
        return directory_key(self.page.paths[self.index])

    @property
    def names(self) -> bytes:
        return self.page.names_of(self.index)

    @property
    def rows(self) -> bytes:
        return self.page.rows_of(self.index)

    @property
    def touched(self) -> bool:
        """Whether a later table drops one of its entries."""
        if self.dropped is None:
            return False
        return bool(self.dropped[self.page.starts[self.index] : self.page.starts[self.index + 1]].any())

    @property
    def marked(self) -> bool:
        """Whether an entry changed while it was read."""
        marks = self.page.marks[self.page.starts[self.index] : self.page.starts[self.index + 1]]
        return self.page.any_mark and bool((marks & MARK_CHANGED_WHILE_READ).any())

    def fingerprints(self) -> Iterator[tuple[bytes, int | None]]:
        """Name and fingerprint of each entry; None in place of one that is dropped."""
        here = slice(self.page.starts[self.index], self.page.starts[self.index + 1])
        found: list[int | None] = self.page.fingerprints[here].tolist()
        if self.dropped is not None:
            for position in np.flatnonzero(self.dropped[here]):
                found[position] = None
        return zip(self.names.split(b"\0"), found, strict=False)

    def load(self) -> Directory:
        return self.page.directory(self.index)


@dataclass(frozen=True, slots=True)
class TreeDirectory:
    """One directory of a snapshot, as the tables tell it: one part when all is simple."""

    path: bytes
    key: bytes
    parts: tuple[Part, ...]

    @property
    def simple(self) -> bool:
        """Whether names and rows can be compared without merging."""
        return len(self.parts) == 1 and not self.parts[0].touched

    def equals(self, names: bytes, rows: bytes) -> bool:
        """Whether the directory has exactly these names and rows, and no marks."""
        if self.simple:
            part = self.parts[0]
            return part.rows == rows and part.names == names and not part.marked
        whole = self.load()
        changed = any(mark & MARK_CHANGED_WHILE_READ for mark in whole.marks)
        return whole.rows == rows and whole.names == names and not changed

    def overruled(self) -> list[bytes]:
        """The fingerprints of entries that no longer show and that no table drops.

        A checkpoint leaves some when its writer did not know what its entries replace.
        """
        left: list[int] = []
        shown: dict[bytes, int] = {}
        for part in sorted(self.parts, key=lambda part: part.table) if len(self.parts) > 1 else ():
            for name, fingerprint in part.fingerprints():
                before = shown.pop(name, None)
                if before is not None and before != fingerprint:
                    left.append(before)
                if fingerprint is not None:
                    shown[name] = fingerprint
        return [np.array(left, "<u8").tobytes()] if left else []

    def load(self) -> Directory:
        """The directory with all its columns."""
        return self.parts[0].load() if self.simple else _merge(self.path, self.parts)


class SnapshotTree:
    """All directories of a snapshot, in table order."""

    def __init__(self, reader: TableReader, tables: Sequence[TableRef]) -> None:
        self._tables = [reader.entry_table(ref) for ref in tables]
        self._drops = _drops_of(self._tables)

    def __iter__(self) -> Iterator[TreeDirectory]:
        return self._grouped(
            [self._parts(number, 0, table.pages) for number, table in enumerate(self._tables)]
        )

    def directories(self, below: Sequence[bytes] = ()) -> Iterator[Directory]:
        """Directories with their columns; with `below`, those on the way to these paths or inside them."""
        if not below:
            return (directory.load() for directory in self)
        return self._selected(below)

    def directory(self, path: bytes) -> Directory | None:
        """One directory, read from as few pages as hold it."""
        key = directory_key(path)
        streams = [
            (part for part in self._parts(number, *_page_range(table, key, key + b"\0")) if part.key == key)
            for number, table in enumerate(self._tables)
        ]
        found = next(self._grouped(streams), None)
        return None if found is None else found.load()

    def _selected(self, below: Sequence[bytes]) -> Iterator[Directory]:
        wanted = sorted({directory_key(path) for path in below})
        ways = {key[:at] for key in wanted for at in range(len(key)) if key[at : at + 1] == b"\0"} | {b""}
        for directory in self:
            key = directory.key
            inside = any(not way or key == way or key.startswith(way + b"\0") for way in wanted)
            if inside or key in ways:
                yield directory.load()

    def _parts(self, number: int, first: int, end: int) -> Iterator[Part]:
        drops = self._drops[number]
        for page_number in range(first, end):
            page = self._tables[number].page(page_number)
            dropped = np.isin(page.fingerprints, drops) if len(drops) else None
            for index in range(len(page.paths)):
                yield Part(number, page, index, dropped)

    @staticmethod
    def _grouped(streams: Sequence[Iterator[Part]]) -> Iterator[TreeDirectory]:
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda part: part.key)
        for key, parts in groupby(merged, key=lambda part: part.key):
            every = tuple(parts)
            yield TreeDirectory(every[0].page.paths[every[0].index], key, every)


def _page_range(table: EntryTable, low: bytes, high: bytes) -> tuple[int, int]:
    """The pages that may hold keys from `low` to `high`; a directory may begin in the page before."""
    keys = table.first_keys
    first = max(0, bisect_left(keys, low) - 1)
    if keys:
        # Pages of drops, behind all others, have the key of the one before them.
        first = bisect_left(keys, keys[first])
    end = first
    while end < len(keys) and (keys[end] <= high or end == first):
        end += 1
    return first, end


def _drops_of(tables: Sequence[EntryTable]) -> list[Drops]:
    """For each table the fingerprints that later tables drop."""
    result: list[Drops] = []
    later = np.empty(0, np.uint64)
    for number in range(len(tables) - 1, -1, -1):
        result.append(later)
        if number:
            own = [page.drops for page in tables[number]]
            later = np.unique(np.concatenate([later, *own]))
    return result[::-1]


def _merge(path: bytes, parts: tuple[Part, ...]) -> Directory:
    """What the tables together say of one directory: the newest entry of each name."""
    newest: dict[bytes, Pick] = {}
    unfinished: Pick | None = None
    for part in sorted(parts, key=lambda part: part.table):
        columns = Columns(part.load())
        first = part.page.starts[part.index]
        for position, name in enumerate(columns.directory.name_list):
            pick = Pick(name, columns, position)
            if part.dropped is not None and part.dropped[first + position]:
                # What an entry overruled does not come back when the entry is dropped.
                newest.pop(name, None)
            elif unfinished is not None and unfinished.name == name:
                newest[name] = newest[name].with_piece(pick)
            else:
                newest[name] = pick
            unfinished = pick if pick.continues else None
    return pick_entries(path, [pick for _, pick in sorted(newest.items())])
