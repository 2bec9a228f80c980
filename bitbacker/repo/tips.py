"""Tips: what a head says of the last snapshot of each source, so that nothing else is read to go on.

The sketches of all tips share the room of the head: with s tips each has a part of
`PART_CELLS >> ceil(log2 s)` cells.  A sketch folds by halves, so a client can make room for its own
without knowing what is in the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bitbacker.format.catalog import Snapshot
from bitbacker.format.entries import MARK_CONTINUES, EntryPage
from bitbacker.format.head import Head, SourceTip
from bitbacker.format.root import TableRef
from bitbacker.format.sketch import PART_CELLS, Fingerprints, SetDigest, Sketch, decode_sketch
from bitbacker.repo.tables import TableReader

_DIGEST = struct.Struct("<3Q")


@dataclass(frozen=True, slots=True)
class FingerprintSet:
    """The fingerprints of a snapshot, as far as a head tells of them."""

    sketch: Sketch
    digest: SetDigest

    @classmethod
    def empty(cls) -> FingerprintSet:
        return cls(Sketch.empty(PART_CELLS), SetDigest(0, 0, 0))

    def changed(self, added: Fingerprints, dropped: Fingerprints) -> FingerprintSet:
        """The set after a delta."""
        return FingerprintSet(
            self.sketch.toggled(dropped).toggled(added), self.digest.minus(dropped).plus(added)
        )


class FirstPieces:
    """Tells which entries of a table count: of an entry in several pieces only the first."""

    def __init__(self) -> None:
        self._continues = False

    def of(self, page: EntryPage) -> Fingerprints:
        """The fingerprints of the entries of the next page, each once."""
        if not self._continues and not page.any_mark:
            return page.fingerprints
        goes_on = (page.marks & MARK_CONTINUES) != 0
        first = ~np.concatenate(([self._continues], goes_on[:-1]))[: page.entries]
        if page.entries:
            self._continues = bool(goes_on[-1])
        return page.fingerprints[first]


def tip_of(head: Head, source: bytes) -> SourceTip | None:
    """The tip of a source."""
    return next((tip for tip in head.tips if tip.source == source), None)


def make_tip(source: bytes, snapshot: Snapshot, fingerprints: FingerprintSet) -> SourceTip:
    """A tip with a sketch of full size."""
    digest, sketch = fingerprints.digest, fingerprints.sketch
    return SourceTip(
        source,
        snapshot.identity,
        snapshot.tables,
        _DIGEST.pack(digest.count, digest.total, digest.mixed),
        sketch.part_cells,
        sketch.encode(),
    )


def bare_tip(source: bytes, snapshot: Snapshot) -> SourceTip:
    """A tip without a sketch."""
    return SourceTip(source, snapshot.identity, snapshot.tables)


def digest_of(tip: SourceTip) -> SetDigest:
    """The digest of the fingerprints of a tip."""
    return SetDigest(*_DIGEST.unpack(tip.digest))


def sketch_of(tip: SourceTip) -> Sketch | None:
    """The sketch of a tip, if it has one.  Raises `FormatError`."""
    return decode_sketch(tip.sketch, tip.part_cells) if tip.part_cells else None


def full_set(tip: SourceTip) -> FingerprintSet | None:
    """What a tip says of its set, if its sketch has full size.  Raises `FormatError`."""
    sketch = sketch_of(tip)
    if sketch is None or sketch.part_cells != PART_CELLS:
        return None
    return FingerprintSet(sketch, digest_of(tip))


def set_of_tables(reader: TableReader, tables: Iterable[TableRef]) -> FingerprintSet:
    """The set of a snapshot, from its tables.  Raises `DamageError`."""
    result = FingerprintSet.empty()
    for ref in tables:
        pieces = FirstPieces()
        for page in reader.entry_table(ref):
            result = result.changed(pieces.of(page), page.drops)
    return result


def with_tip(tips: Sequence[SourceTip], tip: SourceTip) -> tuple[SourceTip, ...]:
    """The tips of a head with this one in front, and their sketches folded so that all have room."""
    every = [tip, *(other for other in tips if other.source != tip.source)]
    halvings = (len(every) - 1).bit_length()
    part_cells = PART_CELLS >> halvings if PART_CELLS % (1 << halvings) == 0 else 0
    return tuple(_folded(one, part_cells) for one in every)


def _folded(tip: SourceTip, part_cells: int) -> SourceTip:
    if tip.part_cells <= part_cells:
        return tip
    if not part_cells:
        # So many sources have no room; what is compared then are lists of fingerprints.
        return replace(tip, part_cells=0, sketch=b"")
    sketch = decode_sketch(tip.sketch, tip.part_cells).folded(part_cells)
    return replace(tip, part_cells=part_cells, sketch=sketch.encode())
