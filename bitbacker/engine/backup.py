"""A backup: scan, store, commit.

What is compared with is the last snapshot of the same source, by its tables when the cache has them,
else by its fingerprints.  Neither catalog nor tables are read for it.

A long session commits checkpoints: partial snapshots from which an interrupted backup goes on.  If a
prune takes away what the session relies on before it is committed, it starts again on the newest head.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bitbacker.engine.assemble import Assembler
from bitbacker.engine.chunks import ChunkSink
from bitbacker.engine.cold import ColdPass
from bitbacker.engine.content import ContentReader
from bitbacker.engine.ladder import climb
from bitbacker.engine.observe import Observer
from bitbacker.engine.scan import Scan, WarmPass
from bitbacker.errors import RaceLost
from bitbacker.format.catalog import (
    SNAPSHOT_ID_SIZE_BYTES,
    CatalogRecord,
    Snapshot,
    SnapshotStats,
    encode_snapshot,
)
from bitbacker.format.head import Head, SourceTip
from bitbacker.format.names import HEAD_SIZE_BYTES
from bitbacker.format.root import TableRef
from bitbacker.repo.changes import AddSnapshot
from bitbacker.repo.commit import Superseded, commit
from bitbacker.repo.compact import tidy
from bitbacker.repo.expected import Expected
from bitbacker.repo.known import SeenChunks
from bitbacker.repo.open import Repository
from bitbacker.repo.read import SegmentMissing
from bitbacker.repo.session import Coming, EntryWriter, Session, size_of
from bitbacker.repo.tips import FingerprintSet, bare_tip, full_set, set_of_tables, tip_of
from bitbacker.repo.tree import SnapshotTree, TreeDirectory
from bitbacker.spi import Source

PASSES_MAX = 5
GIB = 1024**3
_RECORDS_ROOM_BYTES = 256


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """What a backup is called and how it is done; `time_ns` counts from the epoch, UTC.

    `strict`: what is fetched does not depend on how much changed.
    """

    host: str
    source: str
    tags: tuple[str, ...]
    time_ns: int
    program: str
    compression_level: int = 3
    read_all: bool = False
    dry_run: bool = False
    strict: bool = False
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
            tip = _tip(repository, head, options)
            attempt = _Backup(repository, source, options, observer, base=head, tip=tip)
            result = attempt.run()
        except Superseded:
            observer.note("a prune took away what this backup relied on; it starts again")
        except SegmentMissing:
            # What this head names may just have been pruned; in the newest head it is elsewhere.
            if repository.newest().prunes == head.prunes:
                raise
            observer.note("a prune moved what this backup was reading; it starts again")
        else:
            if not options.dry_run:
                tidy(repository, attempt.head)
            return result
    raise RaceLost(f"prunes interfered {PASSES_MAX} times in a row")


def _tip(repository: Repository, head: Head, options: BackupOptions) -> SourceTip | None:
    """What the head says of the last snapshot of this source of this host."""
    source = repository.keys.source_identity(options.host, options.source)
    tip = tip_of(head, source)
    if tip is not None or head.tips_complete:
        return tip
    for snapshot in reversed(repository.catalog(head).snapshots):
        if (snapshot.host, snapshot.source) == (options.host, options.source):
            return bare_tip(source, snapshot)
    return None


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
        tip: SourceTip | None,
    ) -> None:
        self._repository = repository
        self._source = source
        self._options = options
        self._observer = observer
        self._base = base
        self._tip = tip
        self._started_s = self._checkpoint_s = time.monotonic()
        self._tables: tuple[TableRef, ...] = () if tip is None else tip.tables
        self._set = FingerprintSet.empty()
        self._partial: Snapshot | None = None
        self._stored_bytes = 0
        self._expected = Expected(repository.state_folder, options.host, options.source)

    @property
    def head(self) -> Head:
        """The head that the last commit made."""
        return self._base

    def run(self) -> BackupResult:
        """Walk, compare and read, then commit."""
        self._observer.expected(*self._expected.load())
        options = self._options
        with Session(self._repository, options.compression_level, dry_run=options.dry_run) as session:
            self._session = session
            self._entries = EntryWriter(session)
            self._prepare()
            self._pass()
            return self._finish()

    def _prepare(self) -> None:
        repository, chunker, options = self._repository, self._repository.chunker(), self._options
        index = None
        if options.strict:
            index = repository.index(self._base)
        self._sink = ChunkSink(
            repository.keys,
            lambda: index or repository.index(self._base),
            SeenChunks(),
            self._session.submit_data,
            repository.padding.blind_bytes,
        )
        reader = ContentReader(self._source, chunker, self._sink, self._problem, self._tick)
        self._scan = Scan(self._source, reader, Assembler(repository.keys), self._observer)

    def _pass(self) -> None:
        tip, tables, read_all = self._tip, self._repository.tables, self._options.read_all
        if tip is not None and not all(tables.cached(ref) for ref in tip.tables):
            self._cold_pass(tip)
            return
        stored: Iterator[TreeDirectory] = iter(())
        if tip is not None:
            stored = iter(SnapshotTree(tables, tip.tables))
            self._set = full_set(tip) or set_of_tables(tables, tip.tables)
        WarmPass(self._scan, stored, read_all=read_all).run(lambda: self._entries, self._between)

    def _cold_pass(self, tip: SourceTip) -> None:
        cold = ColdPass(self._scan, self._repository.keys, read_all=self._options.read_all)
        local = cold.walk()
        found = climb(self._repository, tip, local, strict=self._options.strict)
        nothing = np.empty(0, np.uint64)
        here = FingerprintSet.empty().changed(local, found.local_only)
        self._set = here.changed(found.remote_only, nothing)
        cold.run(local, found, lambda: self._entries, self._between)

    def _problem(self, path: bytes, text: str) -> None:
        self._scan.problem(path, text)

    def _tick(self, path: bytes, read_bytes: int) -> None:
        self._scan.tick(path, read_bytes)

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
        unchanged = self._tip is not None and self._partial is None and self._entries.empty
        if self._options.dry_run:
            self._entries.flush()
            self._session.settle_indexes(self._coming(self._entries.coming))
            snapshot = self._snapshot(partial=False)
        else:
            snapshot = self._store(partial=False)
            snapshot = replace(snapshot, stats=replace(snapshot.stats, stored_bytes=self._stored_bytes))
            self._expected.store(snapshot.stats.files, snapshot.stats.size_bytes)
        return BackupResult(snapshot, self._scan.counts.problems, unchanged)

    def _store(self, *, partial: bool) -> Snapshot:
        """Store and commit everything up to now as a snapshot."""
        self._sink.flush()
        session, base = self._session, self._base
        pending = not self._entries.empty or not self._tables
        if pending:
            self._entries.flush()
        indexes = session.settle_indexes(self._coming(self._entries.coming if pending else Coming()))
        if pending:
            self._set = self._entries.change(self._set)
            self._tables = (*self._tables, self._entries.finish())
        snapshot = self._snapshot(partial=partial)
        records = [encode_snapshot(snapshot)]
        if self._partial is not None:
            records.append(CatalogRecord(self._partial.key, None))
        written = session.finish(records, base.number + 1, indexes)
        self._stored_bytes += sum(segment.size_bytes for segment in written.segments) + HEAD_SIZE_BYTES
        change = AddSnapshot(self._repository, snapshot, written, self._sink.relied, self._set)
        self._base = commit(self._repository, base, change)
        session.chunks.clear()
        return snapshot

    def _coming(self, table: Coming) -> Coming:
        """What follows the blocks: the entry table's own, and the records of the snapshot."""
        size = size_of([encode_snapshot(self._snapshot(partial=False))]) + _RECORDS_ROOM_BYTES
        return replace(table, catalog_bytes=size)

    def _snapshot(self, *, partial: bool) -> Snapshot:
        options, scan = self._options, self._scan
        stored = self._stored_bytes + self._session.store.written_bytes + HEAD_SIZE_BYTES
        files = scan.tally.files
        stats = SnapshotStats(
            files=files,
            directories=scan.tally.directories,
            others=scan.tally.others,
            size_bytes=scan.tally.size_bytes,
            files_changed=scan.counts.changed,
            files_unmodified=files - scan.counts.changed,
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
            parent=None if self._tip is None else self._tip.snapshot,
            partial=partial,
            stats=stats,
            users=scan.tally.users(),
            groups=scan.tally.groups(),
        )
