"""`bitbacker leaks` says what the storage has seen: all of it, and nothing else."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bitbacker.app.leaks import HEADS_READ_MAX, Leaks, StoredObjects, leaks_of
from bitbacker.format import names
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.spi import Buffer
from bitbacker.testing.faults import Operation, RecordingTransport
from bitbacker_plugins.files.read import RACY_NS
from lab import Lab, back_up, contents

KIB, MIB = 1024, 1024 * 1024
Session = tuple[int, int, int]
"""Number, large segments, small segments."""


class Desk(RecordingTransport):
    """One storage in memory that outlives the commands that close it.

    What `before_next_head` does is done once, when a head is about to be put.
    """

    before_next_head: Callable[[], None] | None = None

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        action = self.before_next_head
        if action is not None and name.startswith("heads/"):
            self.before_next_head = None
            action()
        super().put(name, data, replace=replace)

    def close(self) -> None:
        """It stays."""


@dataclass
class Watched:
    """A repository behind a storage that writes down whatever it is asked."""

    lab: Lab
    recording: Desk
    source: Path
    rng: random.Random

    def run(self, machine: str = "one") -> Repository:
        """A command of this machine begins; closing the repository ends it."""
        return self.lab.client(machine, self.recording)

    def back_up(self, size: int, machine: str = "one") -> None:
        """A file of this size is new."""
        (self.source / f"{self.rng.getrandbits(64):x}").write_bytes(self.rng.randbytes(size))
        # What was written just before it is read is read again by the next backup.
        time.sleep(RACY_NS / 10**9)
        client = self.run(machine)
        back_up(client, self.source)
        client.close()

    def forget_oldest(self, count: int) -> None:
        client = self.run()
        forget(client, [item.identity for item in client.catalog(client.newest()).snapshots[:count]])
        client.close()

    def prune(self) -> None:
        client = self.run()
        plan = plan_prune(client, PruneOptions())
        assert not plan.nothing_to_do
        execute_prune(client, plan, PruneOptions())
        client.close()

    def leaks(self, machine: str = "one") -> Leaks:
        """What the command says; its own requests are not recorded."""
        log = self.recording.log
        found = leaks_of(self.lab.client(machine))
        assert log == self.recording.log
        return found


@pytest.fixture
def watched(tmp_path: Path, rng: random.Random) -> Watched:
    lab = Lab(tmp_path / "lab")
    recording = Desk(lab.transport)
    lab.use(recording)
    lab.begin()
    lab.use(recording.inner)
    source = tmp_path / "source"
    source.mkdir()
    return Watched(lab, recording, source, rng)


def sessions_by_storage(log: Sequence[Operation], *, still_there: bool = False) -> list[Session]:
    """What the storage itself can tell: the segments that came before each head, and after the last one.

    With `still_there` only those that nobody has deleted since.
    """
    gone = {one.name for one in log if one.kind == "delete"} if still_there else set()
    sessions: list[Session] = []
    sizes: list[int] = []
    for one in log:
        if one.kind == "put" and one.name.startswith("segments/") and one.name not in gone:
            sizes.append(one.size_bytes)
        elif one.kind == "put" and one.name.startswith("heads/"):
            number = 2**64 - 1 - int(one.name.removeprefix("heads/"), 16)
            sessions.append((number, sizes.count(4 * MIB), sizes.count(256 * KIB)))
            assert sum(sizes) == sessions[-1][1] * 4 * MIB + sessions[-1][2] * 256 * KIB
            sizes = []
    return sessions


def objects_by_storage(log: Sequence[Operation]) -> StoredObjects:
    """What is there, from what came and went; the lab has no keyslots."""
    there: dict[str, int] = {}
    for one in log:
        if one.kind == "put":
            there[one.name] = one.size_bytes
        elif one.kind == "delete":
            there.pop(one.name, None)
    kinds = Counter((name.partition("/")[0], size) for name, size in there.items())
    return StoredObjects(
        keyslots=1,
        heads=kinds["heads", 64 * KIB],
        large=kinds["segments", 4 * MIB],
        small=kinds["segments", 256 * KIB],
        orphans=0,
        size_bytes=sum(there.values()) + 4 * KIB,
    )


def told(found: Leaks) -> list[Session]:
    return [(session.number, session.large, session.small) for session in found.sessions]


def history(watched: Watched, *machines: str) -> None:
    """Backups of several sizes, one of them of nothing, each by the next machine."""
    for number, size in enumerate([5 * MIB, 10 * KIB, 0, 600 * KIB, 9 * MIB, 1]):
        watched.back_up(size, machines[number % len(machines)])


def test_a_history_of_backups_is_told_as_the_storage_saw_it(watched: Watched) -> None:
    history(watched, "one")
    found = watched.leaks()
    assert sessions_by_storage(watched.recording.log) == told(found)
    assert objects_by_storage(watched.recording.log) == found.objects
    assert all(session.complete for session in found.sessions)
    assert len({session.volume_bytes for session in found.sessions}) > 2, "the history has a shape"


@pytest.mark.parametrize("machine", ["other", "nobody"])
def test_without_a_trace_the_repository_tells_the_same(watched: Watched, machine: str) -> None:
    history(watched, "one", "other")
    found = watched.leaks(machine)
    assert sessions_by_storage(watched.recording.log) == told(found)
    assert objects_by_storage(watched.recording.log) == found.objects
    assert all(session.complete for session in found.sessions)


def test_after_forget_and_prune_the_trace_still_tells_all(watched: Watched) -> None:
    history(watched, "one")
    (watched.source / "gone").write_bytes(watched.rng.randbytes(6 * MIB))
    watched.back_up(0)
    (watched.source / "gone").unlink()
    watched.back_up(0)
    watched.forget_oldest(7)
    watched.prune()
    watched.back_up(30 * KIB)
    found = watched.leaks()
    log = watched.recording.log
    assert sessions_by_storage(log)[1:] == told(found)[1:]
    assert (objects_by_storage(log), 1) == (found.objects, found.prunes)
    assert [False] + [True] * (len(found.sessions) - 1) == [item.complete for item in found.sessions]


def test_after_a_prune_another_machine_tells_what_is_left_and_says_so(watched: Watched) -> None:
    history(watched, "one")
    (watched.source / "gone").write_bytes(watched.rng.randbytes(6 * MIB))
    watched.back_up(0)
    (watched.source / "gone").unlink()
    watched.back_up(0)
    watched.forget_oldest(7)
    watched.prune()
    watched.back_up(30 * KIB)
    found = watched.leaks("other")
    log = watched.recording.log
    assert sessions_by_storage(log, still_there=True) == told(found)
    assert sessions_by_storage(log) != told(found), "the prune has removed something"
    assert not any(session.complete for session in found.sessions)
    assert objects_by_storage(log) == found.objects


def test_what_came_without_a_session_is_told(watched: Watched) -> None:
    watched.back_up(10)
    client = watched.run()
    client.storage.put_new(names.segment_name(bytes(16)), bytes(names.SMALL_SEGMENT_SIZE_BYTES))
    client.close()
    found = watched.leaks()
    assert replace(objects_by_storage(watched.recording.log), orphans=1) == found.objects


def test_two_clients_that_commit_at_once_count_for_the_first_of_two_sessions(watched: Watched) -> None:
    """So they do for the storage, unless it goes by their addresses."""
    watched.back_up(10)
    watched.recording.before_next_head = lambda: watched.back_up(5 * MIB, "two")
    watched.back_up(3 * MIB)
    for machine in ("one", "two", "nobody"):
        found = watched.leaks(machine)
        assert sessions_by_storage(watched.recording.log) == told(found)
        assert (0, 0) == (found.sessions[-1].large, found.sessions[-1].small)
        assert [True, True, True, False] == [session.complete for session in found.sessions]


def test_what_truly_changed_is_not_in_the_storages_part(watched: Watched) -> None:
    """One byte and ten thousand are the same to the storage, and not the same in truth."""
    watched.back_up(1)
    watched.back_up(10_000)
    found = watched.leaks()
    first, second = found.sessions[-2:]
    assert (first.large, first.small) == (second.large, second.small)
    assert [1, 10_000] == [change.added_bytes for change in found.changes]
    assert [1, 1] == [change.files_changed for change in found.changes]


def test_reads_are_told_as_the_storage_saw_them(watched: Watched) -> None:
    history(watched, "one")
    for _ in range(2):
        client = watched.run("reader")
        client.purpose = "restore"
        contents(client, client.catalog(client.newest()).snapshots[0])
        client.close()
    gets = [one for one in watched.recording.log if one.kind == "get" and one.name.startswith("segments/")]
    found = [watched.leaks("one").access, watched.leaks("reader").access]
    assert len(gets) == sum(access.read_segments for access in found)
    (restores,) = found[1].commands
    own = gets[-restores.read_segments :]
    assert ("restore", 2) == (restores.command, restores.runs)
    names_of = Counter(one.name for one in own)
    assert len(names_of) == found[1].different_segments
    assert sum(count > 1 for count in names_of.values()) == found[1].repeated_segments > 0
    sent = sum(one.size_bytes for one in watched.recording.log if one.kind == "put")
    assert sent == sum(one.put_bytes for one in found[0].commands) + names.HEAD_SIZE_BYTES


def test_times_are_those_of_the_sessions(watched: Watched) -> None:
    before = time.time_ns()
    history(watched, "one")
    after = time.time_ns()
    for machine in ("one", "nobody"):
        times = [session.time_ns for session in watched.leaks(machine).sessions][1:]
        assert all(time_ns is not None and before <= time_ns <= after for time_ns in times)
        assert sorted(times, key=lambda time_ns: time_ns or 0) == times


def test_a_session_whose_head_is_gone_has_the_time_of_its_snapshot(watched: Watched) -> None:
    for _ in range(4):
        watched.back_up(100)
    client = watched.run()
    client.heads.trim(1)
    begun = [snapshot.time_ns for snapshot in client.catalog(client.newest()).snapshots]
    found = watched.leaks("nobody")
    assert [None, *begun[:-1]] == [session.time_ns for session in found.sessions[:-1]]


def test_how_many_heads_are_read_does_not_grow(watched: Watched) -> None:
    for _ in range(HEADS_READ_MAX + 3):
        watched.back_up(1)
    client = watched.run("nobody")
    watched.recording.clear()
    leaks_of(client)
    heads = [one for one in watched.recording.log if one.kind == "get" and one.name.startswith("heads/")]
    assert len(heads) <= HEADS_READ_MAX + 1


def test_a_new_repository_has_shown_one_head(watched: Watched) -> None:
    found = watched.leaks()
    assert [(1, 0, 0)] == told(found)
    assert StoredObjects(1, 1, 0, 0, 0, 68 * KIB) == found.objects
    assert (None, (), ()) == (found.access.since_ns, found.access.commands, found.changes)
