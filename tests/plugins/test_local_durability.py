"""What the transport `file` acknowledged is there after any power cut; controls without each fsync."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bitbacker.testing.transport import head, segment
from bitbacker_plugins import local
from bitbacker_plugins.local import directories
from local_client import REPOSITORY, Client, Violation, client_on, directory_in_memory
from simulated_disk import Directory, Killed, SimulatedDisk


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


def a_session(client: Client) -> None:
    """What a small repository lives through."""
    client.put("keyslots", b"slots")
    client.put(segment(1), b"first segment")
    client.put(segment(2), b"second segment")
    client.put(head(1), b"first head")
    client.put(head(1), b"a racing head")
    client.put("keyslots", b"other slots", replace=True)
    client.delete(segment(1), segment(9))


def test_what_was_acknowledged_survives_every_power_cut(in_memory: Path) -> None:
    with client_on(in_memory) as client:
        a_session(client)
    print(f"{client.state_count} states after a power cut, {len(client.disk.calls)} system calls")
    assert client.state_count > 50
    assert [sorted(state) for state in client.disk.states()] == [
        [f"{REPOSITORY}/{name}" for name in (head(1), "keyslots", segment(2))]
    ]


def test_short_writes_are_continued(in_memory: Path) -> None:
    with client_on(in_memory) as client:
        client.disk.short_writes = True
        client.put(segment(1), b"0123456789")
        assert client.disk.calls.count("write") > 1
        assert client.transport.get(segment(1)) == b"0123456789"


def test_a_client_killed_at_any_call_leaves_nothing_half_done(in_memory: Path) -> None:
    """Another client stores the same and more afterwards, and then the power is cut."""
    counts = []
    for at in range(1, 1_000):
        base = in_memory / str(at)
        base.mkdir()
        with client_on(base) as client:
            client.disk.fail(at, Killed, lasting=True)
            with suppress(Killed):
                a_session(client)
            finished = not client.disk.failed
            client.restart()
            a_session(client)
        counts.append(client.state_count)
        if finished:
            break
    print(f"killed at {len(counts) - 1} calls, {sum(counts)} states after a power cut")
    assert len(counts) > 100


def forget_to_sync_files(disk: SimulatedDisk, patch: pytest.MonkeyPatch) -> None:
    del patch
    disk.sync_file = False


def forget_to_sync_directories(disk: SimulatedDisk, patch: pytest.MonkeyPatch) -> None:
    del patch
    disk.sync_directory = lambda _: False


def forget_the_way_to_the_root(disk: SimulatedDisk, patch: pytest.MonkeyPatch) -> None:
    del disk
    patch.setattr(directories.Directories, "_sync_ancestors", lambda *_: None)


def forget_the_entry_of_a_directory(disk: SimulatedDisk, patch: pytest.MonkeyPatch) -> None:
    del patch
    disk.sync_directory = lambda node: not any(isinstance(change, Directory) for _, change in node.changes)


def write_behind_the_link(disk: SimulatedDisk, patch: pytest.MonkeyPatch) -> None:
    """The file gets its name first and is synced then."""
    late: list[int] = []
    patch.setattr(local, "sync", late.append)
    sync = directories.Directories.sync

    def sync_both(self: Any, directory: int) -> None:
        while late:
            disk.fsync(late.pop())
        sync(self, directory)

    patch.setattr(directories.Directories, "sync", sync_both)


@pytest.mark.parametrize(
    "sabotage",
    [
        forget_to_sync_files,
        forget_to_sync_directories,
        forget_the_way_to_the_root,
        forget_the_entry_of_a_directory,
        write_behind_the_link,
    ],
)
def test_without_a_sync_a_power_cut_is_seen_to_lose_data(
    in_memory: Path, sabotage: Callable[[SimulatedDisk, pytest.MonkeyPatch], None]
) -> None:
    with client_on(in_memory) as client, pytest.MonkeyPatch.context() as patch:
        sabotage(client.disk, patch)
        with pytest.raises(Violation):
            a_session(client)


def die_between_link_and_sync(client: Client) -> None:
    """One client publishes an object and dies before it synced the directory."""
    client.put(segment(1), b"makes the directories")
    client.disk.fail(len(calls_of_a_put(client)), Killed, lasting=True)
    with pytest.raises(Killed):
        client.put(segment(2), b"the dead one's bytes")


def calls_of_a_put(client: Client) -> list[str]:
    """The system calls of one more put, up to and with the sync that ends it."""
    client.disk.heal()
    client.put(segment(3), b"for its calls")
    calls = list(client.disk.calls)
    last_sync = len(calls) - calls[::-1].index("fsync")
    return calls[:last_sync]


def test_a_name_that_is_said_to_exist_is_durable(in_memory: Path) -> None:
    with client_on(in_memory) as client:
        die_between_link_and_sync(client)
        client.restart()
        client.put(segment(2), b"the dead one's bytes")
        assert client.transport.get(segment(2)) == b"the dead one's bytes"


def test_without_its_sync_a_name_that_is_said_to_exist_may_be_lost(in_memory: Path) -> None:
    with client_on(in_memory) as client:
        die_between_link_and_sync(client)
        client.restart()
        # The directories are known to be durable to this process.
        client.put(head(1), b"x")
        client.disk.sync_directory = lambda _: False
        with pytest.raises(Violation, match="lost"):
            client.put(segment(2), b"the dead one's bytes")
