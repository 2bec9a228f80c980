"""A backup: scan, store, commit.

A long session commits checkpoints: partial snapshots from which an interrupted backup goes on.  If a
prune takes away what the session relies on before it is committed, it starts again on the newest head.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bitbacker.engine.assemble import Assembler
from bitbacker.engine.chunks import ChunkSink
from bitbacker.engine.content import ContentReader
from bitbacker.engine.observe import Observer
from bitbacker.engine.scan import Scan
from bitbacker.errors import RaceLost
from bitbacker.format.catalog import (
    SNAPSHOT_ID_SIZE_BYTES,
    CatalogRecord,
    Owner,
    Snapshot,
    SnapshotStats,
    encode_snapshot,
)
from bitbacker.format.head import Head
from bitbacker.format.names import HEAD_SIZE_BYTES
from bitbacker.format.root import TableRef
from bitbacker.repo.changes import AddSnapshot
from bitbacker.repo.commit import Superseded, commit
from bitbacker.repo.compact import tidy
from bitbacker.repo.known import SeenChunks
from bitbacker.repo.open import Repository
from bitbacker.repo.read import SegmentMissing
from bitbacker.repo.session import Coming, EntryWriter, Session, size_of
from bitbacker.repo.tree import SnapshotTree, TreeDirectory
from bitbacker.spi import Source

PASSES_MAX = 5
DELTAS_MAX = 16
DELTA_PART_MAX = 4
GIB = 1024**3
_TABLE_REF_ROOM_BYTES = 256


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """What a backup is called and how it is done; `time_ns` counts from the epoch, UTC."""

    host: str
    source: str
    tags: tuple[str, ...]
    time_ns: int
    program: str
    compression_level: int = 3
    read_all: bool = False
    dry_run: bool = False
    checkpoint_s: float = 600
    checkpoint_bytes: int = 10 * GIB


@dataclass(frozen=True, slots=True)
class BackupResult:
    """The snapshot, how many entries were not backed up as they are, and whether nothing changed."""

    snapshot: Snapshot
    problems: int
    unchanged: bool


def backup(
    repository: Repository, source: Source, options: BackupOptions, observer: Observer
) -> BackupResult:
    """Store what a source holds as a new snapshot; when this returns, it can be restored.

    Raises `SourceMissing`, `SourceError`, `StorageError`, `DamageError`, `RaceLost`.
    """
    for _ in range(PASSES_MAX):
        head = repository.newest()
        try:
            parent = _parent(repository.catalog(head).snapshots, options)
            result = _Backup(repository, source, options, observer, base=head, parent=parent).run()
        except Superseded:
            observer.note("a prune took away what this backup relied on; it starts again")
        except SegmentMissing:
            # What this head names may just have been pruned; in the newest head it is elsewhere.
            if repository.newest().prunes == head.prunes:
                raise
            observer.note("a prune moved what this backup was reading; it starts again")
        else:
            if not options.dry_run:
                tidy(repository)
            return result
    raise RaceLost(f"prunes interfered {PASSES_MAX} times in a row")


def _parent(snapshots: tuple[Snapshot, ...], options: BackupOptions) -> Snapshot | None:
    """The last snapshot of the same source of the same host."""
    same = [item for item in snapshots if (item.host, item.source) == (options.host, options.source)]
    return same[-1] if same else None


def _wants_full(parent: Snapshot | None) -> bool:
    """Deltas that are many, or together large beside their base, are folded into a new base."""
    if parent is None or not parent.tables:
        return True
    base, *deltas = parent.tables
    records = sum(table.records for table in deltas)
    return len(deltas) >= DELTAS_MAX or records * DELTA_PART_MAX > max(base.records, 1000)


class _Backup:
    """One attempt of a backup on one head."""

    def __init__(
        self,
        repository: Repository,
        source: Source,
        options: BackupOptions,
        observer: Observer,
        *,
        base: Head,
        parent: Snapshot | None,
    ) -> None:
        self._repository = repository
        self._source = source
        self._options = options
        self._observer = observer
        self._base = base
        self._parent = parent
        self._full = _wants_full(parent)
        self._started_s = self._checkpoint_s = time.monotonic()
        self._tables: tuple[TableRef, ...] = () if self._full or parent is None else parent.tables
        self._partial: Snapshot | None = None
        self._stored_bytes = 0

    def run(self) -> BackupResult:
        """Walk once, then commit."""
        if self._parent is not None:
            self._observer.expected(self._parent.stats.files, self._parent.stats.size_bytes)
        options = self._options
        with Session(self._repository, options.compression_level, dry_run=options.dry_run) as session:
            self._session = session
            self._entries = EntryWriter(session)
            self._prepare()
            self._scan.run(self._stored(), lambda: self._entries, self._between)
            return self._finish()

    def _prepare(self) -> None:
        repository, chunker = self._repository, self._repository.chunker()
        self._sink = ChunkSink(
            repository.keys,
            lambda: repository.index(self._base),
            SeenChunks(),
            self._session.submit_data,
        )
        reader = ContentReader(self._source, chunker, self._sink, self._problem, self._tick)
        self._scan = Scan(
            self._source,
            reader,
            Assembler(repository.keys),
            self._observer,
            full=self._full,
            read_all=self._options.read_all,
        )

    def _problem(self, path: bytes, text: str) -> None:
        self._scan.problem(path, text)

    def _tick(self, path: bytes, read_bytes: int) -> None:
        self._scan.tick(path, read_bytes)

    def _stored(self) -> Iterator[TreeDirectory]:
        if self._parent is None:
            return iter(())
        return iter(SnapshotTree(self._repository.tables, self._parent.tables))

    def _between(self) -> None:
        """After every directory: is it time for a checkpoint?  Only what the storage sees decides."""
        options = self._options
        due = time.monotonic() - self._checkpoint_s > options.checkpoint_s
        stored = self._session.store.written_bytes
        if not options.dry_run and (due or stored > options.checkpoint_bytes):
            self._checkpoint()

    def _checkpoint(self) -> None:
        snapshot = self._store(partial=True)
        self._partial = snapshot
        self._entries = EntryWriter(self._session)
        self._checkpoint_s = time.monotonic()
        self._observer.note(f"checkpoint: {snapshot.id[:8]} can be restored as far as it goes")

    def _finish(self) -> BackupResult:
        self._sink.flush()
        unchanged = self._parent is not None and self._partial is None and self._nothing_new()
        if self._options.dry_run:
            self._entries.flush()
            self._session.settle_indexes(self._coming())
            snapshot = self._snapshot(partial=False)
        else:
            snapshot = self._store(partial=False)
            snapshot = replace(snapshot, stats=replace(snapshot.stats, stored_bytes=self._stored_bytes))
        return BackupResult(snapshot, self._scan.counts.problems, unchanged)

    def _nothing_new(self) -> bool:
        return self._entries.empty and not self._full

    def _store(self, *, partial: bool) -> Snapshot:
        """Store and commit everything up to now as a snapshot."""
        self._sink.flush()
        session, base = self._session, self._base
        pending = not self._entries.empty or not self._tables
        if pending:
            self._entries.flush()
        indexes = session.settle_indexes(self._coming())
        if pending:
            self._tables = (*self._tables, self._entries.finish())
        snapshot = self._snapshot(partial=partial)
        records = [encode_snapshot(snapshot)]
        if self._partial is not None:
            records.append(CatalogRecord(self._partial.key, None))
        written = session.finish(records, base.number + 1, indexes)
        self._stored_bytes += sum(segment.size_bytes for segment in written.segments) + HEAD_SIZE_BYTES
        change = AddSnapshot(self._repository, snapshot, written, self._sink.relied)
        self._base = commit(self._repository, base, change)
        session.chunks.clear()
        return snapshot

    def _coming(self) -> Coming:
        """What follows the blocks: the root of the entry table and the records of the snapshot."""
        size = size_of([encode_snapshot(self._snapshot(partial=False))]) + _TABLE_REF_ROOM_BYTES
        return Coming(size, (self._entries.pages,))

    def _snapshot(self, *, partial: bool) -> Snapshot:
        options, scan = self._options, self._scan
        stored = self._stored_bytes + self._session.store.written_bytes + HEAD_SIZE_BYTES
        parent = self._parent
        files = scan.tally.files
        stats = SnapshotStats(
            files=files,
            directories=scan.tally.directories,
            others=scan.tally.others,
            size_bytes=scan.tally.size_bytes,
            files_new=scan.counts.new,
            files_changed=scan.counts.changed,
            files_unmodified=files - scan.counts.new - scan.counts.changed,
            added_bytes=self._sink.added_bytes,
            stored_bytes=stored,
            problems=scan.counts.problems,
            duration_ms=int((time.monotonic() - self._started_s) * 1000),
        )
        return Snapshot(
            identity=secrets.token_bytes(SNAPSHOT_ID_SIZE_BYTES),
            time_ns=options.time_ns,
            host=options.host,
            source=options.source,
            roots=self._source.roots(),
            tags=options.tags,
            tables=self._tables,
            program=options.program,
            parent=None if parent is None else parent.identity,
            partial=partial,
            stats=stats,
            users=_united(() if parent is None else parent.users, scan.fresh.users()),
            groups=_united(() if parent is None else parent.groups, scan.fresh.groups()),
        )


def _united(old: tuple[Owner, ...], new: tuple[Owner, ...]) -> tuple[Owner, ...]:
    """All owners; where both know a number, what is true now."""
    names = {owner.number: owner for owner in (*old, *new)}
    return tuple(names[number] for number in sorted(names))
