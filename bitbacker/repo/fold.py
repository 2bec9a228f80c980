"""Folding the deltas of a snapshot: several tables that say together what fewer tables can say.

Deltas become one delta, or a new base when they are large beside the old one.
"""

from __future__ import annotations

import numpy as np

from bitbacker.format.root import TableRef
from bitbacker.format.sketch import Fingerprints
from bitbacker.repo.rungs import delta_of
from bitbacker.repo.session import Coming, EntryWriter, Session
from bitbacker.repo.tables import TableReader
from bitbacker.repo.tree import SnapshotTree

TABLES_MIN = 3
DELTA_PART_MAX = 4
_BASE_MIN_RECORDS = 1_000


class Folding:
    """One list of tables on its way to a shorter one: begun before the session is settled."""

    def __init__(self, session: Session, reader: TableReader, tables: tuple[TableRef, ...]) -> None:
        """Stores the pages.  Raises `DamageError`, `StorageError`."""
        base, *deltas = tables
        self._kept = () if _wants_base(base, deltas) else (base,)
        self._writer = EntryWriter(session)
        folded = tables[len(self._kept) :]
        for directory in SnapshotTree(reader, folded):
            loaded = directory.load()
            if loaded.entries:
                self._writer.add(loaded)
        if self._kept:
            self._writer.drops.append(_dropped(reader, folded).astype("<u8").tobytes())
        self._writer.flush()

    @property
    def coming(self) -> Coming:
        """What `finish` will place."""
        return self._writer.coming

    def finish(self) -> tuple[TableRef, ...]:
        """The shorter list, after the session is settled."""
        return (*self._kept, self._writer.finish())


def _wants_base(base: TableRef, deltas: list[TableRef]) -> bool:
    records = sum(delta.records for delta in deltas)
    return records * DELTA_PART_MAX > max(base.records, _BASE_MIN_RECORDS)


def _dropped(reader: TableReader, deltas: tuple[TableRef, ...]) -> Fingerprints:
    """What deltas drop of what is below them: not what one of them brought and a later one dropped."""
    added = dropped = np.empty(0, np.uint64)
    for ref in deltas:
        delta = delta_of(reader.entry_table(ref))
        below = delta.dropped[~np.isin(delta.dropped, added)]
        dropped = np.concatenate([dropped, below])
        added = np.concatenate([added[~np.isin(added, delta.dropped)], delta.added])
    return dropped
