"""A prune: copy what is needed out of sparse segments, condemn, commit, and only then delete.

The commit writes catalog and index anew, so that nothing in the newest head points into a condemned
segment.  A prune whose head was overtaken starts again, because what it condemned may be in use.
What the newest head condemns already needs no other commit, because nobody may rely on it; but the head
must be the newest one still, or it may be one of a client that slept while its number was used and trimmed.

A storage may keep objects locked for a time.  Segments that it keeps stay condemned, as long as they are
there, and a later prune deletes them.

A strict prune reads every segment, oldest first, and stores what is needed only after that: what the
storage sees depends on how much remains, and not on what is gone.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitbacker.errors import DamageError, ObjectsLocked, RaceLost
from bitbacker.format import names
from bitbacker.format.block import BlockKind, BlockRef, PackedBlock
from bitbacker.format.catalog import (
    HEAD_KEY,
    SEGMENT_KEY,
    SNAPSHOT_KEY,
    CatalogRecord,
    SegmentRecord,
    SegmentState,
    encode_segment,
    encode_snapshot,
)
from bitbacker.format.head import Head
from bitbacker.format.root import PageRef, TableRef, TableRoot
from bitbacker.repo.catalog import segments_sum
from bitbacker.repo.commit import Superseded, commit
from bitbacker.repo.held_back import HeldBackStorage, check_room
from bitbacker.repo.index import IndexTable, find, halves
from bitbacker.repo.open import Repository
from bitbacker.repo.session import Coming, Session, Written, size_of
from bitbacker.repo.sweep_plan import LiveTable, PruneOptions, PrunePlan, plan_prune
from bitbacker.repo.write import Placed, RawBlock

PASSES_MAX = 5
HEADS_KEPT = 16
_JOINED_BYTES = (256 * 1024, 1024 * 1024)
_SIZE_MAX_BYTES = 2**32 - 1
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What a prune did; sizes in bytes.

    `locked_segments` are condemned, but the storage keeps them, until `locked_until_s` (seconds since
    1970; None when there are none): a later prune deletes them.
    """

    deleted_segments: int
    freed_bytes: int
    stored_bytes: int
    locked_segments: int = 0
    locked_bytes: int = 0
    locked_until_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Sweep:
    """The change: catalog and index are those of the plan, the victims are condemned."""

    repository: Repository
    plan: PrunePlan
    written: Written
    moved: dict[TableRef, TableRef]

    def check(self, base: Head, newest: Head) -> None:
        """The plan knows nothing of commits after its head."""
        if newest.number != base.number:
            raise Superseded

    def apply(self, newest: Head) -> Head:
        live = self.plan.kept | {record.identity for record in self.written.segments}
        tips = tuple(
            replace(tip, tables=tuple(self.moved.get(table, table) for table in tip.tables))
            for tip in newest.tips
        )
        return replace(
            newest,
            prunes=newest.prunes + 1,
            segments=len(live),
            segments_sum=segments_sum(self.repository.keys, live),
            catalogs=(self.written.catalog,),
            indexes=self.written.indexes,
            tips=tips,
        )

    def holds(self, newest: Head) -> bool:
        if self.written.catalog in newest.catalogs:
            return True
        catalog = self.repository.catalog(newest)
        return self.plan.victims <= catalog.condemned and not self.plan.victims & catalog.live


def execute_prune(repository: Repository, plan: PrunePlan, options: PruneOptions) -> PruneResult:
    """Do what a plan says; when other clients committed meanwhile, plan again and do that.

    Raises `RaceLost`, `StorageError`, `DamageError`.
    """
    for _ in range(PASSES_MAX):
        try:
            return _Execution(repository, plan).run()
        except Superseded:
            plan = plan_prune(repository, options)
    raise RaceLost(f"other clients committed during the prune, {PASSES_MAX} times in a row")


class _Execution:
    def __init__(self, repository: Repository, plan: PrunePlan) -> None:
        self._repository = repository
        self._plan = plan
        self._moved: dict[TableRef, TableRef] = {}
        self._heads: list[CatalogRecord] = []

    def run(self) -> PruneResult:
        plan, repository = self._plan, self._repository
        if plan.nothing_to_do:
            return PruneResult(0, 0, 0)
        if not plan.needs_commit:
            if repository.heads.newest().head != plan.head:
                raise Superseded
            return self._delete()
        # Before heads are removed, what they were is written down.
        self._heads = repository.heads.all_records(plan.catalog.head_hashes)
        written = self._write_held_back() if plan.strict else self._write(repository)
        commit(repository, plan.head, _Sweep(repository, plan, written, self._moved))
        stored = sum(record.size_bytes for record in written.segments) + names.HEAD_SIZE_BYTES
        result = self._delete(stored)
        repository.heads.trim(HEADS_KEPT)
        return result

    def _write_held_back(self) -> Written:
        """Store nothing before everything has been read."""
        folder = self._repository.spool_folder
        check_room(folder, self._plan.repacked_bytes)
        waiting = HeldBackStorage(self._repository.storage, folder)
        repository = copy.copy(self._repository)
        repository.storage = waiting
        written = self._write(repository)
        waiting.send()
        return written

    def _write(self, repository: Repository) -> Written:
        plan = self._plan
        with Session(repository) as session:
            for block in _joined(self._needed_blocks()):
                session.submit_data(block)
            copies = [
                _TableCopy(session, plan.reader, table, plan.repacked)
                for table in plan.tables
                if table.touches(plan.repacked)
            ]
            session.settle(
                Coming(
                    size_of(self._records()),
                    tuple(len(each.table.root.pages) + len(each.table.root.rungs) for each in copies),
                    len(plan.needed),
                    len(plan.index.segments),
                )
            )
            self._moved = {each.table.ref: each.finish() for each in copies}
            indexes = self._indexes(session)
            return session.finish(self._records(), plan.head.number + 1, indexes)

    def _delete(self, stored_bytes: int = 0) -> PruneResult:
        plan = self._plan
        victims = [names.segment_name(identity) for identity in plan.victims]
        _random.shuffle(victims)
        try:
            self._repository.storage.delete(victims)
        except ObjectsLocked as error:
            locked = frozenset(names.segment_identity(name) for name in error.names) & plan.victims
            gone = plan.victims - locked
            return PruneResult(
                len(gone),
                plan.size_of(gone),
                stored_bytes,
                len(locked),
                plan.size_of(locked),
                error.free_at_s,
            )
        return PruneResult(len(plan.victims), plan.freed_bytes, stored_bytes)

    def _needed_blocks(self) -> Iterator[RawBlock]:
        """What is needed of the segments that are repacked, block by block."""
        plan = self._plan
        rows = self._needed_rows()
        with closing(plan.reader.segments.opened(self._order(rows))) as segments:
            for identity, segment in segments:
                chosen = rows.get(identity)
                if chosen is None:
                    continue
                if isinstance(segment, DamageError):
                    raise segment
                for block, members in _runs(chosen, plan.locations["block"][chosen]):
                    yield _picked(segment.block(block), plan.needed[members], plan.locations[members])

    def _needed_rows(self) -> dict[bytes, npt.NDArray[np.int64]]:
        """The chunks that are needed of each segment that is repacked, by place."""
        plan = self._plan
        positions = [i for i, identity in enumerate(plan.index.segments) if identity in plan.repacked]
        rows = np.flatnonzero(np.isin(plan.locations["segment"], np.array(positions, dtype=np.uint32)))
        rows = rows[np.argsort(plan.locations[rows], order=("segment", "block", "offset"), kind="stable")]
        found: dict[bytes, list[npt.NDArray[np.int64]]] = {}
        for position, chosen in _runs(rows, plan.locations["segment"][rows]):
            found.setdefault(plan.index.segments[position], []).append(chosen)
        return {identity: np.concatenate(parts) for identity, parts in found.items()}

    def _order(self, needed: Iterable[bytes]) -> list[bytes]:
        """Which segments to read, in which order: `strict` goes by their age, and leaves none out."""
        segments = self._plan.catalog.segments
        if self._plan.strict:
            return sorted(self._plan.repacked, key=lambda identity: (segments[identity].born, identity))
        order = list(needed)
        _random.shuffle(order)
        return order

    def _indexes(self, session: Session) -> tuple[TableRef, ...]:
        """An index of everything that is needed, with the new places of what was copied."""
        plan = self._plan
        if not len(plan.needed):
            return ()
        high, low = halves(plan.needed)
        segments = list(plan.index.segments)
        locations = plan.locations.copy()
        moved = session.chunks.table()
        if moved is not None:
            at = find(high, low, moved.high, moved.low)
            locations[at] = moved.locations
            locations["segment"][at] += np.uint32(len(segments))
            segments += moved.segments
        used, renumbered = np.unique(locations["segment"], return_inverse=True)
        locations["segment"] = renumbered.astype(np.uint32)
        named = tuple(segments[number] for number in used.tolist())
        return session.write_indexes(IndexTable(high, low, locations, named))

    def _records(self) -> list[CatalogRecord]:
        """Snapshots as they stay, what is no segment, segments that stay live, and the victims, condemned."""
        plan = self._plan
        records = [
            encode_snapshot(
                replace(snapshot, tables=tuple(self._moved.get(table, table) for table in snapshot.tables))
            )
            for snapshot in plan.catalog.snapshots
        ]
        records += [
            CatalogRecord(key, value)
            for key, value in plan.catalog.records.items()
            if not key.startswith((SNAPSHOT_KEY, SEGMENT_KEY, HEAD_KEY))
        ]
        records += self._heads
        records += [encode_segment(plan.catalog.segments[identity]) for identity in plan.kept]
        records += [encode_segment(self._condemned(identity)) for identity in plan.victims]
        return records

    def _condemned(self, identity: bytes) -> SegmentRecord:
        """The record of a victim; one that an earlier prune condemned keeps its own."""
        known = self._plan.catalog.segments.get(identity)
        if known is not None and known.state is SegmentState.CONDEMNED:
            return known
        # What somebody else has put among the segments may be of any size.
        size_bytes = min(self._plan.sizes[identity], _SIZE_MAX_BYTES)
        return SegmentRecord(identity, SegmentState.CONDEMNED, size_bytes, self._plan.head.number + 1)


class _TableCopy:
    """An entry table whose blocks in sparse segments are stored again."""

    def __init__(
        self, session: Session, repository: Repository, table: LiveTable, sparse: frozenset[bytes]
    ) -> None:
        self.table = table
        self._session = session
        self._places: dict[BlockRef, BlockRef] = {}
        parts = ((BlockKind.ENTRIES, table.root.pages), (BlockKind.FINGERPRINTS, table.root.rungs))
        for kind, pages in parts:
            for page in pages:
                if page.block.segment in sparse:
                    raw = repository.segments.block(page.block, kind)
                    session.store.submit(RawBlock(kind, bytes(raw)), self._placer(page.block))

    def _placer(self, old: BlockRef) -> Placed:
        def placed(ref: BlockRef, _: PackedBlock) -> None:
            self._places[old] = ref

        return placed

    def finish(self) -> TableRef:
        """Write the new root, after the session is settled."""
        root = self.table.root
        return self._session.root(
            TableRoot(BlockKind.ENTRIES, self._placed(root.pages), rungs=self._placed(root.rungs))
        )

    def _placed(self, pages: tuple[PageRef, ...]) -> tuple[PageRef, ...]:
        return tuple(replace(page, block=self._places.get(page.block, page.block)) for page in pages)


def _runs(
    rows: npt.NDArray[np.int64], keys: npt.NDArray[np.generic]
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Rows whose neighbouring keys are equal, together."""
    if not len(rows):
        return
    cuts = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    for part, first in zip(np.split(rows, cuts), keys[np.concatenate(([0], cuts))], strict=True):
        yield int(first), part


def _picked(raw: bytes | memoryview, ids: npt.NDArray[np.void], locations: npt.NDArray[np.void]) -> RawBlock:
    """A block of only these chunks."""
    view = memoryview(raw)
    spans = zip(locations["offset"].tolist(), locations["size"].tolist(), strict=True)
    data = b"".join(view[offset : offset + size] for offset, size in spans)
    return RawBlock(BlockKind.DATA, data, ids.tobytes(), tuple(locations["size"].tolist()))


def _joined(blocks: Iterator[RawBlock]) -> Iterator[RawBlock]:
    """Small blocks put together, because they compress better; in many sizes, which fill segments better."""
    waiting: list[RawBlock] = []
    size, limit = 0, _random.randrange(*_JOINED_BYTES)
    for block in blocks:
        if waiting and size + len(block.data) > limit:
            yield _join(waiting)
            waiting, size, limit = [], 0, _random.randrange(*_JOINED_BYTES)
        waiting.append(block)
        size += len(block.data)
    if waiting:
        yield _join(waiting)


def _join(blocks: list[RawBlock]) -> RawBlock:
    sizes = tuple(size for block in blocks for size in block.chunk_sizes)
    ids = b"".join(block.chunk_ids for block in blocks)
    return RawBlock(BlockKind.DATA, b"".join(block.data for block in blocks), ids, sizes)
