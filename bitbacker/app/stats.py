"""How big a repository is, as its catalog tells it."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.app.access import Connection
from bitbacker.format.catalog import SegmentState


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and sizes in bytes.

    `stored_bytes` is what the live segments take on the storage; `source_bytes` what all snapshots
    would take if each were restored.  Condemned segments are gone, unless the storage keeps them locked.
    """

    snapshots: int
    sources: int
    source_bytes: int
    segments: int
    stored_bytes: int
    condemned_segments: int
    condemned_bytes: int
    chunks: int
    head: int


def stats(connection: Connection) -> Stats:
    """Raises `DamageError`, `StorageError`."""
    repository = connection.repository
    head = repository.newest()
    catalog = repository.catalog(head)
    live = [record for record in catalog.segments.values() if record.state is SegmentState.LIVE]
    condemned = [record for record in catalog.segments.values() if record.state is SegmentState.CONDEMNED]
    return Stats(
        snapshots=len(catalog.snapshots),
        sources=len({(snapshot.host, snapshot.source) for snapshot in catalog.snapshots}),
        source_bytes=sum(snapshot.stats.size_bytes for snapshot in catalog.snapshots),
        segments=len(live),
        stored_bytes=sum(record.size_bytes for record in live),
        condemned_segments=len(condemned),
        condemned_bytes=sum(record.size_bytes for record in condemned),
        chunks=repository.index(head).chunks,
        head=head.number,
    )
