"""Picking single entries out of directories, to make another directory of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bitbacker.format.block import CHUNK_ID_SIZE_BYTES
from bitbacker.format.entries import FINGERPRINT_SIZE_BYTES, MARK_CONTINUES, Directory, Extra, is_link
from bitbacker.format.rows import ROW_SIZE_BYTES, as_rows


class Columns:
    """A directory of which single entries are wanted."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._chunk_starts = [0, *np.cumsum(directory.chunk_counts, dtype=np.int64).tolist()]
        positions = np.flatnonzero(is_link(as_rows(directory.rows))).tolist()
        self.links = dict(zip(positions, directory.links, strict=True))
        self.extras = {extra.position: extra.data for extra in directory.extras}

    def row(self, at: int) -> bytes:
        return self.directory.rows[at * ROW_SIZE_BYTES : (at + 1) * ROW_SIZE_BYTES]

    def fingerprint(self, at: int) -> bytes:
        return self.directory.fingerprints[at * FINGERPRINT_SIZE_BYTES : (at + 1) * FINGERPRINT_SIZE_BYTES]

    def chunk_ids(self, at: int) -> bytes:
        first, end = self._chunk_starts[at], self._chunk_starts[at + 1]
        return self.directory.chunk_ids[first * CHUNK_ID_SIZE_BYTES : end * CHUNK_ID_SIZE_BYTES]


@dataclass(frozen=True, slots=True)
class Pick:
    """One entry: its name, where its columns are, and the chunk ids of further pieces of it."""

    name: bytes
    columns: Columns
    position: int
    more: tuple[bytes, ...] = ()

    @property
    def continues(self) -> bool:
        return bool(self.columns.directory.marks[self.position] & MARK_CONTINUES)

    @property
    def chunk_ids(self) -> bytes:
        return b"".join((self.columns.chunk_ids(self.position), *self.more))

    def with_piece(self, piece: Pick) -> Pick:
        """The entry with the chunk ids of another piece behind its own."""
        return replace(self, more=(*self.more, piece.chunk_ids))


def pick_entries(path: bytes, picks: Sequence[Pick]) -> Directory:
    """A directory of these entries, which ascend by name."""
    extras = tuple(
        Extra(at, pick.columns.extras[pick.position])
        for at, pick in enumerate(picks)
        if pick.position in pick.columns.extras
    )
    ids = [pick.chunk_ids for pick in picks]
    marks = (pick.columns.directory.marks[pick.position] & ~MARK_CONTINUES for pick in picks)
    return Directory(
        path,
        b"\0".join(pick.name for pick in picks),
        b"".join(pick.columns.row(pick.position) for pick in picks),
        b"".join(pick.columns.fingerprint(pick.position) for pick in picks),
        bytes(marks),
        np.array([len(part) // CHUNK_ID_SIZE_BYTES for part in ids], dtype=np.uint32),
        b"".join(ids),
        tuple(pick.columns.links[pick.position] for pick in picks if pick.position in pick.columns.links),
        extras,
    )
