"""The rungs of an entry table: its fingerprints once more, for clients that have nothing but the key.

A large table has its sorted list of fingerprints, a very large one also a sketch of 1 MiB.  They are
cut into pieces of blocks, which the root of the table lists.  docs/sketch.md explains the ladder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bitbacker.errors import FormatError
from bitbacker.format.block import BlockKind
from bitbacker.format.entries import PAGE_TARGET_BYTES, EntryPage
from bitbacker.format.root import RUNG_LIST, RUNG_SKETCH, TableRef, TableRoot
from bitbacker.format.sketch import (
    RUNG_PART_CELLS,
    Fingerprints,
    Sketch,
    decode_list,
    decode_sketch,
    encode_list,
)
from bitbacker.repo.tables import TableReader
from bitbacker.repo.tips import FirstPieces

LIST_MIN_ENTRIES = 1_000
SKETCH_MIN_ENTRIES = 150_000


@dataclass(frozen=True, slots=True)
class Rung:
    """One piece of a rung, as a block holds it."""

    kind: bytes
    raw: bytes


def rungs_of(fingerprints: Fingerprints) -> list[Rung]:
    """The pieces for a table with these fingerprints, in any order; a small table has none."""
    rungs: list[Rung] = []
    if len(fingerprints) >= SKETCH_MIN_ENTRIES:
        rungs += _pieces(RUNG_SKETCH, Sketch.of(fingerprints, RUNG_PART_CELLS).encode())
    if len(fingerprints) >= LIST_MIN_ENTRIES:
        rungs += _pieces(RUNG_LIST, encode_list(np.sort(fingerprints)))
    return rungs


def _pieces(kind: bytes, data: bytes) -> list[Rung]:
    return [Rung(kind, data[at : at + PAGE_TARGET_BYTES]) for at in range(0, len(data), PAGE_TARGET_BYTES)]


@dataclass(frozen=True, slots=True)
class Delta:
    """What a table does to a set: fingerprints that it brings, and those that it drops."""

    added: Fingerprints
    dropped: Fingerprints


def delta_of(pages: Iterable[EntryPage]) -> Delta:
    """What the pages of a table say.  Raises `DamageError`."""
    pieces = FirstPieces()
    added, dropped = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for page in pages:
        added.append(pieces.of(page))
        dropped.append(page.drops)
    return Delta(np.concatenate(added), np.concatenate(dropped))


class Rungs:
    """Reads the rungs of one table."""

    def __init__(self, reader: TableReader, ref: TableRef) -> None:
        """Raises `DamageError`, `StorageError`."""
        self._reader = reader
        self._ref = ref
        self._root: TableRoot = reader.root(ref, BlockKind.ENTRIES)

    @property
    def has_sketch(self) -> bool:
        return any(rung.first_key == RUNG_SKETCH for rung in self._root.rungs)

    def sketch(self) -> Sketch:
        """The sketch of what the table adds.  Raises `DamageError`, `StorageError`."""
        return decode_sketch(self._read(RUNG_SKETCH), RUNG_PART_CELLS)

    def delta(self) -> Delta:
        """Everything that the table adds and drops.  Raises `DamageError`, `StorageError`."""
        if not any(rung.first_key == RUNG_LIST for rung in self._root.rungs):
            return delta_of(self._reader.entry_table(self._ref))
        return Delta(decode_list(self._read(RUNG_LIST)), self.dropped())

    def dropped(self) -> Fingerprints:
        """What the table drops, which its pages without entries say.

        Raises `DamageError`, `StorageError`.
        """
        pages = [page for page in self._root.pages if not page.records]
        drops = [self._reader.entry_page(page).drops for page in pages]
        return np.concatenate([np.empty(0, np.uint64), *drops])

    def _read(self, kind: bytes) -> bytes:
        pieces = self._reader.rungs(self._root, kind)
        if not pieces:
            raise FormatError("an entry table without the rung that is asked for")
        return b"".join(pieces)
