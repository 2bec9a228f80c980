"""Several clients at once: two writers and a pruner, and every order of their operations."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitbacker.errors import RaceLost
from bitbacker.format.head import Head
from bitbacker.repo import changes
from bitbacker.repo.check import check
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.storage import Storage
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.testing.faults import GatedTransport, Interleaving, LockingTransport
from bitbacker_plugins.local import LocalTransport
from lab import Found, Lab, back_up, contents, tree

OPTIONS = PruneOptions(live_part_min=1.0)


def prune(client: Repository) -> None:
    execute_prune(client, plan_prune(client, OPTIONS), OPTIONS)


def write_tree(root: Path, version: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "same").write_bytes(b"the same in every version " * 400)
    (root / "changing").write_bytes(f"version {version} ".encode() * 700)
    (root / f"new{version}").write_bytes(f"new in {version} ".encode() * 300)


def assert_all_whole(lab: Lab, promised: dict[str, dict[bytes, Found]], forgotten: set[str]) -> None:
    client = lab.client("judge")
    present = {snapshot.id: snapshot for snapshot in client.catalog(client.newest()).snapshots}
    assert set() == promised.keys() - present.keys() - forgotten
    for identity in promised.keys() & present.keys():
        assert promised[identity] == contents(client, present[identity])
    assert check(client, read_data=True).problems == ()


def test_two_writers_and_a_pruner_at_once_on_one_local_repository(tmp_path: Path, seed: int) -> None:
    lab = Lab(tmp_path / "lab")
    lab.use(LocalTransport(f"file://{tmp_path}/repository", LocalTransport.Config()))
    lab.begin()
    promised: dict[str, dict[bytes, Found]] = {}
    forgotten: set[str] = set()
    writers_done = threading.Event()

    def write(name: str) -> None:
        client = lab.client(name, wait=True)
        for version in range(6):
            write_tree(tmp_path / name, version)
            snapshot = back_up(client, tmp_path / name, source=name).snapshot
            promised[snapshot.id] = tree(tmp_path / name)

    def sweep() -> None:
        client = lab.client("pruner", wait=True)
        rng = random.Random(seed)
        while not writers_done.is_set():
            snapshots = client.catalog(client.newest()).snapshots
            if len(snapshots) > 3:
                victim = rng.choice(snapshots)
                forgotten.add(victim.id)
                forget(client, [victim.identity])
            with suppress(RaceLost):
                prune(client)

    with ThreadPoolExecutor(3) as pool:
        pruner = pool.submit(sweep)
        writers = [pool.submit(write, name) for name in ("a", "b")]
        for writer in writers:
            writer.exception()
        writers_done.set()
        for future in (*writers, pruner):
            future.result()
    assert 12 == len(promised)
    assert forgotten
    assert_all_whole(lab, promised, forgotten)


CLIENTS = ("a", "b", "pruner")
ORDERS_MAX = 400
Run = tuple[str, int]
"""A client, and for how many operations it is preferred to the others."""


def interleave(
    folder: Path, runs: list[Run], lock: int = 0
) -> tuple[Lab, dict[str, dict[bytes, Found]], set[str]]:
    """A writer, another writer and a pruner that forgets, in the order that `runs` say.

    The storage keeps each object until its clock, which ticks whenever it is looked at, has come `lock`
    further.
    """
    lab = Lab(folder / "lab")
    asked = itertools.count()
    lab.use(LockingTransport(lab.transport, lock, lambda: next(asked)))
    lab.begin()
    first = lab.client("first")
    promised: dict[str, dict[bytes, Found]] = {}
    for version in range(2):
        write_tree(folder / "a", version)
        promised[back_up(first, folder / "a", source="a").snapshot.id] = tree(folder / "a")
    write_tree(folder / "a", 2)
    write_tree(folder / "b", 0)
    oldest = first.catalog(first.newest()).snapshots[0]
    turns = iter([name for name, count in runs for _ in range(count)])

    def choose(ready: Sequence[str]) -> str:
        preferred = next(turns, "")
        return preferred if preferred in ready else ready[0]

    schedule = Interleaving(choose)
    clients = {name: lab.client(name, GatedTransport(lab.transport, schedule.gate(name))) for name in CLIENTS}

    def write(name: str) -> None:
        promised[back_up(clients[name], folder / name, source=name).snapshot.id] = tree(folder / name)

    def sweep() -> None:
        forget(clients["pruner"], [oldest.identity])
        for _ in range(3 if lock else 1):
            prune(clients["pruner"])

    outcomes = schedule.run({"a": lambda: write("a"), "b": lambda: write("b"), "pruner": sweep})
    for outcome in outcomes.values():
        if outcome.error is not None and not isinstance(outcome.error, RaceLost):
            raise outcome.error
    return lab, promised, {oldest.id}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(st.tuples(st.sampled_from(CLIENTS), st.integers(1, 40)), min_size=2, max_size=12),
    lock=st.sampled_from([0, 15, 30, 1000]),
)
def test_no_order_of_operations_loses_an_acknowledged_snapshot(
    tmp_path_factory: pytest.TempPathFactory, runs: list[Run], lock: int
) -> None:
    lab, promised, forgotten = interleave(tmp_path_factory.mktemp("interleaved"), runs, lock)
    assert_all_whole(lab, promised, forgotten)


@pytest.mark.parametrize("rule", ["exclusive", "presence"])
def test_control_without_a_rule_of_the_commit_an_order_is_found_that_loses(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, seed: int, rule: str
) -> None:
    if rule == "exclusive":
        monkeypatch.setattr(Storage, "put_new", Storage.replace)
    else:

        def no_check(self: object, base: Head, newest: Head) -> None:
            """Rely on what was there."""

        monkeypatch.setattr(changes.AddSnapshot, "check", no_check)
    rng = random.Random(seed)
    for _ in range(ORDERS_MAX):
        runs = [(rng.choice(CLIENTS), rng.randrange(1, 40)) for _ in range(8)]
        try:
            assert_all_whole(*interleave(tmp_path_factory.mktemp("control"), runs))
        except Exception:  # noqa: BLE001  # whatever breaks, it was noticed
            return
    pytest.fail(f"{ORDERS_MAX} orders without a loss: this test would not notice that the rule is missing")
