"""The whole life of a repository, through the command line, at every place that a transport reaches."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nasty_tree
from bitbacker.testing.patience import patient
from cli.command import plant
from compare_trees import differences
from remote_machine import Machine
from remote_places import PLACES, Places
from restore_rig import restore

ENDS_WITHIN_S = 300
KILLS_MAX = 12


@pytest.fixture
def machine(places: Places, place: str, tmp_path: Path) -> Iterator[Machine]:
    """A machine that has just made a repository."""
    made = Machine(tmp_path / "home", places.remote(place))
    made.data.mkdir()
    begin(made)
    yield made
    nasty_tree.destroy(tmp_path)


@pytest.fixture(scope="session")
def begun(places: Places, place: str, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine whose repository holds one snapshot; whoever uses it leaves the repository as it is."""
    made = Machine(tmp_path_factory.mktemp("begun") / "home", places.remote(place))
    plant(made.data)
    begin(made)
    back_up(made)
    return made


def begin(machine: Machine) -> None:
    how = [] if machine.remote.exclusive else ["--single-writer"]
    machine.says("init", *how, process=True)


def back_up(machine: Machine, *, process: bool = False) -> dict[str, Any]:
    """The snapshot that a backup of the machine's data has made."""
    (summary,) = machine.says("backup", "data", process=process)
    assert summary["problems"] == 0
    snapshot: dict[str, Any] = summary["snapshot"]
    return snapshot


def ids(machine: Machine) -> list[str]:
    return [told["id"] for told in machine.says("snapshots")]


def objects(machine: Machine, prefix: str = "") -> dict[str, int]:
    """Names and sizes of what the storage has, as the transport lists them."""
    with machine.transports() as (transport,):
        return {info.name: info.size_bytes for info in patient(transport).list(prefix)}


def stored_bytes(tree: Path) -> int:
    """What a tree takes on the disk; its paths may be longer than Python could name them."""
    told = subprocess.run(["du", "-s", "--block-size=1", "--", str(tree)], check=True, capture_output=True)
    return int(told.stdout.split()[0])


def assert_whole(machine: Machine) -> None:
    (summary,) = machine.says("check", "--read-data", process=True)
    assert (summary["problems"], summary["read_bytes"] > 0) == (0, True)


def copy(tree: Path, to: Path) -> Path:
    subprocess.run(["cp", "-a", "--", str(tree), str(to)], check=True)
    return to


def test_every_snapshot_that_remains_comes_back_as_it_was(
    machine: Machine, tmp_path: Path, seed: int
) -> None:
    nasty, plain, rng = machine.data / "nasty", machine.data / "plain", random.Random(seed)
    nasty.mkdir()
    print("not made on this machine:", nasty_tree.make(nasty, seed, entries=40, levels=60).left_out)
    plant(plain)
    # So much goes with the first snapshot that some segment loses more than prune leaves alone.
    (plain / "noise").write_bytes(rng.randbytes(9_000_000 + stored_bytes(nasty)))
    first = back_up(machine, process=True)
    (plain / "noise").write_bytes((plain / "noise").read_bytes()[:1_000_000])
    second = back_up(machine)
    was = copy(plain, tmp_path / "was")
    unchanged = back_up(machine)
    assert unchanged["stats"]["added_bytes"] == 0
    (plain / "new").write_bytes(rng.randbytes(300_000))
    shutil.rmtree(plain / "letters")
    changed = back_up(machine, process=True)
    assert ids(machine) == [one["id"] for one in (first, second, unchanged, changed)]
    assert_whole(machine)

    machine.says("forget", first["id"], "--yes")
    stored = objects(machine, "segments/")
    pruned = machine.says("prune", "--yes", process=True)[-1]
    left = objects(machine, "segments/")
    assert pruned["deleted_segments"] == len(stored.keys() - left.keys()) > 0
    assert sum(left.values()) < sum(stored.values())
    assert ids(machine) == [one["id"] for one in (second, unchanged, changed)]
    assert_whole(machine)

    (summary,) = machine.says(
        "restore", "latest", "--target", str(tmp_path / "latest"), "--no-cache", process=True
    )
    assert summary["problems"] == 0
    roots = [(tmp_path / "latest", plain)]
    with machine.opened() as repository:
        for snapshot in repository.catalog(repository.newest()).snapshots[:-1]:
            roots.append((tmp_path / snapshot.id, was))
            restore(repository, snapshot, tmp_path / snapshot.id)
    assert len(roots) == 3
    for root, expected in roots:
        restored = root / machine.data.relative_to("/")
        assert differences(nasty, restored / "nasty", ignore_sockets=True) == []
        assert differences(expected, restored / "plain") == []


def test_what_a_snapshot_holds_is_listed_and_dumped(begun: Machine) -> None:
    told = begun.says("ls", "latest")
    there = {str(path)[1:] for path in [begun.data, *begun.data.rglob("*")]}
    assert there <= {entry["path"] for entry in told}
    letter = begun.data / "letters" / "b.txt"
    assert begun.inside("dump", "latest", str(letter)).out == letter.read_text()


def test_what_the_storage_has_is_counted(begun: Machine) -> None:
    listed = objects(begun)
    segments = {name: size for name, size in listed.items() if name.startswith("segments/")}
    (stats,) = begun.says("stats")
    assert (stats["segments"], stats["stored_bytes"]) == (len(segments), sum(segments.values()))
    (seen,) = [line for line in begun.says("leaks") if line["message_type"] == "objects"]
    assert (seen["keyslots"], seen["bytes"]) == (1, sum(listed.values()))


def test_a_witness_is_recognised(begun: Machine) -> None:
    (told,) = begun.says("witness")
    (checked,) = begun.says("witness", told["witness"])
    assert checked["standing"] == "same"


def test_control_a_check_sees_what_the_storage_has_lost_or_altered(begun: Machine) -> None:
    begun.inside("dump", "latest", str(begun.data / "letters" / "b.txt"), "--no-cache")
    name = f"segments/{trace(begun)['segments_read'][-1]}"
    with begun.transports() as (transport,):
        whole = transport.get(name)
        altered = bytes([whole[0] ^ 1]) + whole[1:]
        transport.delete([name])
    assert begun.inside("check").code == 13
    with begun.transports() as (transport,):
        transport.put(name, altered, replace=True)
    assert begun.inside("check", "--read-data").code == 13
    with begun.transports() as (transport,):
        transport.put(name, whole, replace=True)
    assert begun.inside("check", "--read-data").code == 0


def test_a_recovery_code_opens_until_it_is_removed(begun: Machine) -> None:
    (added,) = begun.says("key", "add", "--recovery-code")
    code = {"BITBACKER_PASSWORD": added["recovery_code"]}
    opened = begun("key", "list", "--json", env=code)
    keys = [json.loads(line) for line in opened.out.splitlines()]
    assert [(key["kind"], key["current"]) for key in keys] == [("passphrase", False), ("recovery", True)]
    begun.says("key", "remove", str(added["number"]), "--yes")
    assert begun("key", "list", env=code).code == 12


RUN = """
[sources.home]
paths = ["data"]
[retention]
keep_last = 1
[check]
every = 0
read_data_every = 0
"""


def test_a_run_does_everything_that_the_configuration_says(
    places: Places, place: str, tmp_path: Path, rng: random.Random
) -> None:
    remote = places.remote(place)
    how = {"create": True, "single_writer": not remote.exclusive}
    machine = Machine(tmp_path / "home", remote, RUN, password={"env": "BITBACKER_PASSWORD"}, **how)
    machine.data.mkdir()
    for _ in range(2):
        (machine.data / "noise").write_bytes(rng.randbytes(5_000_000))
        steps = machine.says("run", "--config", "bitbacker.toml", process=True)[:-1]
        assert [step["exit_code"] for step in steps] == [0] * len(steps), steps
    verbs = {step["verb"] for step in steps}
    assert verbs >= {"backup", "forget", "prune", "check"}
    assert len(ids(machine)) == 1
    assert sum(objects(machine, "segments/").values()) < 2 * 5_000_000


def trace(machine: Machine) -> dict[str, Any]:
    """What the last command has asked the storage for."""
    (file,) = machine.top.glob("state/bitbacker/*/trace.jsonl")
    run: dict[str, Any] = json.loads(file.read_text().splitlines()[-1])
    return run


def requests(machine: Machine) -> dict[tuple[str, str], int]:
    return {(one["operation"], one["area"]): one["count"] for one in trace(machine)["requests"]}


def forget_everything(machine: Machine) -> None:
    """No cache and no state, as on a machine that was never here."""
    for name in ("cache", "state"):
        shutil.rmtree(machine.top / name)


Requests = dict[tuple[str, str], int]


def asked(machine: Machine) -> list[Requests]:
    """What machines that were never here ask for: to back up what has not changed, what has, to restore."""
    for number in range(300):
        path = machine.data / f"{number % 10}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}\n" * 100)
    begin(machine)
    back_up(machine)
    found = []
    for change in ("", "changed"):
        if change:
            (machine.data / "5" / "55").write_text(change)
        forget_everything(machine)
        back_up(machine, process=True)
        found.append(requests(machine))
    forget_everything(machine)
    machine.says("restore", "latest", "--target", str(machine.top / "restored"))
    return [*found, requests(machine)]


@pytest.fixture(scope="session")
def asked_of_a_directory(places: Places, tmp_path_factory: pytest.TempPathFactory) -> list[Requests]:
    """What is asked of a local directory."""
    return asked(Machine(tmp_path_factory.mktemp("local") / "home", places.remote("file")))


@pytest.mark.parametrize("place", [name for name in PLACES if name != "file"], scope="session")
def test_a_machine_without_a_cache_asks_for_the_same_everywhere(
    places: Places, place: str, tmp_path: Path, asked_of_a_directory: list[Requests]
) -> None:
    unchanged, changed, restored = asked(Machine(tmp_path / "home", places.remote(place)))
    expected = [{**requests} for requests in asked_of_a_directory]
    if place == "s3-rclone":
        # A single writer looks whether a head is there before it puts one.
        for backup in expected[:2]:
            backup["get", "heads"] += 1
    assert [unchanged, changed, restored] == expected
    # What is counted tells one thing that is done from another.
    assert unchanged != restored


def test_backups_that_are_killed_cost_nothing_but_time(
    machine: Machine, tmp_path: Path, rng: random.Random
) -> None:
    (machine.data / "old").write_bytes(rng.randbytes(500_000))
    promised = back_up(machine)
    in_the_middle = [killed(machine, rng) for _ in range(3)]
    # A machine that is busy with other things may look too late, but not always.
    while not any(in_the_middle) and len(in_the_middle) < KILLS_MAX:
        in_the_middle.append(killed(machine, rng))
    assert any(in_the_middle)
    last = back_up(machine, process=True)
    machine.says("prune", "--yes")
    (summary,) = machine.says("check", "--read-data", process=True)
    assert (summary["problems"], summary["orphan_segments"]) == (0, 0)
    # One that had just committed when it was killed has left a snapshot, too.
    first, *_, newest = ids(machine)
    assert (first, newest) == (promised["id"], last["id"])
    machine.says("restore", "latest", "--target", str(tmp_path / "restored"))
    assert differences(machine.data, tmp_path / "restored" / machine.data.relative_to("/")) == []


def killed(machine: Machine, rng: random.Random) -> bool:
    """Kill a backup when it has stored a few segments; whether that was before it committed."""
    (machine.data / "noise").write_bytes(rng.randbytes(15_000_000))
    before = objects(machine)
    with machine.transports() as (impatient,):
        transport = patient(impatient)
        wanted = rng.randrange(1, 3) + sum(1 for _ in transport.list("segments/"))
        process = machine.start("backup", "data", "--no-cache")
        deadline_s = time.monotonic() + ENDS_WITHIN_S
        while process.poll() is None and sum(1 for _ in transport.list("segments/")) < wanted:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        process.kill()
        process.communicate(timeout=ENDS_WITHIN_S)
    new = objects(machine).keys() - before.keys()
    assert new
    return process.returncode == -9 and not any(name.startswith("heads/") for name in new)
