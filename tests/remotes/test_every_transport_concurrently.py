"""Several machines at once on one repository, at every place that decides between two writers."""

from __future__ import annotations

import json
import random
import secrets
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bitbacker.errors import NotExclusive, ObjectExists, RaceLost
from bitbacker.format import names
from bitbacker.repo.create import probe_exclusive
from bitbacker.repo.storage import Storage
from bitbacker.repo.trace import CountedTransport, Tally
from bitbacker.spi import Buffer, Transport
from bitbacker.testing.patience import patient
from compare_trees import differences
from remote_machine import Machine, Remote
from remote_places import EXCLUSIVE, PLACES, Places
from restore_rig import restore

WRITERS = ("ann", "bob", "eve", "ida")
BACKUPS = 2
RACERS = 32
CONNECTIONS = 4


@pytest.fixture(params=EXCLUSIVE)
def remote(request: pytest.FixtureRequest, places: Places) -> Remote:
    """A new remote that decides."""
    return places.remote(request.param)


@dataclass
class Fleet:
    """Machines that use one repository, and what each of them was promised."""

    folder: Path
    remote: Remote
    promised: dict[str, Path] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    pruned: int = 0

    def machine(self, name: str) -> Machine:
        return Machine(self.folder / name, self.remote)

    def back_up(self, name: str, versions: int, rng: random.Random) -> None:
        """Back up data that changes, and keep what it was each time."""
        machine = self.machine(name)
        machine.data.mkdir(exist_ok=True)
        (machine.data / "same").write_bytes(rng.randbytes(300_000))
        for version in range(versions):
            (machine.data / "changing").write_bytes(rng.randbytes(200_000))
            (summary,) = machine.says("backup", "data", "--host", name, process=True)
            snapshot = summary["snapshot"]["id"]
            self.promised[snapshot] = self.folder / f"{name}-was-{version}"
            shutil.copytree(machine.data, self.promised[snapshot])

    def sweep(self, done: threading.Event, rng: random.Random) -> None:
        """Forget and prune until the others are done, and at least once."""
        machine = self.machine("pruner")
        while not (done.is_set() and self.pruned):
            snapshots = processed(machine, "snapshots")
            if len(snapshots) > 1:
                victim = rng.choice(snapshots)["id"]
                self.forgotten.add(victim)
                processed(machine, "forget", victim, "--yes")
            if processed(machine, "prune", "--yes"):
                self.pruned += 1


def processed(machine: Machine, *arguments: str) -> list[dict[str, Any]]:
    """What a process says; nothing when others were faster again and again, which is no failure."""
    done = machine(*arguments, "--json")
    if done.code == RaceLost.exit_code:
        return []
    assert (done.code, done.err) == (0, ""), (arguments, done)
    return [json.loads(line) for line in done.out.splitlines()]


def commits(folder: Path) -> list[int]:
    """The numbers of the heads that all machines were told they have created."""
    files = folder.glob("*/state/bitbacker/*/trace.jsonl")
    runs = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(commit["head"] for run in runs for commit in run["commits"])


def test_four_writers_and_a_pruner_lose_nothing(remote: Remote, tmp_path: Path, seed: int) -> None:
    fleet = Fleet(tmp_path, remote)
    first = fleet.machine("first")
    first.says("init", process=True)
    fleet.back_up("first", 2, random.Random(seed))
    done = threading.Event()
    with ThreadPoolExecutor(len(WRITERS) + 1) as pool:
        pruner = pool.submit(fleet.sweep, done, random.Random(seed))
        writers = [
            pool.submit(fleet.back_up, name, BACKUPS, random.Random(f"{seed} {name}")) for name in WRITERS
        ]
        for writer in writers:
            writer.exception()
        done.set()
        for future in (*writers, pruner):
            future.result()
    assert_nothing_lost(fleet)
    assert_no_gaps(fleet)


def assert_nothing_lost(fleet: Fleet) -> None:
    judge = fleet.machine("judge")
    present = {told["id"] for told in judge.says("snapshots")}
    assert fleet.forgotten
    assert present == fleet.promised.keys() - fleet.forgotten
    (summary,) = judge.says("check", "--read-data")
    assert summary["problems"] == 0
    with judge.opened() as repository:
        for snapshot in repository.catalog(repository.newest()).snapshots:
            target = fleet.folder / snapshot.id
            restore(repository, snapshot, target)
            (restored,) = target.rglob("data")
            assert differences(fleet.promised[snapshot.id], restored) == []


def assert_no_gaps(fleet: Fleet) -> None:
    """Every head has one winner, and no number was left out."""
    with fleet.machine("judge").transports() as (transport,):
        listed = sorted(names.head_number(info.name) for info in transport.list(names.HEADS))
    assert listed == [*range(listed[0], listed[-1] + 1)]
    assert commits(fleet.folder) == [*range(1, listed[-1] + 1)]
    assert len(fleet.promised) == 2 + len(WRITERS) * BACKUPS


class Deaf(CountedTransport):
    """A storage that ignores that an object is to be new."""

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        del replace
        super().put(name, data, replace=True)


def race(connections: Sequence[Transport], name: str) -> list[bytes]:
    """Let many threads create one object at once; what those have written that were told they won."""
    start = threading.Barrier(RACERS)

    def put(number: int) -> bytes:
        data = secrets.token_bytes(names.SMALL_SEGMENT_SIZE_BYTES)
        start.wait()
        try:
            patient(connections[number % len(connections)]).put(name, data)
        except ObjectExists:
            return b""
        return data

    with ThreadPoolExecutor(RACERS) as pool:
        return [data for data in pool.map(put, range(RACERS)) if data]


def test_one_of_many_writers_wins_and_it_is_the_one_that_was_told(remote: Remote, tmp_path: Path) -> None:
    with Machine(tmp_path / "home", remote).transports(CONNECTIONS) as connections:
        for _ in range(4):
            name = names.segment_name(secrets.token_bytes(names.SEGMENT_ID_SIZE_BYTES))
            winners = race(connections, name)
            assert winners == [patient(connections[-1]).get(name)]


def test_control_a_storage_that_ignores_the_condition_is_caught(remote: Remote, tmp_path: Path) -> None:
    with Machine(tmp_path / "home", remote).transports(CONNECTIONS) as connections:
        deaf = [Deaf(connection, Tally()) for connection in connections]
        name = names.segment_name(secrets.token_bytes(names.SEGMENT_ID_SIZE_BYTES))
        assert len(race(deaf, name)) == RACERS
        with pytest.raises(NotExclusive):
            probe_exclusive(Storage(deaf[0]))


@pytest.mark.parametrize("place", PLACES)
def test_init_tells_the_truth_about_the_storage(places: Places, place: str, tmp_path: Path) -> None:
    remote = places.remote(place)
    machine = Machine(tmp_path / "home", remote)
    if remote.exclusive:
        machine.says("init")
        return
    told = machine.fails("init")
    assert (told["code"], told["exit_code"]) == ("storage-not-exclusive", NotExclusive.exit_code)
    assert "--single-writer" in told["hint"]
    with machine.transports() as (transport,):
        assert list(transport.list("")) == []
    made = machine("init", "--single-writer")
    assert made.code == 0
    assert "never let two machines write at once" in made.err
