"""A client that dies at any operation on the storage loses nothing that was acknowledged.

Every mutating operation of every verb is tried, once not done and once done without an answer.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from bitbacker.format.head import Head
from bitbacker.repo import sweep
from bitbacker.repo.check import check
from bitbacker.repo.commit import commit
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.testing.faults import Crash, CrashingTransport
from lab import Found, Lab, back_up, contents, tree

Verb = Callable[[Repository, Path], None]
Mode = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A repository with a history, what its snapshots hold, and a source that goes on changing."""

    lab: Lab
    source: Path
    promised: dict[str, dict[bytes, Found]]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    lab = Lab(tmp_path / "scene")
    lab.begin()
    source = tmp_path / "source"
    source.mkdir()
    (source / "folder").mkdir()
    (source / "folder" / "large").write_bytes(bytes(range(256)) * 2000)
    (source / "link").symlink_to("folder")
    promised: dict[str, dict[bytes, Found]] = {}
    client = lab.client()
    for number in range(4):
        (source / f"file{number}").write_bytes(f"content {number} ".encode() * 1000)
        (source / "rewritten").write_text(f"version {number}")
        snapshot = back_up(client, source).snapshot
        promised[snapshot.id] = tree(source)
    return Scene(lab, source, promised)


def run_backup(client: Repository, source: Path) -> None:
    (source / "new").write_bytes(b"new content " * 500)
    back_up(client, source)


def run_backup_with_checkpoints(client: Repository, source: Path) -> None:
    for name in ("p", "q", "r"):
        (source / name).mkdir(exist_ok=True)
        (source / name / "large").write_bytes(random.Random(name).randbytes(2_000_000))
    before = client.newest().number
    back_up(client, source, checkpoint_s=0)
    assert client.newest().number > before + 2


def run_forget(client: Repository, source: Path) -> None:
    del source
    forget(client, [client.catalog(client.newest()).snapshots[0].identity])


def run_prune(client: Repository, source: Path) -> None:
    del source
    options = PruneOptions(live_part_min=1.0)
    sweep.execute_prune(client, plan_prune(client, options), options)


def run_forget_and_prune(client: Repository, source: Path) -> None:
    run_forget(client, source)
    options = PruneOptions(live_part_min=1.0)
    plan = plan_prune(client, options)
    assert plan.repacked
    assert plan.dead
    sweep.execute_prune(client, plan, options)


VERBS = {
    "backup": run_backup,
    "backup with checkpoints": run_backup_with_checkpoints,
    "forget": run_forget,
    "forget and prune": run_forget_and_prune,
}


def operations(scene: Scene, verb: Verb, folder: Path) -> int:
    """How many mutating operations a verb takes when nothing happens."""
    lab = scene.lab.copy(folder)
    counting = CrashingTransport(lab.transport)
    verb(lab.client(transport=counting), scene.source)
    return counting.count


def crash(lab: Lab, source: Path, verb: Verb, at: int, mode: Mode) -> None:
    """Run a verb on a machine that dies at operation `at`."""
    transport = CrashingTransport(lab.transport, at, mode)
    with pytest.raises(Crash):
        verb(lab.client(transport=transport), source)


def assert_nothing_lost(lab: Lab, scene: Scene, forgotten: int) -> None:
    """The repository opens, promised snapshots are whole, and the next verbs need no help."""
    client = lab.client()
    present = {snapshot.id: snapshot for snapshot in client.catalog(client.newest()).snapshots}
    for number, (identity, expected) in enumerate(scene.promised.items()):
        if identity in present:
            assert expected == contents(client, present[identity])
        else:
            assert number < forgotten, f"the acknowledged snapshot {number} is lost"
    latest = back_up(client, scene.source).snapshot
    run_prune(client, scene.source)
    result = check(client, read_data=True)
    assert result.problems == ()
    assert result.orphans == 0
    assert tree(scene.source) == contents(client, latest)


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_lost_whatever_operation_a_client_dies_at(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, mode: Mode
) -> None:
    count = operations(scene, VERBS[verb], tmp_path / "count")
    assert count > 1
    for at in range(1, count + 1):
        lab = scene.lab.copy(tmp_path / f"{at}")
        crash(lab, scene.source, VERBS[verb], at, mode)
        assert_nothing_lost(lab, scene, forgotten=1 if "forget" in verb else 0)
        shutil.rmtree(tmp_path / f"{at}")
    with capsys.disabled():
        print(f"\n{verb}, {mode}: {count} of {count} operations")


def test_control_a_prune_that_deletes_before_it_commits_is_caught(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = commit

    def delete_first(repository: Repository, base: Head, change: sweep._Sweep) -> Head:
        sweep._Execution(repository, change.plan)._delete()
        return real(repository, base, change)

    monkeypatch.setattr(sweep, "commit", delete_first)
    verb = VERBS["forget and prune"]
    count = operations(scene, verb, tmp_path / "count")
    monkeypatch.undo()
    caught = 0
    for at in range(1, count + 1):
        lab = scene.lab.copy(tmp_path / f"{at}")
        with monkeypatch.context() as patch:
            patch.setattr(sweep, "commit", delete_first)
            crash(lab, scene.source, verb, at, "before")
        try:
            assert_nothing_lost(lab, scene, forgotten=1)
        except Exception:  # noqa: BLE001  # whatever breaks, it was noticed
            caught += 1
    assert caught > 0
