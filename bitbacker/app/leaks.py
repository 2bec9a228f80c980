"""What the storage of a repository has learnt so far, and beside it what it has not.

The storage's side is computed from what the storage itself has: numbers of heads, and how many
segments of which size came with each.  The terms are those of docs/threat-model.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitbacker.app.access import Connection
from bitbacker.errors import ObjectMissing
from bitbacker.format import names
from bitbacker.format.catalog import SegmentRecord, SegmentState, Snapshot
from bitbacker.format.head import Head
from bitbacker.repo.open import Repository
from bitbacker.repo.trace import Commit, Run
from bitbacker.spi import ObjectInfo

HEADS_READ_MAX = 16


@dataclass(frozen=True, slots=True)
class SeenSession:
    """One session as the storage saw it: a head came, and before it so many large and small segments.

    `time_ns` is None when this machine cannot tell; the storage has a clock of its own.  `complete`
    is false when a prune may have removed segments that the storage saw come, or when two clients
    committed at once, so that the segments of both count for the first of the two sessions.
    """

    number: int
    time_ns: int | None
    large: int
    small: int
    complete: bool

    @property
    def volume_bytes(self) -> int:
        """The bucket: what the segments took, without the head."""
        return self.large * names.LARGE_SEGMENT_SIZE_BYTES + self.small * names.SMALL_SEGMENT_SIZE_BYTES


@dataclass(frozen=True, slots=True)
class StoredObjects:
    """What a listing of the storage shows; orphans are segments that came without a session."""

    keyslots: int
    heads: int
    large: int
    small: int
    orphans: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CommandAccess:
    """What the runs of one command have asked the storage for; `command` is empty when unknown."""

    command: str
    runs: int
    requests: int
    read_segments: int
    got_bytes: int
    put_bytes: int


@dataclass(frozen=True, slots=True)
class SeenAccess:
    """What this machine has asked for since it keeps a trace.

    `read_segments` counts every read, `different_segments` each segment once, and
    `repeated_segments` those that were read more than once.
    """

    since_ns: int | None
    commands: tuple[CommandAccess, ...]
    read_segments: int
    different_segments: int
    repeated_segments: int


@dataclass(frozen=True, slots=True)
class TrueChange:
    """What a snapshot that is still kept has truly changed; the storage cannot tell any of it.

    `files_changed` are new or changed.
    """

    snapshot: str
    time_ns: int
    files_changed: int
    added_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Leaks:
    """The storage's view: sessions by number, objects, access; and what is true, oldest first."""

    sessions: tuple[SeenSession, ...]
    objects: StoredObjects
    access: SeenAccess
    prunes: int
    changes: tuple[TrueChange, ...]

    @property
    def volume_bytes(self) -> int:
        """Of all sessions."""
        return sum(session.volume_bytes for session in self.sessions)


def leaks(connection: Connection) -> Leaks:
    """Raises `DamageError`, `StorageError`, and `BitBackerError` for a trace that cannot be read."""
    return leaks_of(connection.repository)


def leaks_of(repository: Repository) -> Leaks:
    """The same for an open repository.  Raises as `leaks` does."""
    newest = repository.newest()
    catalog = repository.catalog(newest)
    heads = repository.storage.list(names.HEADS)
    segments = repository.storage.list(names.SEGMENTS)
    runs = repository.trace.runs()
    commits = {commit.head: commit for run in runs for commit in run.commits}
    times = {number: commit.time_ns for number, commit in commits.items()}
    times |= _times_of_heads(repository, newest, heads)
    return Leaks(
        sessions=sessions_seen(
            newest,
            catalog.segments.values(),
            commits,
            _with_snapshots(times, newest.number, catalog.snapshots, catalog.segments),
        ),
        objects=_objects(heads, segments, catalog.segments),
        access=access_seen(runs),
        prunes=newest.prunes,
        changes=tuple(map(_change, catalog.snapshots)),
    )


def sessions_seen(
    newest: Head,
    segments: Iterable[SegmentRecord],
    commits: Mapping[int, Commit],
    times: Mapping[int, int],
) -> tuple[SeenSession, ...]:
    """Every session up to the newest head.

    The live segments tell; the record of a condemned one says no longer how large it was and when it
    came.  Once a prune may have removed some, the trace of this machine tells of its own sessions.
    """
    large: Counter[int] = Counter()
    small: Counter[int] = Counter()
    for record in segments:
        if record.state is SegmentState.LIVE:
            count = large if record.size_bytes == names.LARGE_SEGMENT_SIZE_BYTES else small
            count[record.born] += 1
    sessions = []
    for number in range(1, newest.number + 1):
        traced = commits.get(number) if newest.prunes else None
        seen = (large[number], small[number]) if traced is None else (traced.large, traced.small)
        # Only the first session, which makes the repository, stores no segment.
        complete = traced is not None or (newest.prunes == 0 and (any(seen) or number == 1))
        sessions.append(SeenSession(number, times.get(number), *seen, complete))
    return tuple(sessions)


def _times_of_heads(repository: Repository, newest: Head, listed: Sequence[ObjectInfo]) -> dict[int, int]:
    """When the newest heads were made, as they say; always the same number of requests."""
    times = {newest.number: newest.time_ns}
    for info in listed[:HEADS_READ_MAX]:
        try:
            head = repository.heads.read(names.head_number(info.name)).head
        except ObjectMissing:
            # It was trimmed after the listing.
            continue
        times[head.number] = head.time_ns
    return times


def _with_snapshots(
    times: Mapping[int, int],
    newest: int,
    snapshots: Sequence[Snapshot],
    segments: Mapping[bytes, SegmentRecord],
) -> dict[int, int]:
    """Times of heads, and where there is none, when the snapshot began whose table came with the head.

    A prune may have stored the table again, which shows as a time before that of an earlier head.
    """
    begun: dict[int, int] = {}
    for snapshot in snapshots:
        record = segments.get(snapshot.tables[-1].root.segment) if snapshot.tables else None
        if record is not None:
            begun.setdefault(record.born, snapshot.time_ns)
    found: dict[int, int] = {}
    latest_ns = 0
    for number in range(1, newest + 1):
        time_ns = times.get(number)
        if time_ns is None and begun.get(number, -1) >= latest_ns:
            time_ns = begun[number]
        if time_ns is not None:
            found[number] = time_ns
            latest_ns = max(latest_ns, time_ns)
    return found


def _objects(
    heads: Sequence[ObjectInfo], segments: Sequence[ObjectInfo], known: Mapping[bytes, SegmentRecord]
) -> StoredObjects:
    large = sum(info.size_bytes == names.LARGE_SEGMENT_SIZE_BYTES for info in segments)
    orphans = sum(names.segment_identity(info.name) not in known for info in segments)
    size = sum(info.size_bytes for info in (*heads, *segments)) + names.KEYSLOTS_SIZE_BYTES
    return StoredObjects(1, len(heads), large, len(segments) - large, orphans, size)


def access_seen(runs: Sequence[Run]) -> SeenAccess:
    """What the runs of a trace have asked for, command by command."""
    reads = Counter(identity for run in runs for identity in run.segments_read)
    by_command: dict[str, list[Run]] = {}
    for run in runs:
        by_command.setdefault(run.command, []).append(run)
    return SeenAccess(
        since_ns=min((run.time_ns for run in runs), default=None),
        commands=tuple(_command(command, found) for command, found in sorted(by_command.items())),
        read_segments=sum(run.count("get", "segments") for run in runs),
        different_segments=len(reads),
        repeated_segments=sum(count > 1 for count in reads.values()),
    )


def _command(command: str, runs: Sequence[Run]) -> CommandAccess:
    return CommandAccess(
        command,
        len(runs),
        sum(one.count for run in runs for one in run.requests),
        sum(run.count("get", "segments") for run in runs),
        sum(run.moved_bytes("get") for run in runs),
        sum(run.moved_bytes("put") for run in runs),
    )


def _change(snapshot: Snapshot) -> TrueChange:
    stats = snapshot.stats
    return TrueChange(
        snapshot.id,
        snapshot.time_ns,
        stats.files_changed,
        stats.added_bytes,
        stats.stored_bytes,
    )
