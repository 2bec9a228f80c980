"""A restore whose requests do not depend on what is restored, and which restores all the same."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, cast

import pytest

from bitbacker.app.access import Connection
from bitbacker.app.restore import RestoreRequest, plan, restore, unseen
from bitbacker.engine.restore import RestoreResult, execute_restore
from bitbacker.errors import DamageError, PathUnknown, SealBroken
from bitbacker.format import names
from bitbacker.format.block import BlockKind
from bitbacker.format.catalog import Snapshot
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.read import SegmentMissing
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.testing.faults import GatedTransport, Operation, RecordingTransport
from compare_trees import differences
from lab import Lab, back_up
from restore_rig import Told


@pytest.fixture
def source(tmp_path: Path, rng: random.Random) -> Path:
    root = tmp_path / "source"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        (root / name / "large").write_bytes(rng.randbytes(5_000_000))
        (root / name / "small").write_text(name)
    return root


@pytest.fixture
def lab(tmp_path: Path, source: Path) -> Lab:
    """Two snapshots, of which the newer one has another file `changing`."""
    lab = Lab(tmp_path / "lab")
    lab.begin()
    client = lab.client("maker")
    for number in range(2):
        (source / "changing").write_bytes(f"version {number} ".encode() * 20_000)
        back_up(client, source)
    return lab


def connection_of(repository: Repository, told: Told | None = None) -> Connection:
    plain = Connection(cast("Any", None), cast("Any", None), repository, cast("Any", None))
    return unseen(plain, told or Told())


def newest(repository: Repository) -> Snapshot:
    return repository.catalog(repository.newest()).snapshots[-1]


def restored(
    repository: Repository, target: Path, *paths: str, resume: bool = False, told: Told | None = None
) -> RestoreResult:
    connection = connection_of(repository, told)
    snapshot = newest(connection.repository)
    request = RestoreRequest(target, paths, resume=resume)
    return restore(connection, snapshot, request, plan(connection, snapshot, request), told or Told())


def fetched(recording: RecordingTransport) -> Counter[str]:
    return Counter(
        operation.name
        for operation in recording.log
        if operation.kind == "get" and operation.name.startswith(names.SEGMENTS)
    )


def test_everything_comes_back(lab: Lab, source: Path, tmp_path: Path) -> None:
    restored(lab.client("cold"), tmp_path / "target")
    assert [] == differences(source, tmp_path / "target" / source.relative_to("/"))


@pytest.mark.parametrize("paths", [(), ("a/small",), ("a", "changing")])
def test_every_segment_is_fetched_exactly_twice(
    lab: Lab, source: Path, tmp_path: Path, paths: tuple[str, ...]
) -> None:
    recording = RecordingTransport(lab.transport)
    restored(lab.client("cold", recording), tmp_path / "target", *(str(source / path) for path in paths))
    assert dict.fromkeys((info.name for info in lab.transport.list(names.SEGMENTS)), 2) == fetched(recording)


def test_control_an_ordinary_restore_fetches_less(lab: Lab, source: Path, tmp_path: Path) -> None:
    recording = RecordingTransport(lab.transport)
    repository = lab.client("cold", recording)
    connection = replace(connection_of(lab.client("other")), repository=repository)
    request = RestoreRequest(tmp_path / "target", [str(source / "a/small")])
    snapshot = newest(repository)
    restore(connection, snapshot, request, plan(connection, snapshot, request), Told())
    assert len(fetched(recording)) < len(list(lab.transport.list(names.SEGMENTS)))


def test_a_warm_cache_changes_nothing_that_is_fetched(lab: Lab, tmp_path: Path) -> None:
    seen = []
    for number in range(2):
        recording = RecordingTransport(lab.transport)
        repository = lab.client("warm", recording)
        restored(repository, tmp_path / f"target{number}")
        seen.append(sorted((operation.kind, operation.name) for operation in recording.log))
        for table in newest(repository).tables:
            repository.tables.entry_table(table)
        repository.index(repository.newest())
    assert seen[0] == seen[1]


def test_it_goes_on_with_resume_and_fetches_everything_again(lab: Lab, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    restored(lab.client("cold"), target)
    (target / source.relative_to("/") / "a/large").unlink()
    recording = RecordingTransport(lab.transport)
    result = restored(lab.client("cold", recording), target, resume=True)
    assert (1, 4) == (result.files, result.skipped)
    assert {2} == set(fetched(recording).values())
    assert [] == differences(source, target / source.relative_to("/"))


def test_a_path_that_is_not_there_is_an_error(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(PathUnknown):
        restored(lab.client("cold"), tmp_path / "target", "/nowhere")


def test_it_tells_how_many_segments_are_read(lab: Lab, tmp_path: Path) -> None:
    told = Told()
    restored(lab.client("cold"), tmp_path / "target", told=told)
    count = len(list(lab.transport.list(names.SEGMENTS)))
    assert f"of {count} segments" in {getattr(progress, "current", "") for progress in told.progresses}


def segments_of(lab: Lab, source: Path, path: str) -> set[str]:
    """The segments that hold the content of one file."""
    client = lab.client("finder")
    connection = replace(connection_of(client), repository=client)
    request = RestoreRequest(Path("/nowhere/at/all"), [str(source / path)])
    planned = plan(connection, newest(client), request)
    rows = planned.chunks.location["segment"].tolist()
    return {names.segment_name(planned.identities[row]) for row in rows}


def segments_of_data(lab: Lab) -> set[str]:
    """Those that hold nothing of tables."""
    client = lab.client("finder")
    found = [
        client.segments.fetch(names.segment_identity(info.name))
        for info in lab.transport.list(names.SEGMENTS)
    ]
    return {
        names.segment_name(segment.identity)
        for segment in found
        if {BlockKind.DATA} == {info.kind for info in segment.contents}
    }


def test_damage_that_nobody_needs_is_not_told(lab: Lab, source: Path, tmp_path: Path) -> None:
    needed = segments_of(lab, source, "a/small")
    lab.transport.delete(segments_of_data(lab) - needed)
    lab.transport.put(names.segment_name(bytes(16)), b"noise")
    restored(lab.client("cold"), tmp_path / "target", str(source / "a/small"))
    assert (tmp_path / "target" / source.relative_to("/") / "a/small").read_text() == "a"


def test_damage_that_is_needed_costs_the_files_that_need_it(lab: Lab, source: Path, tmp_path: Path) -> None:
    lab.transport.delete(segments_of_data(lab) & segments_of(lab, source, "a/large"))
    told = Told()
    with pytest.raises(DamageError, match="could not be restored"):
        restored(lab.client("cold"), tmp_path / "target", told=told)
    assert told.problems
    assert {"missing"} == {text.split()[2] for _, text in told.problems}


def test_damage_does_not_change_what_is_asked_for(lab: Lab, source: Path, tmp_path: Path) -> None:
    lab.transport.delete(segments_of_data(lab) & segments_of(lab, source, "a/large"))
    seen = []
    for number, paths in enumerate([(), ("a/small",), ("b/small",)]):
        recording = RecordingTransport(lab.transport)
        try:
            restored(lab.client("cold", recording), tmp_path / str(number), *(str(source / p) for p in paths))
        except DamageError:
            seen.append("damage")
        records = recording.records
        seen.append(sorted((record.operation.kind, record.operation.name) for record in records))
    shapes = [one for one in seen if one != "damage"]
    assert "damage" in seen
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_table_is_never_fetched_by_itself(lab: Lab) -> None:
    repository = connection_of(lab.client("cold")).repository
    (table,) = newest(repository).tables[:1]
    other = replace(table, root=replace(table.root, segment=bytes(16)))
    with pytest.raises(SegmentMissing):
        repository.tables.root(other, BlockKind.ENTRIES)


def test_a_table_that_cannot_be_opened_says_so(lab: Lab) -> None:
    client = lab.client("finder")
    name = names.segment_name(newest(client).tables[0].root.segment)
    data = bytearray(lab.transport.get(name))
    data[-1] ^= 1
    lab.transport.put(name, data, replace=True)
    with pytest.raises(SealBroken):
        newest(connection_of(lab.client("cold")).repository)


def pruning(lab: Lab, *, at: int) -> Repository:
    """A client beside which another one forgets and prunes when it fetches for the time `at`."""
    count = 0
    lock = Lock()

    def gate(operation: Operation) -> None:
        nonlocal count
        if operation.kind != "get" or not operation.name.startswith(names.SEGMENTS):
            return
        with lock:
            count += 1
            if count == at:
                other = lab.client("pruner")
                forget(other, [other.catalog(other.newest()).snapshots[0].identity])
                options = PruneOptions(live_part_min=1.0)
                execute_prune(other, plan_prune(other, options), options)

    return lab.client("reader", GatedTransport(lab.transport, gate))


def test_a_prune_during_any_pass_costs_time_only(lab: Lab, source: Path, tmp_path: Path) -> None:
    count = len(list(lab.transport.list(names.SEGMENTS)))
    for at in (1, count // 2, count, count + 1, 2 * count):
        copy = lab.copy(tmp_path / f"lab{at}")
        restored(pruning(copy, at=at), tmp_path / f"target{at}")
        assert [] == differences(source, tmp_path / f"target{at}" / source.relative_to("/"))


def test_control_the_prune_does_take_segments_away(lab: Lab, tmp_path: Path) -> None:
    count = len(list(lab.transport.list(names.SEGMENTS)))
    connection = connection_of(pruning(lab, at=count + 1))
    snapshot = newest(connection.repository)
    planned = plan(connection, snapshot, RestoreRequest(tmp_path / "target"))
    with pytest.raises(DamageError):
        execute_restore(connection.repository, planned, Told())
