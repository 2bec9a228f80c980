"""Chunks that a session has stored itself: which ones, and where they came to lie."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bitbacker.format.block import BlockRef
from bitbacker.format.index import LOCATION_DTYPE
from bitbacker.repo.index import Ids, IndexTable, as_ids, find, halves, order_of

_RECENT_MAX = 50_000


class SeenChunks:
    """A set of chunk ids that grows to millions: a small Python set before sorted arrays."""

    def __init__(self, recent_max: int = _RECENT_MAX) -> None:
        """`recent_max`: how many ids may be in the Python set between batches."""
        self._recent_max = recent_max
        self._recent: set[bytes] = set()
        self._runs: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]] = []

    def add_new(self, identity: bytes) -> bool:
        """Add an id that is in no sorted run; False when it was added shortly before."""
        if identity in self._recent:
            return False
        self._recent.add(identity)
        return True

    def settle(self) -> None:
        """Between batches: sort what has become too much for a Python set."""
        if len(self._recent) > self._recent_max:
            self._settle()

    def known(self, ids: list[bytes]) -> npt.NDArray[np.bool_]:
        """Which of these are in the set."""
        result = np.array([identity in self._recent for identity in ids], dtype=np.bool_)
        if self._runs:
            high, low = halves(as_ids(b"".join(ids)))
            for run_high, run_low in self._runs:
                result |= find(run_high, run_low, high, low) >= 0
        return result

    def _settle(self) -> None:
        high, low = halves(as_ids(b"".join(self._recent)))
        self._recent.clear()
        self._merge(high, low)

    def _merge(self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> None:
        while self._runs and len(self._runs[-1][0]) <= 2 * len(high):
            other_high, other_low = self._runs.pop()
            high, low = np.concatenate((other_high, high)), np.concatenate((other_low, low))
        order = order_of(high, low)
        self._runs.append((high[order], low[order]))


@dataclass(slots=True)
class PlacedChunks:
    """The locations of new chunks, collected block by block from any thread."""

    _ids: list[bytes] = field(default_factory=list)
    _columns: list[npt.NDArray[np.void]] = field(default_factory=list)
    _ordinals: dict[bytes, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, ref: BlockRef, ids: bytes, sizes: tuple[int, ...]) -> None:
        """One data block has its place."""
        rows = np.empty(len(sizes), dtype=LOCATION_DTYPE)
        ends = np.cumsum(sizes)
        rows["block"] = ref.number
        rows["size"] = sizes
        rows["offset"] = ends - rows["size"]
        with self._lock:
            rows["segment"] = self._ordinals.setdefault(ref.segment, len(self._ordinals))
            self._ids.append(ids)
            self._columns.append(rows)

    def table(self) -> IndexTable | None:
        """Everything collected so far, sorted; None when there is nothing."""
        if not self._ids:
            return None
        ids = as_ids(b"".join(self._ids))
        locations = np.concatenate(self._columns)
        high, low = halves(ids)
        order = order_of(high, low)
        return IndexTable(high[order], low[order], locations[order], tuple(self._ordinals))

    def clear(self) -> None:
        self._ids.clear()
        self._columns.clear()
        self._ordinals.clear()


def ids_of(table: IndexTable) -> Ids:
    """The sorted ids of a table as they are stored."""
    ids = np.empty(len(table.high), dtype=[("high", ">u8"), ("low", ">u8")])
    ids["high"], ids["low"] = table.high, table.low
    return ids
