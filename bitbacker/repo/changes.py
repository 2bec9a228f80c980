"""The changes that verbs commit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bitbacker.crypto.keys import Keys
from bitbacker.format import names
from bitbacker.format.catalog import SegmentRecord, Snapshot
from bitbacker.format.head import Head, SourceTip
from bitbacker.repo.catalog import SUM_MODULUS, segments_sum
from bitbacker.repo.commit import Superseded
from bitbacker.repo.index import UNKNOWN
from bitbacker.repo.open import Repository
from bitbacker.repo.session import Written
from bitbacker.repo.tips import FingerprintSet, bare_tip, make_tip, with_tip


def with_segments(head: Head, keys: Keys, added: tuple[SegmentRecord, ...]) -> Head:
    """A head that also commits to these live segments."""
    total = head.segments_sum + segments_sum(keys, (record.identity for record in added))
    return replace(head, segments=head.segments + len(added), segments_sum=total % SUM_MODULUS)


def with_written(head: Head, keys: Keys, written: Written) -> Head:
    """A head that also has what a session has written."""
    return replace(
        with_segments(head, keys, written.segments),
        catalogs=(*head.catalogs, written.catalog),
        indexes=(*head.indexes, *written.indexes),
    )


@dataclass(frozen=True, slots=True)
class AddSnapshot:
    """A backup: a snapshot with the segments and tables behind it.

    `relied_chunks` are the ids of chunks that the snapshot uses and this session has not stored.
    Tables of older sessions that it goes on from are safe, with all their chunks, while some
    snapshot holds them.  An index that is read from a head names no condemned segment, because the
    prune that condemns one writes the index anew.
    """

    repository: Repository
    snapshot: Snapshot
    written: Written
    relied_chunks: bytes
    fingerprints: FingerprintSet

    def check(self, base: Head, newest: Head) -> None:
        """After a prune: are my segments still there, are the chunks and tables that I rely on?"""
        if newest.prunes == base.prunes:
            return
        own_segments_remain(self.repository, newest, self.written)
        catalog = self.repository.catalog(newest)
        own = {record.identity for record in self.written.segments}
        old_tables = [ref for ref in self.snapshot.tables if ref.root.segment not in own]
        held = {ref for snapshot in catalog.snapshots for ref in snapshot.tables}
        if not held.issuperset(old_tables):
            raise Superseded
        if self.relied_chunks:
            located = self.repository.index(newest).locate(self.relied_chunks)
            if bool((located["segment"] == UNKNOWN).any()):
                raise Superseded

    def apply(self, newest: Head) -> Head:
        keys = self.repository.keys
        source = keys.source_identity(self.snapshot.host, self.snapshot.source)
        tip = make_tip(source, self.snapshot, self.fingerprints)
        return replace(with_written(newest, keys, self.written), tips=with_tip(newest.tips, tip))

    def holds(self, newest: Head) -> bool:
        if self.written.catalog in newest.catalogs:
            return True
        return self.snapshot.key in self.repository.catalog(newest).records


@dataclass(frozen=True, slots=True)
class RemoveSnapshots:
    """A forget: these snapshots are no longer promised."""

    repository: Repository
    identities: frozenset[bytes]
    written: Written

    def check(self, base: Head, newest: Head) -> None:
        """A prune may have swept the segment that says what is removed."""
        if newest.prunes == base.prunes:
            return
        own_segments_remain(self.repository, newest, self.written)

    def apply(self, newest: Head) -> Head:
        tips = tuple(tip for tip in newest.tips if tip.snapshot not in self.identities)
        if len(tips) < len(newest.tips):
            tips += self._older_tips(newest, {tip.source for tip in tips})
        return replace(with_written(newest, self.repository.keys, self.written), tips=tips)

    def _older_tips(self, newest: Head, known: set[bytes]) -> tuple[SourceTip, ...]:
        """For each source that loses its tip the newest snapshot that is left of it."""
        keys = self.repository.keys
        found: dict[bytes, SourceTip] = {}
        for snapshot in self.repository.catalog(newest).snapshots:
            source = keys.source_identity(snapshot.host, snapshot.source)
            if snapshot.identity not in self.identities and source not in known:
                found[source] = bare_tip(source, snapshot)
        return tuple(found.values())

    def holds(self, newest: Head) -> bool:
        if self.written.catalog in newest.catalogs:
            return True
        remaining = {snapshot.identity for snapshot in self.repository.catalog(newest).snapshots}
        return not remaining & self.identities


def own_segments_remain(repository: Repository, newest: Head, written: Written) -> None:
    """Raise `Superseded` when a prune took a segment that this session has stored."""
    own = {record.identity for record in written.segments}
    listed = {info.name for info in repository.storage.list(names.SEGMENTS)}
    gone = any(names.segment_name(identity) not in listed for identity in own)
    if gone or own & repository.catalog(newest).condemned:
        raise Superseded
