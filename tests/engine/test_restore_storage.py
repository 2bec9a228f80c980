"""A restore whose client dies at any operation on the storage is continued to the same end."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bitbacker.engine.observe import SilentObserver
from bitbacker.engine.restore import execute_restore
from bitbacker.engine.restore_plan import RestoreOptions, plan_restore
from bitbacker.errors import StorageError
from bitbacker.format.catalog import Snapshot
from bitbacker.repo.open import Repository
from bitbacker.spi import Transport
from bitbacker.testing.faults import Crash, CrashingTransport, FailingTransport, Fault, RecordingTransport
from compare_trees import differences
from lab import Lab, back_up


@pytest.fixture
def source(tmp_path: Path, rng: random.Random) -> Path:
    root = tmp_path / "source"
    for name in ("a", "b", "c"):
        (root / name).mkdir(parents=True)
        (root / name / "large").write_bytes(rng.randbytes(6_000_000))
        (root / name / "small").write_text(name)
    return root


@pytest.fixture
def lab(tmp_path: Path, source: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    back_up(lab.client(), source)
    return lab


def newest(repository: Repository) -> Snapshot:
    return repository.catalog(repository.newest()).snapshots[-1]


def restore(repository: Repository, target: Path, *, resume: bool = False) -> None:
    plan = plan_restore(repository, newest(repository), (), target, RestoreOptions(resume=resume))
    execute_restore(repository, plan, SilentObserver())


def restored(target: Path, source: Path) -> list[str]:
    return differences(source, target / source.relative_to("/"))


def operations(lab: Lab, folder: Path) -> int:
    counting = CrashingTransport(lab.transport, count_reads=True)
    restore(lab.client("count", counting), folder)
    return counting.count


def test_whatever_operation_it_dies_at_it_is_continued(
    lab: Lab, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = operations(lab, tmp_path / "counted")
    assert count > 5
    for at in range(1, count + 1):
        target = tmp_path / f"target{at}"
        dying = CrashingTransport(lab.transport, at, count_reads=True)
        with pytest.raises(Crash):
            restore(lab.client(f"client{at}", dying), target)
        restore(lab.client(f"client{at}"), target, resume=True)
        assert [] == restored(target, source)
    with capsys.disabled():
        print(f"\nrestore: {count} of {count} operations")


def test_a_storage_that_fails_once_anywhere_costs_nothing(lab: Lab, source: Path, tmp_path: Path) -> None:
    recording = RecordingTransport(lab.transport)
    restore(lab.client("count", recording), tmp_path / "counted")
    gets = sum(operation.kind == "get" for operation in recording.log)
    for nth in range(1, gets + 1):
        failing = FailingTransport(lab.transport, Fault("get", lambda: StorageError("try again"), nth))
        restore(lab.client(f"client{nth}", failing), tmp_path / f"target{nth}")
        assert 1 == failing.struck
        assert [] == restored(tmp_path / f"target{nth}", source)


def test_control_a_storage_that_keeps_failing_ends_the_restore(lab: Lab, tmp_path: Path) -> None:
    transport: Transport = FailingTransport(
        lab.transport, Fault("get", lambda: StorageError("never again"), 3, forever=True)
    )
    with pytest.raises(StorageError):
        restore(lab.client("unlucky", transport), tmp_path / "target")
