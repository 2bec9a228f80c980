"""Keeping the tables of a head few: when it lists too many catalog tables, everything small is merged.

Every commit adds one catalog table, so the time of a compaction follows from the number of commits,
whatever they stored.  It changes nothing that a snapshot shows; a client that is overtaken meanwhile
just leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import starmap

import numpy as np

from bitbacker.format.catalog import SNAPSHOT_KEY, CatalogRecord, decode_snapshot, encode_snapshot
from bitbacker.format.head import Head
from bitbacker.format.root import TableRef
from bitbacker.repo.changes import own_segments_remain, with_segments
from bitbacker.repo.commit import Superseded, commit
from bitbacker.repo.fold import TABLES_MIN, Folding
from bitbacker.repo.index import IndexTable, load_index
from bitbacker.repo.open import Repository
from bitbacker.repo.session import Coming, Session, Written, size_of

TABLES_MAX = 32
_RATIO = 2


@dataclass(frozen=True, slots=True)
class _Merge:
    """The change: merged tables take the place of those they were made of.

    `tables` are the shorter lists of the snapshots of tips, by the identity of the snapshot.
    """

    repository: Repository
    written: Written
    base: Head
    indexes: tuple[TableRef, ...]
    tables: dict[bytes, tuple[TableRef, ...]]

    def check(self, base: Head, newest: Head) -> None:
        """Somebody else may have merged or pruned."""
        if newest.prunes != base.prunes:
            own_segments_remain(self.repository, newest, self.written)
        starts = newest.catalogs[: len(base.catalogs)] == base.catalogs
        if not starts or not set(self.indexes) <= set(newest.indexes) or newest.prunes != base.prunes:
            raise Superseded

    def apply(self, newest: Head) -> Head:
        indexes = list(newest.indexes)
        if self.indexes:
            at = indexes.index(self.indexes[0])
            indexes = [ref for ref in indexes if ref not in self.indexes]
            indexes[at:at] = self.written.indexes
        catalogs = (self.written.catalog, *newest.catalogs[len(self.base.catalogs) :])
        head = with_segments(newest, self.repository.keys, self.written.segments)
        tips = tuple(replace(tip, tables=self.tables.get(tip.snapshot, tip.tables)) for tip in newest.tips)
        return replace(head, catalogs=catalogs, indexes=tuple(indexes), tips=tips)

    def holds(self, newest: Head) -> bool:
        return self.written.catalog in newest.catalogs


def tidy(repository: Repository, head: Head) -> None:
    """After a session that committed `head`: few tables in it, and in the cache only those that it names.

    Raises `StorageError`, `DamageError`.
    """
    if compact(repository, head):
        head = repository.newest()
    tables = (*head.catalogs, *head.indexes, *(table for tip in head.tips for table in tip.tables))
    repository.cache.keep_only(ref.identity for ref in tables)


def compact(repository: Repository, head: Head) -> bool:
    """Merge the tables of a head when they are many; whether it was done.  Raises `StorageError`."""
    if len(head.catalogs) <= TABLES_MAX:
        return False
    merged = _newest_small(head.indexes) if len(head.indexes) > 1 else ()
    index = _merged_index(repository, merged) if merged else None
    records = dict(repository.catalog(head).records)
    with Session(repository) as session:
        foldings = {
            tip.snapshot: Folding(session, repository.tables, tip.tables)
            for tip in head.tips
            if len(tip.tables) >= TABLES_MIN and SNAPSHOT_KEY + tip.snapshot in records
        }
        session.settle(
            _coming(session, list(foldings.values()), [*starmap(CatalogRecord, records.items())], index)
        )
        tables = {snapshot: folding.finish() for snapshot, folding in foldings.items()}
        for snapshot, shorter in tables.items():
            key = SNAPSHOT_KEY + snapshot
            old = decode_snapshot(CatalogRecord(key, records[key]))
            records[key] = encode_snapshot(replace(old, tables=shorter)).value or b""
        indexes = () if index is None else session.write_indexes(index)
        every = [CatalogRecord(key, value) for key, value in records.items()]
        written = session.finish(every, head.number + 1, indexes)
        try:
            commit(repository, head, _Merge(repository, written, head, merged, tables))
        except Superseded:
            return False
    return True


def _coming(
    session: Session, foldings: list[Folding], records: list[CatalogRecord], index: IndexTable | None
) -> Coming:
    """All that is written is known, but for few records; a plan on estimates would be half padding."""
    rows = (0, 0) if index is None else (len(index.high), len(index.segments))
    return Coming(
        size_of(records),
        tuple(pages for folding in foldings for pages in folding.coming.root_pages),
        *rows,
        tuple(rung for folding in foldings for rung in folding.coming.rung_bytes),
        session.page_bytes(records, index),
    )


def _newest_small(tables: tuple[TableRef, ...]) -> tuple[TableRef, ...]:
    """The newest tables, up to one that is much larger than all of them together."""
    total, count = 0, 0
    for ref in reversed(tables):
        if count > 1 and ref.records > _RATIO * total:
            break
        total += ref.records
        count += 1
    return tables[-count:]


def _merged_index(repository: Repository, refs: tuple[TableRef, ...]) -> IndexTable:
    """One table of several; the newest place of each chunk."""
    tables = load_index(repository.tables, repository.cache, refs).table_arrays()
    bases = np.cumsum([0, *(len(table.segments) for table in tables)])
    high = np.concatenate([table.high for table in reversed(tables)])
    low = np.concatenate([table.low for table in reversed(tables)])
    parts = []
    for table, base in zip(reversed(tables), reversed(bases[:-1].tolist()), strict=True):
        part = table.locations.copy()
        part["segment"] += np.uint32(base)
        parts.append(part)
    # The sort is stable and the newest table stands first, so the first of equal ids is the newest.
    order = np.lexsort((low, high))
    high, low, locations = high[order], low[order], np.concatenate(parts)[order]
    first = np.concatenate(([True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    segments = tuple(identity for table in tables for identity in table.segments)
    return IndexTable(high[first], low[first], locations[first], segments)
