"""Which snapshots a user means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bitbacker.app.access import Connection
from bitbacker.errors import SnapshotUnknown
from bitbacker.format.catalog import Snapshot

__all__ = ["Filter", "Snapshot", "find_snapshot", "list_snapshots", "pick"]

_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_PREFIX = re.compile(r"[0-9a-f]{1,32}")


@dataclass(frozen=True, slots=True)
class Filter:
    """Snapshots of any of these hosts, of any of these sources, with all of these tags; empty is any."""

    hosts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def fits(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot passes."""
        return (
            (not self.hosts or snapshot.host in self.hosts)
            and (not self.sources or snapshot.source in self.sources)
            and set(self.tags) <= set(snapshot.tags)
        )


def list_snapshots(connection: Connection, wanted: Filter) -> tuple[Snapshot, ...]:
    """The snapshots that fit, oldest first.  Raises `DamageError`, `StorageError`."""
    repository = connection.repository
    snapshots = repository.catalog(repository.newest()).snapshots
    return tuple(snapshot for snapshot in snapshots if wanted.fits(snapshot))


def find_snapshot(connection: Connection, text: str, wanted: Filter) -> Snapshot:
    """The one snapshot that `text` names.  Raises `SnapshotUnknown`."""
    return pick(list_snapshots(connection, wanted), text)


def pick(snapshots: Sequence[Snapshot], text: str) -> Snapshot:
    """An id, its unique beginning, `latest`, or `latest~N` for the Nth before it.

    `snapshots` stand oldest first.  Raises `SnapshotUnknown`.
    """
    latest = _LATEST.fullmatch(text)
    if latest:
        back = int(latest[1] or 0)
        if back < len(snapshots):
            return snapshots[-1 - back]
        count = f"only {len(snapshots)}" if snapshots else "no"
        raise SnapshotUnknown(f"there is no snapshot {text!r}: {count} snapshots fit")
    if not _PREFIX.fullmatch(text):
        raise SnapshotUnknown(f"{text!r} is no snapshot: an id has the digits 0-9 and a-f")
    found = [snapshot for snapshot in snapshots if snapshot.id.startswith(text)]
    if len(found) > 1:
        raise SnapshotUnknown(f"{len(found)} snapshots start with {text!r}", hint="give more digits")
    if not found:
        raise SnapshotUnknown(f"no snapshot starts with {text!r}")
    return found[0]
