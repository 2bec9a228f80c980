"""Whole days of a repository on connections that break: nothing is lost, nothing doubled, all comes back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitbacker.engine.observe import SilentObserver
from bitbacker.engine.restore import execute_restore
from bitbacker.engine.restore_plan import RestoreOptions, plan_restore
from bitbacker.errors import StorageError
from bitbacker.format import names
from bitbacker.format.keyslots import Constants, SlotContent
from bitbacker.repo.check import check
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from compare_trees import differences
from far_servers import FarServer, no_retries, threads_that_stay
from lab import CONSTANTS, Lab, back_up
from tcp_proxy import Direction, Kind, TcpProxy, no_faults, seeded

# What part of the connections is bad, and how many in a row.  moto takes a connection for each request,
# and an attempt that finds the name taken makes two.
WEATHER = {"sftp": (0.9, 2), "moto": (0.25, 1), "rclone": (0.9, 2)}
MOST_BYTES = 500_000
BREAKS = (Kind.CUT, Kind.RESET)
KINDS = (*BREAKS, *BREAKS, Kind.SLICES, Kind.PAUSE)
TIMEOUT_S = 5.0
SHORT_S = 2.0
AWAY_S = 0.5
# Six attempts, with such a pause between them, last longer than a busy machine needs to start a server.
RETRY_S = 2.0
SIZES = {names.SMALL_SEGMENT_SIZE_BYTES, names.LARGE_SEGMENT_SIZE_BYTES, names.HEAD_SIZE_BYTES}
PRUNE = PruneOptions(live_part_min=1.0)


@dataclass
class Day:
    """A repository on a server behind a proxy; every command has connections of its own."""

    server: FarServer
    place: str
    proxy: TcpProxy
    lab: Lab
    source: Path

    @contextmanager
    def command(self, machine: str = "one", timeout_s: float = TIMEOUT_S) -> Iterator[Repository]:
        """An open repository, as one command has it, through the proxy."""
        transport = self.server.transport(self.place, self.proxy.address, timeout_s=timeout_s)
        with closing(transport):
            yield self.lab.client(machine, transport)

    def begin(self) -> None:
        self.lab.begin()

    def backup(self) -> bytes:
        with self.command() as client:
            return back_up(client, self.source).snapshot.identity

    def check(self) -> None:
        with self.command("checker") as client:
            assert () == check(client, read_data=True).problems

    def forget(self, snapshot: bytes) -> None:
        with self.command() as client:
            forget(client, [snapshot])

    def prune(self) -> None:
        with self.command() as client:
            execute_prune(client, plan_prune(client, PRUNE), PRUNE)

    def restore(self, snapshot: bytes, target: Path) -> None:
        with self.command("restorer") as client:
            catalog = client.catalog(client.newest())
            (wanted,) = [each for each in catalog.snapshots if each.identity == snapshot]
            plan = plan_restore(client, wanted, (), target, RestoreOptions())
            execute_restore(client, plan, SilentObserver())

    def assert_holds_exactly(self, *snapshots: bytes, pruned: bool = False) -> None:
        """Looked at without the proxy: these snapshots, and no object that no head lists."""
        judge = self.lab.client("judge")
        head = judge.newest()
        catalog = judge.catalog(head)
        assert sorted(snapshots) == sorted(each.identity for each in catalog.snapshots)
        assert len(catalog.live) == head.segments
        stored = {info.name: info.size_bytes for info in self.lab.transport.list("")}
        assert set(stored.values()) <= SIZES
        live = {names.segment_name(identity) for identity in catalog.live}
        condemned = {names.segment_name(identity) for identity in catalog.condemned}
        segments = {name for name in stored if name.startswith(names.SEGMENTS)}
        assert live | (condemned & segments) == segments
        assert not (pruned and condemned & segments)
        heads = sorted(names.head_number(name) for name in stored if name.startswith(names.HEADS))
        assert list(range(heads[0], head.number + 1)) == heads
        assert len(stored) == len(segments) + len(heads)
        result = check(judge, read_data=True)
        assert ((), 0 if pruned else result.orphans) == (result.problems, result.orphans)


@pytest.fixture
def day(far: FarServer, place: str, tmp_path: Path) -> Iterator[Day]:
    constants = Constants(CONSTANTS.cipher, CONSTANTS.chunker, single_writer=not far.exclusive)
    lab = Lab(tmp_path / "lab", SlotContent(bytes(range(32)), constants))
    before = threading.enumerate()
    with TcpProxy(far.address) as proxy:
        with closing(far.transport(place, far.address)) as direct:
            lab.use(direct)
            yield Day(far, place, proxy, lab, tmp_path / "source")
        print("\n".join(proxy.log))
    assert [] == threads_that_stay(before)


def write_first(source: Path, rng: random.Random) -> None:
    (source / "small").mkdir(parents=True)
    for number in range(200):
        (source / "small" / f"{number:03}").write_bytes(rng.randbytes(rng.randrange(4000)))
    for number in range(3):
        (source / f"large{number}").write_bytes(rng.randbytes(3_000_000))


def write_second(source: Path, rng: random.Random) -> None:
    for number in range(0, 200, 5):
        (source / "small" / f"{number:03}").write_bytes(rng.randbytes(rng.randrange(4000)))
    (source / "large0").write_bytes(rng.randbytes(3_000_000))
    (source / "large1").unlink()


def restored(target: Path, source: Path) -> Path:
    return target / source.relative_to("/")


def test_a_life_on_connections_that_break_loses_and_doubles_nothing(
    day: Day, rng: random.Random, seed: int, tmp_path: Path
) -> None:
    rate, in_a_row_max = WEATHER[day.server.name]
    day.proxy.plan = seeded(seed, rate, KINDS, MOST_BYTES, in_a_row_max)
    day.begin()
    write_first(day.source, rng)
    first = day.backup()
    day.assert_holds_exactly(first)
    write_second(day.source, rng)
    second = day.backup()
    day.assert_holds_exactly(first, second)
    day.check()
    day.forget(first)
    day.prune()
    day.assert_holds_exactly(second, pruned=True)
    day.restore(second, tmp_path / "target")
    assert [] == differences(day.source, restored(tmp_path / "target", day.source))
    happened = day.proxy.kinds()
    print(happened)
    assert happened["cut"] + happened["reset"] >= 3
    assert happened["slices"] + happened["pause"] >= 1


def test_control_without_retries_the_same_life_ends_early(day: Day, rng: random.Random, seed: int) -> None:
    day.begin()
    write_first(day.source, rng)
    day.proxy.plan = seeded(seed, 1.0, BREAKS, 100_000)
    with no_retries(), pytest.raises(StorageError) as caught:
        day.backup()
    assert caught.value.retryable
    day.proxy.plan = no_faults
    snapshot = day.backup()
    judge = day.lab.client("judge")
    assert [snapshot] == [each.identity for each in judge.catalog(judge.newest()).snapshots]


# moto keeps everything in memory, so nothing would be there when it comes back.
@pytest.mark.parametrize("far", ["sftp", "rclone"], indirect=True)
def test_a_server_that_is_killed_and_started_again_costs_nothing(
    day: Day, rng: random.Random, tmp_path: Path
) -> None:
    """It goes in the middle of an upload and comes back on its port; what it has acknowledged is there."""
    day.begin()
    write_first(day.source, rng)

    def go_and_come_back() -> None:
        day.server.kill()
        time.sleep(AWAY_S)
        day.server.start()

    with day.command() as client, in_the_middle(day.proxy, 2_000_000, go_and_come_back):
        client.storage._sleep = lambda _: time.sleep(RETRY_S)
        snapshot = back_up(client, day.source).snapshot.identity
    assert any(connection.ending != "closed" for connection in day.proxy.connections)
    day.assert_holds_exactly(snapshot)
    day.restore(snapshot, tmp_path / "target")
    assert [] == differences(day.source, restored(tmp_path / "target", day.source))


@pytest.mark.parametrize("frozen_s", [0.5, 3 * SHORT_S])
def test_a_server_that_is_frozen_for_a_while_costs_nothing(
    day: Day, rng: random.Random, frozen_s: float
) -> None:
    """For less and for more than the time after which a connection counts as dead."""
    day.begin()
    write_first(day.source, rng)

    def freeze_and_thaw() -> None:
        day.server.freeze()
        time.sleep(frozen_s)
        day.server.thaw()

    with day.command(timeout_s=SHORT_S) as client, in_the_middle(day.proxy, 2_000_000, freeze_and_thaw):
        client.storage._sleep = lambda _: time.sleep(AWAY_S)
        snapshot = back_up(client, day.source).snapshot.identity
    day.assert_holds_exactly(snapshot)


@contextmanager
def in_the_middle(proxy: TcpProxy, uploaded_bytes: int, act: Callable[[], None]) -> Iterator[None]:
    """Let `act` happen in another thread as soon as so much has been sent; it must have happened."""
    begun, over = proxy.passed(Direction.UP), threading.Event()
    acted: list[bool] = []

    def watch() -> None:
        while proxy.passed(Direction.UP) - begun < uploaded_bytes:
            if over.wait(0.002):
                return
        act()
        acted.append(True)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert acted, "all was sent before anything could happen"
