"""A restore goes on when a prune moves what it is reading."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import cast

import pytest

from bitbacker.app.access import Connection
from bitbacker.app.restore import RestoreRequest, plan, restore
from bitbacker.engine.observe import SilentObserver
from bitbacker.engine.restore import execute_restore
from bitbacker.errors import DamageError
from bitbacker.format.catalog import Snapshot
from bitbacker.repo.forget import forget
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.testing.faults import GatedTransport, Operation
from compare_trees import differences
from lab import Lab, back_up


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    return root


@pytest.fixture
def lab(tmp_path: Path, source: Path) -> Lab:
    """Two snapshots; without the first one much of the segments is not needed."""
    lab = Lab(tmp_path / "lab")
    lab.begin()
    client = lab.client("maker")
    for number in range(2):
        (source / "kept").write_bytes(b"kept " * 50_000)
        (source / "changing").write_bytes(f"version {number} ".encode() * 50_000)
        back_up(client, source)
    return lab


def reader(lab: Lab, *, prunes: bool) -> tuple[Connection, Snapshot]:
    """A client whose tables are cached, beside which another one prunes when it fetches its first segment."""
    begun = False
    pruning = Lock()

    def gate(operation: Operation) -> None:
        nonlocal begun
        if not armed or operation.kind != "get" or not operation.name.startswith("segments/"):
            return
        with pruning:
            if begun:
                return
            begun = True
            other = lab.client("pruner")
            forget(other, [other.catalog(other.newest()).snapshots[0].identity])
            options = PruneOptions(live_part_min=1.0)
            execute_prune(other, plan_prune(other, options), options)

    armed = False
    repository = lab.client("reader", GatedTransport(lab.transport, gate))
    snapshot = repository.catalog(repository.newest()).snapshots[-1]
    repository.index(repository.newest())
    for table in snapshot.tables:
        repository.tables.entry_table(table)
    repository.segments.forget()
    armed = prunes
    return cast("Connection", SimpleNamespace(repository=repository)), snapshot


def test_what_a_prune_moved_is_restored_from_its_new_place(lab: Lab, source: Path, tmp_path: Path) -> None:
    connection, snapshot = reader(lab, prunes=True)
    request = RestoreRequest(tmp_path / "target")
    planned = plan(connection, snapshot, request)
    restore(connection, snapshot, request, planned, SilentObserver())
    assert [] == differences(source, tmp_path / "target" / source.relative_to("/"))


def test_control_the_prune_does_take_away_what_was_planned(lab: Lab, tmp_path: Path) -> None:
    connection, snapshot = reader(lab, prunes=True)
    planned = plan(connection, snapshot, RestoreRequest(tmp_path / "target"))
    with pytest.raises(DamageError):
        execute_restore(connection.repository, planned, SilentObserver())


def test_damage_without_a_prune_is_damage(lab: Lab, tmp_path: Path) -> None:
    connection, snapshot = reader(lab, prunes=False)
    request = RestoreRequest(tmp_path / "target")
    planned = plan(connection, snapshot, request)
    connection.repository.segments.forget()
    lab.transport.delete(info.name for info in lab.transport.list("segments/"))
    with pytest.raises(DamageError):
        restore(connection, snapshot, request, planned, SilentObserver())
