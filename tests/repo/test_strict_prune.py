"""A strict prune keeps every promise, reads everything by age, and stores nothing before it has read."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from bitbacker.errors import DamageError
from bitbacker.format import names
from bitbacker.repo import held_back
from bitbacker.repo.check import check
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.spool import SpoolFull
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.spi import Abilities
from bitbacker.testing.faults import Crash, CrashingTransport, Operation, RecordingTransport
from lab import Found, Lab, back_up, contents, tree

STRICT = PruneOptions(strict=True)
MIB = 1024 * 1024


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    return root


@pytest.fixture
def lab(tmp_path: Path, source: Path, rng: random.Random) -> Lab:
    """Four snapshots, of one small file that stays and a large one that changes."""
    lab = Lab(tmp_path / "lab")
    lab.begin()
    (source / "stays").write_bytes(rng.randbytes(10_000))
    for _ in range(4):
        (source / "changes").write_bytes(rng.randbytes(3 * MIB))
        back_up(lab.client(), source)
    return lab


def prune(client: Repository) -> None:
    execute_prune(client, plan_prune(client, STRICT), STRICT)


def forget_one(client: Repository, number: int) -> None:
    forget(client, [client.catalog(client.newest()).snapshots[number].identity])


def segments(lab: Lab) -> set[str]:
    return {info.name for info in lab.transport.list(names.SEGMENTS)}


def test_everything_is_new_afterwards_and_every_snapshot_is_whole(lab: Lab, source: Path) -> None:
    client = lab.client()
    promised = {one.id: contents(client, one) for one in client.catalog(client.newest()).snapshots[1:]}
    forget_one(client, 0)
    before = segments(lab)
    prune(client)
    assert not before & segments(lab)
    reader = lab.client("reader")
    held = {one.id: contents(reader, one) for one in reader.catalog(reader.newest()).snapshots}
    assert promised == held
    assert tree(source) in held.values()
    result = check(reader, read_data=True)
    assert ((), 0) == (result.problems, result.orphans)


def test_what_was_forgotten_is_gone(lab: Lab) -> None:
    client = lab.client()
    forget_one(client, 1)
    prune(client)
    size = sum(info.size_bytes for info in lab.transport.list(names.SEGMENTS))
    assert 9 * MIB < size < 12 * MIB


class OneAtATime(RecordingTransport):
    """Takes one request at a time, so that the log has them in the order in which they were begun."""

    @property
    def abilities(self) -> Abilities:
        return replace(super().abilities, concurrency=1)


def log_of_prune(lab: Lab) -> list[Operation]:
    recording = OneAtATime(lab.transport)
    prune(lab.client("pruner", recording))
    return [operation for operation in recording.log if operation.name.startswith(names.SEGMENTS)]


def test_everything_is_read_twice_then_stored_then_removed(lab: Lab) -> None:
    forget_one(lab.client(), 2)
    before = segments(lab)
    log = [operation for operation in log_of_prune(lab) if operation.kind != "list"]
    kinds = [operation.kind for operation in log]
    assert ["get"] * 2 * len(before) == kinds[: 2 * len(before)]
    assert sorted(2 * [*before]) == sorted(operation.name for operation in log if operation.kind == "get")
    stored = kinds.count("put")
    assert ["put"] * stored + ["delete"] * len(before) == kinds[2 * len(before) :]


def test_the_second_pass_goes_by_age_alone(lab: Lab) -> None:
    client = lab.client()
    forget_one(client, 3)
    known = client.catalog(client.newest()).segments
    gets = [names.segment_identity(one.name) for one in log_of_prune(lab) if one.kind == "get"]
    second = gets[len(gets) // 2 :]
    by_age = sorted(second, key=lambda identity: (known[identity].born, identity))
    assert second == by_age


def test_large_segments_are_stored_before_small_ones(lab: Lab) -> None:
    sizes = [operation.size_bytes for operation in log_of_prune(lab) if operation.kind == "put"]
    assert len(set(sizes)) == 2
    assert [names.LARGE_SEGMENT_SIZE_BYTES] == sizes[:1]


def test_control_an_ordinary_prune_reads_less(lab: Lab) -> None:
    forget_one(lab.client(), 2)
    before = segments(lab)
    recording = RecordingTransport(lab.transport)
    client = lab.client("pruner", recording)
    execute_prune(client, plan_prune(client, PruneOptions()), PruneOptions())
    read = {one.name for one in recording.log if one.kind == "get" and one.name.startswith(names.SEGMENTS)}
    assert read < before


def test_left_over_segments_go_too(lab: Lab) -> None:
    stray = names.segment_name(bytes(16))
    lab.transport.put(stray, bytes(names.SMALL_SEGMENT_SIZE_BYTES))
    prune(lab.client())
    assert stray not in segments(lab)


def test_nothing_is_lost_whatever_operation_it_dies_at(
    source: Path, tmp_path: Path, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(tmp_path / "small")
    lab.begin()
    for _ in range(3):
        (source / "changes").write_bytes(rng.randbytes(100_000))
        back_up(lab.client(), source)
    forget_one(lab.client(), 0)
    promised: list[dict[bytes, Found]] = _held(lab.client("first"))
    counting = CrashingTransport(lab.copy(tmp_path / "counted").transport)
    prune(lab.client("counted", counting))
    for at in range(1, counting.count + 1):
        copy = lab.copy(tmp_path / f"lab{at}")
        with pytest.raises(Crash):
            prune(copy.client("dying", CrashingTransport(copy.transport, at)))
        assert promised == _held(copy.client("reader"))
        prune(copy.client("again"))
        assert () == check(copy.client("checker"), read_data=True).problems
    with capsys.disabled():
        print(f"\nstrict prune: {counting.count} of {counting.count} operations")


def _held(client: Repository) -> list[dict[bytes, Found]]:
    return [contents(client, one) for one in client.catalog(client.newest()).snapshots]


def test_a_commit_meanwhile_is_kept(lab: Lab, source: Path) -> None:
    client = lab.client("pruner")
    plan = plan_prune(client, STRICT)
    (source / "new").write_text("stored while the prune was planned")
    back_up(lab.client(), source)
    execute_prune(client, plan, STRICT)
    reader = lab.client("reader")
    assert tree(source) == contents(reader, reader.catalog(reader.newest()).snapshots[-1])


def test_damage_stops_it(lab: Lab) -> None:
    lab.transport.delete([min(segments(lab))])
    before = lab.objects()
    with pytest.raises(DamageError):
        prune(lab.client("pruner"))
    assert before == lab.objects()


def test_too_little_room_on_this_machine_stops_it_before_anything_is_stored(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoRoom:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(held_back.os, "statvfs", lambda _: NoRoom)
    before = lab.objects()
    with pytest.raises(SpoolFull, match="room for 4096"):
        prune(lab.client())
    assert before == lab.objects()
