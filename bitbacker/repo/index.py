"""Where chunks lie: searchable arrays over the index tables of a head.

Look-ups come in batches and cost a binary search in sorted arrays; there is no object per chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitbacker.errors import FormatError
from bitbacker.format import index as index_format
from bitbacker.format.block import BlockKind
from bitbacker.format.index import IDS_DTYPE, LOCATION_DTYPE, IndexPage
from bitbacker.format.root import TableRef
from bitbacker.repo.cache import TableCache
from bitbacker.repo.tables import TableReader

UNKNOWN = 0xFFFFFFFF
PAGE_RECORDS = 2_048
"""About 40 KB as they are stored: six pages fill a small segment, which larger ones would not."""
_COLUMNS = 4

Ids = npt.NDArray[np.void]
Positions = npt.NDArray[np.int64]


def as_ids(data: bytes | bytearray | memoryview) -> Ids:
    """n x 16 bytes as an array of ids."""
    return np.frombuffer(data, dtype=IDS_DTYPE)


def halves(ids: Ids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """High and low half of each id, in native order."""
    return ids["high"].astype(np.uint64), ids["low"].astype(np.uint64)


def order_of(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> Positions:
    """The permutation that sorts ids."""
    return np.lexsort((low, high))


def find(
    high: npt.NDArray[np.uint64],
    low: npt.NDArray[np.uint64],
    wanted_high: npt.NDArray[np.uint64],
    wanted_low: npt.NDArray[np.uint64],
) -> Positions:
    """The position of each wanted id in sorted halves, -1 for absent ones."""
    if not len(high):
        return np.full(len(wanted_high), -1, dtype=np.int64)
    at = np.searchsorted(high, wanted_high)
    clipped = np.minimum(at, len(high) - 1)
    # Two ids that share their high half are rare enough to be looked at one by one.
    crowded = (high[clipped] == wanted_high) & (low[clipped] != wanted_low)
    for number in np.flatnonzero(crowded):
        first, end = at[number], np.searchsorted(high, wanted_high[number], side="right")
        clipped[number] = min(first + int(np.searchsorted(low[first:end], wanted_low[number])), len(high) - 1)
    hit = (high[clipped] == wanted_high) & (low[clipped] == wanted_low)
    return np.where(hit, clipped, -1)


@dataclass(frozen=True, slots=True)
class IndexTable:
    """One index table as arrays; `segment` in a location counts in `segments`."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    locations: npt.NDArray[np.void]
    segments: tuple[bytes, ...]


class ChunkIndex:
    """All index tables of a head; later tables overrule earlier ones."""

    def __init__(self, tables: list[IndexTable]) -> None:
        self._tables = tables
        self.segments: list[bytes] = [identity for table in tables for identity in table.segments]
        counts = [len(table.segments) for table in tables]
        self._bases = [sum(counts[:number]) for number in range(len(tables))]

    @property
    def chunks(self) -> int:
        """How many records there are; a chunk may have several."""
        return sum(len(table.high) for table in self._tables)

    def locate(self, ids: bytes | bytearray | memoryview) -> npt.NDArray[np.void]:
        """Where each of n x 16 bytes of ids lies; `segment` is `UNKNOWN` for an id that is not stored."""
        high, low = halves(as_ids(ids))
        result = np.zeros(len(high), dtype=LOCATION_DTYPE)
        result["segment"] = UNKNOWN
        for table, base in zip(reversed(self._tables), reversed(self._bases), strict=True):
            open_ones = np.flatnonzero(result["segment"] == UNKNOWN)
            if not len(open_ones):
                break
            at = find(table.high, table.low, high[open_ones], low[open_ones])
            hits = open_ones[at >= 0]
            found = table.locations[at[at >= 0]]
            result[hits] = found
            result["segment"][hits] = found["segment"] + np.uint32(base)
        return result

    def table_arrays(self) -> list[IndexTable]:
        """The tables themselves, oldest first, for verbs that go through everything."""
        return self._tables


def load_index(reader: TableReader, cache: TableCache, refs: tuple[TableRef, ...]) -> ChunkIndex:
    """Open the index tables of a head.  Raises `DamageError`."""
    return ChunkIndex([_load_table(reader, cache, ref) for ref in refs])


def _load_table(reader: TableReader, cache: TableCache, ref: TableRef) -> IndexTable:
    cached = cache.load(ref.identity)
    if cached is None or len(cached) != _COLUMNS:
        table = _read_table(reader, ref)
        keep_table(cache, ref, table)
        return table
    high, low, locations, segments = cached
    return IndexTable(
        np.frombuffer(high, np.uint64),
        np.frombuffer(low, np.uint64),
        np.frombuffer(locations, LOCATION_DTYPE),
        tuple(bytes(segments[at : at + 16]) for at in range(0, len(segments), 16)),
    )


def keep_table(cache: TableCache, ref: TableRef, table: IndexTable) -> None:
    """Put an index table into the cache, column by column."""
    cache.store(
        ref.identity,
        [table.high.tobytes(), table.low.tobytes(), table.locations.tobytes(), b"".join(table.segments)],
    )


def _read_table(reader: TableReader, ref: TableRef) -> IndexTable:
    root = reader.root(ref, BlockKind.INDEX)
    pages = [index_format.decode_page(raw) for raw in reader.blobs(ref, BlockKind.INDEX)]
    ids = np.concatenate([page.ids for page in pages]) if pages else np.empty(0, IDS_DTYPE)
    locations = np.concatenate([page.locations for page in pages]) if pages else np.empty(0, LOCATION_DTYPE)
    if len(ids) != ref.records:
        raise FormatError("an index table with another number of records than its root says")
    if len(locations) and int(locations["segment"].max()) >= len(root.segments):
        raise FormatError("an index table that names a segment it does not list")
    high, low = halves(ids)
    return IndexTable(high, low, locations, root.segments)


def by_segments(table: IndexTable, segments_max: int) -> list[IndexTable]:
    """The records of a table as tables that name at most so many segments each."""
    if len(table.segments) <= segments_max:
        return [table]
    parts: list[IndexTable] = []
    for first in range(0, len(table.segments), segments_max):
        numbers = table.locations["segment"]
        inside = (numbers >= first) & (numbers < first + segments_max)
        locations = table.locations[inside]
        locations["segment"] -= np.uint32(first)
        named = table.segments[first : first + segments_max]
        parts.append(IndexTable(table.high[inside], table.low[inside], locations, named))
    return parts


def pages_of(ids: Ids, locations: npt.NDArray[np.void]) -> list[IndexPage]:
    """Cut sorted records into pages."""
    step = PAGE_RECORDS
    return [IndexPage(ids[at : at + step], locations[at : at + step]) for at in range(0, len(ids), step)]
