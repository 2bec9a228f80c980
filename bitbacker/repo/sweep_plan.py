"""What a prune would do: which segments are needed, which are worth repacking, which can go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitbacker.errors import DamageError
from bitbacker.format import names
from bitbacker.format.block import BlockKind
from bitbacker.format.head import Head
from bitbacker.format.root import TableRef, TableRoot
from bitbacker.repo.catalog import Catalog
from bitbacker.repo.index import UNKNOWN, ChunkIndex, Ids
from bitbacker.repo.marks import needed_chunks, tables_of
from bitbacker.repo.oblivious import Tell, read_everything
from bitbacker.repo.open import Repository

SMALL_SEGMENTS_MAX = 16
IDLE_SEGMENTS_MAX = 16
IDLE_PART_MAX = 0.25


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """`live_part_min`: a segment of which less is needed is repacked; 0 repacks nothing.

    With `strict` every segment is read and what is needed is stored again, so that the storage learns
    how much that is, and nothing of where it was.
    """

    live_part_min: float = 0.7
    strict: bool = False


@dataclass(frozen=True, slots=True)
class LiveTable:
    """An entry table that snapshots need, and its root."""

    ref: TableRef
    root: TableRoot

    @property
    def segments(self) -> frozenset[bytes]:
        """The segments in which its blocks lie."""
        pages = (page.block.segment for page in (*self.root.pages, *self.root.rungs))
        return frozenset((self.ref.root.segment, *pages))

    def touches(self, segments: frozenset[bytes]) -> bool:
        """Whether one of its blocks lies in these segments."""
        return not self.segments.isdisjoint(segments)


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Segments by what becomes of them; sizes in bytes.

    `dead` hold nothing that is needed; `repacked` hold little, which is copied first; `orphans` are
    in the storage but in no head; `condemned` an earlier prune has condemned, and they are there still.
    `needed` and `locations` say which chunks stay and where they lie.  `reader` is the repository as it
    is to be read; `strict` is that of the options; `sizes` are those of all stored segments.
    """

    reader: Repository
    strict: bool
    head: Head
    catalog: Catalog
    index: ChunkIndex
    needed: Ids
    locations: npt.NDArray[np.void]
    tables: tuple[LiveTable, ...]
    dead: frozenset[bytes]
    repacked: frozenset[bytes]
    orphans: frozenset[bytes]
    condemned: frozenset[bytes]
    kept: frozenset[bytes]
    sizes: Mapping[bytes, int]
    repacked_bytes: int

    @property
    def victims(self) -> frozenset[bytes]:
        """Every segment that will be deleted."""
        return self.dead | self.repacked | self.orphans | self.condemned

    @property
    def freed_bytes(self) -> int:
        """What the victims take on the storage."""
        return self.size_of(self.victims)

    @property
    def nothing_to_do(self) -> bool:
        return not self.victims

    @property
    def needs_commit(self) -> bool:
        """Whether there are victims that the newest head does not condemn already."""
        return self.victims != self.condemned

    def size_of(self, segments: frozenset[bytes]) -> int:
        """What these stored segments take, in bytes."""
        return sum(self.sizes[identity] for identity in segments)


def plan_prune(repository: Repository, options: PruneOptions, tell: Tell | None = None) -> PrunePlan:
    """Look at everything and change nothing; `tell` hears of segments that are read for `strict`.

    Raises `DamageError` when a snapshot or table cannot be read: what is not understood is not
    deleted.
    """
    if options.strict:
        repository = read_everything(repository, tell)
    head = repository.newest()
    catalog, index = repository.catalog(head), repository.index(head)
    stored = {
        names.segment_identity(info.name): info.size_bytes for info in repository.storage.list(names.SEGMENTS)
    }
    missing = catalog.live - stored.keys()
    if missing:
        raise DamageError(f"{len(missing)} segments are missing, so nothing is deleted")
    needed = needed_chunks(repository.tables, catalog.snapshots)
    locations = index.locate(needed.tobytes())
    if len(needed) and bool((locations["segment"] == UNKNOWN).any()):
        raise DamageError("snapshots need chunks that the index does not know, so nothing is deleted")
    tables = tuple(
        LiveTable(ref, repository.tables.root(ref, BlockKind.ENTRIES)) for ref in tables_of(catalog.snapshots)
    )
    kept = _Kept(head, catalog, index, needed, locations, tables)
    return _sorted_out(repository, kept, stored, options)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a head holds, and what of it is needed."""

    head: Head
    catalog: Catalog
    index: ChunkIndex
    needed: Ids
    locations: npt.NDArray[np.void]
    tables: tuple[LiveTable, ...]


def _sorted_out(
    repository: Repository, found: _Kept, stored: dict[bytes, int], options: PruneOptions
) -> PrunePlan:
    catalog = found.catalog
    parts = _live_parts(found.index, found.locations)
    condemned = catalog.condemned & stored.keys()
    orphans = frozenset(stored) - catalog.live - condemned
    if options.strict:
        dead, repacked = frozenset[bytes](), catalog.live
    else:
        dead, repacked = _dead_and_sparse(found, stored, parts, live_part_min=options.live_part_min)
    return PrunePlan(
        repository,
        options.strict,
        found.head,
        catalog,
        found.index,
        found.needed,
        found.locations,
        found.tables,
        dead,
        repacked,
        orphans,
        condemned,
        catalog.live - dead - repacked,
        stored,
        repacked_bytes=sum(int(stored[i] * parts.get(i, 0)) for i in repacked),
    )


def _dead_and_sparse(
    found: _Kept, stored: dict[bytes, int], parts: dict[bytes, float], *, live_part_min: float
) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """The live segments that nobody needs, and those of which little is needed."""
    live, condemned = found.catalog.live, found.catalog.condemned
    with_tables = frozenset[bytes]().union(*(table.segments for table in found.tables))
    useful = {identity for identity, part in parts.items() if part > 0} | with_tables
    dead = live & parts.keys() - useful
    sparse = {i for i, part in parts.items() if part < live_part_min and i in useful}
    small = {i for i in useful if stored.get(i) == names.SMALL_SEGMENT_SIZE_BYTES}
    if live_part_min > 0 and len(small) > SMALL_SEGMENTS_MAX:
        sparse |= small
    repacked = frozenset(sparse & live)
    # Catalogs, indexes, tables of forgotten snapshots, and padding: alone they are not worth a prune, which
    # writes the first two anew and is padded itself.
    idle = live - useful - parts.keys()
    orphans = stored.keys() - live - condemned
    if dead or repacked or orphans or len(idle) > IDLE_SEGMENTS_MAX + len(live) * IDLE_PART_MAX:
        dead |= idle
    return dead, repacked


def _live_parts(index: ChunkIndex, locations: npt.NDArray[np.void]) -> dict[bytes, float]:
    """Which part of the data of each segment is needed, by raw size; segments without data are absent."""
    count = len(index.segments)
    total = np.zeros(count)
    base = 0
    for table in index.table_arrays():
        segments = table.locations["segment"].astype(np.int64) + base
        total += np.bincount(segments, table.locations["size"].astype(np.float64), count)
        base += len(table.segments)
    live = np.bincount(locations["segment"].astype(np.int64), locations["size"].astype(np.float64), count)
    result: dict[bytes, list[float]] = {}
    for position, identity in enumerate(index.segments):
        sums = result.setdefault(identity, [0.0, 0.0])
        sums[0] += float(live[position])
        sums[1] += float(total[position])
    return {identity: live / total if total else 0.0 for identity, (live, total) in result.items()}
