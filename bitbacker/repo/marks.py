"""Which chunks and tables the snapshots of a head need.

An entry of a table is needed unless every snapshot that holds the table also holds later tables that
drop or overrule the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitbacker.format.catalog import Snapshot
from bitbacker.format.entries import EntryPage
from bitbacker.format.index import IDS_DTYPE
from bitbacker.format.root import TableRef
from bitbacker.repo.index import Ids, as_ids
from bitbacker.repo.tables import TableReader

Suffix = tuple[TableRef, ...]
Mask = npt.NDArray[np.bool_]


def tables_of(snapshots: Iterable[Snapshot]) -> tuple[TableRef, ...]:
    """Every entry table of these snapshots, once."""
    return tuple(dict.fromkeys(table for snapshot in snapshots for table in snapshot.tables))


@dataclass(frozen=True, slots=True)
class NeededPage:
    """A page of a table, and which of its entries no snapshot shows any more."""

    page: EntryPage
    hidden: Mask

    @property
    def chunk_ids(self) -> Ids:
        """Ids of the chunks of the entries that are shown."""
        ids = as_ids(self.page.chunk_ids)
        if not bool(self.hidden.any()):
            return ids
        visible: Ids = ids[np.repeat(~self.hidden, self.page.chunk_counts)]
        return visible


def needed_pages(reader: TableReader, table: TableRef, suffixes: Sequence[Suffix]) -> Iterator[NeededPage]:
    """The pages of a table, as snapshots show them that go on with `suffixes`.  Raises `DamageError`."""
    overlays = [_Overlay(reader, suffix) for suffix in suffixes]
    for page in reader.entry_table(table):
        hidden = np.logical_and.reduce([overlay.hidden(page) for overlay in overlays])
        yield NeededPage(page, hidden)


def needed_chunks(reader: TableReader, snapshots: Sequence[Snapshot]) -> Ids:
    """The ids of all chunks that some snapshot shows, sorted, each once.  Raises `DamageError`."""
    parts = [
        needed.chunk_ids
        for table, suffixes in suffixes_of(snapshots).items()
        for needed in needed_pages(reader, table, suffixes)
    ]
    if not parts:
        return as_ids(b"")
    # Joining arrays turns their fields to native order, and ids are compared as bytes elsewhere.
    return np.unique(np.concatenate(parts)).astype(IDS_DTYPE)


def suffixes_of(snapshots: Sequence[Snapshot]) -> dict[TableRef, list[Suffix]]:
    """For each table the table lists that follow it, without those that only go on from another one."""
    suffixes: dict[TableRef, set[Suffix]] = {}
    for snapshot in snapshots:
        for at, table in enumerate(snapshot.tables):
            suffixes.setdefault(table, set()).add(snapshot.tables[at + 1 :])
    return {table: _without_extensions(found) for table, found in suffixes.items()}


def _without_extensions(suffixes: set[Suffix]) -> list[Suffix]:
    return [
        suffix for suffix in suffixes if not any(suffix[:size] in suffixes for size in range(len(suffix)))
    ]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What later tables say: dropped fingerprints, and names by directory."""

    drops: npt.NDArray[np.uint64]
    names: dict[bytes, set[bytes]]


class _Overlay:
    """Later tables of a snapshot, as they hide entries of an earlier one."""

    def __init__(self, reader: TableReader, suffix: Suffix) -> None:
        drops: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        names: dict[bytes, set[bytes]] = {}
        for table in suffix:
            for page in reader.entry_table(table):
                drops.append(page.drops)
                for index, path in enumerate(page.paths):
                    names.setdefault(path, set()).update(page.names_of(index).split(b"\0"))
        self._seen = _Seen(np.unique(np.concatenate(drops)), names)

    def hidden(self, page: EntryPage) -> Mask:
        """Which entries of a page are dropped or overruled."""
        mask = np.isin(page.fingerprints, self._seen.drops)
        for index, path in enumerate(page.paths):
            overruling = self._seen.names.get(path)
            if overruling:
                start = page.starts[index]
                for position, name in enumerate(page.names_of(index).split(b"\0")):
                    if name in overruling and start + position < len(mask):
                        mask[start + position] = True
        return mask
