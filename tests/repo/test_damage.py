"""What the storage gives back is what was stored, or an error of its own class says that it is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bitbacker.errors import DamageError, ForkDetected, RollbackDetected, SealBroken
from bitbacker.format import names
from bitbacker.format.block import BlockKind
from bitbacker.repo.check import check
from bitbacker.repo.read import SegmentMissing
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from lab import Lab, back_up, contents


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    for number in range(5):
        (root / f"file{number}").write_bytes(f"content {number} ".encode() * 900)
    return root


@pytest.fixture
def lab(tmp_path: Path, source: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    client = lab.client()
    for number in range(3):
        (source / "changing").write_text(f"version {number}")
        back_up(client, source)
    return lab


def read_everything(lab: Lab) -> None:
    client = lab.client("fresh")
    for snapshot in client.catalog(client.newest()).snapshots:
        contents(client, snapshot)


def segments(lab: Lab) -> list[str]:
    return [info.name for info in lab.transport.list(names.SEGMENTS)]


def newest_head(lab: Lab) -> str:
    return next(iter(lab.transport.list(names.HEADS))).name


Change = Callable[[bytes], bytes]
CHANGES: dict[str, Change] = {
    "a bit flipped at the start": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a bit flipped in the commitment": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    "a bit flipped in the middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 128]) + data[len(data) // 2 + 1 :]
    ),
    "a bit flipped at the end": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "cut short": lambda data: data[:-1],
    "emptied": lambda _: b"",
    "made longer": lambda data: data + b"\0",
    "zeroed": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_head_is_refused(lab: Lab, change: str) -> None:
    name = newest_head(lab)
    lab.transport.put(name, CHANGES[change](lab.transport.get(name)), replace=True)
    with pytest.raises(SealBroken):
        read_everything(lab)


@pytest.mark.parametrize("change", CHANGES)
def test_every_changed_segment_is_found_by_a_check_and_never_read_as_if_it_were_whole(
    lab: Lab, change: str
) -> None:
    for name in segments(lab):
        good = lab.transport.get(name)
        lab.transport.put(name, CHANGES[change](good), replace=True)
        try:
            problems = {problem.object for problem in check(lab.client(name[-4:]), read_data=True).problems}
            assert name in problems
        except DamageError:
            # The segment holds the catalog, so nothing at all can be said of the repository.
            pass
        lab.transport.put(name, good, replace=True)
    assert () == check(lab.client(), read_data=True).problems


def test_a_changed_segment_is_refused_when_it_is_read(lab: Lab) -> None:
    for name in segments(lab):
        good = lab.transport.get(name)
        lab.transport.put(name, good[:100] + bytes([good[100] ^ 1]) + good[101:], replace=True)
    with pytest.raises(DamageError):
        read_everything(lab)


def test_control_unchanged_objects_are_read(lab: Lab) -> None:
    read_everything(lab)


def test_two_segments_that_were_swapped_are_refused(lab: Lab) -> None:
    first, second = segments(lab)[:2]
    one, two = lab.transport.get(first), lab.transport.get(second)
    lab.transport.put(first, two, replace=True)
    lab.transport.put(second, one, replace=True)
    with pytest.raises(DamageError):
        read_everything(lab)


def test_a_segment_under_a_new_name_is_refused(lab: Lab) -> None:
    name = segments(lab)[0]
    lab.transport.put("segments/" + "00" * 16, lab.transport.get(name))
    with pytest.raises(SealBroken):
        lab.client().segments.fetch(bytes(16))


def test_a_missing_segment_is_an_error_of_its_own_and_stops_a_prune(lab: Lab) -> None:
    names_of_all = segments(lab)
    before = lab.objects()
    lab.transport.delete(names_of_all)
    with pytest.raises(SegmentMissing):
        read_everything(lab)
    for name in names_of_all[1:]:
        lab.transport.put(name, before[name])
    with pytest.raises(DamageError):
        plan_prune(lab.client("pruner"), PruneOptions())


def test_the_whole_repository_rolled_back_is_noticed_by_who_saw_it_later(lab: Lab, source: Path) -> None:
    client = lab.client()
    client.newest()
    before = lab.objects()
    back_up(client, source)
    for name in lab.objects().keys() - before.keys():
        lab.transport.delete([name])
    with pytest.raises(RollbackDetected):
        client.newest()
    lab.client("who never saw it").newest()


def test_the_newest_head_hidden_is_noticed(lab: Lab) -> None:
    client = lab.client()
    client.newest()
    lab.transport.delete([newest_head(lab)])
    with pytest.raises(RollbackDetected):
        client.newest()


def test_another_history_with_the_same_number_is_noticed(lab: Lab, source: Path, tmp_path: Path) -> None:
    other = lab.copy(tmp_path / "other")
    (source / "changing").write_text("one history")
    client = lab.client()
    back_up(client, source)
    (source / "changing").write_text("another history")
    back_up(other.client("somebody"), source)
    for name, data in other.objects().items():
        lab.transport.put(name, data, replace=True)
    with pytest.raises(ForkDetected):
        lab.client().newest()


def test_a_head_that_does_not_follow_the_one_that_was_seen_is_noticed(
    lab: Lab, source: Path, tmp_path: Path
) -> None:
    client = lab.client()
    other = lab.copy(tmp_path / "other")
    somebody = other.client("somebody")
    (source / "changing").write_text("another history")
    back_up(somebody, source)
    (source / "changing").write_text("goes on")
    back_up(somebody, source)
    back_up(client, source)
    for name, data in other.objects().items():
        lab.transport.put(name, data, replace=True)
    with pytest.raises(ForkDetected):
        client.newest()


def test_a_check_names_the_files_that_a_damaged_segment_costs(
    lab: Lab, source: Path, rng: random.Random
) -> None:
    (source / "large").write_bytes(rng.randbytes(9_000_000))
    client = lab.client()
    back_up(client, source)
    index = client.index(client.newest())
    holds_data = [
        identity
        for identity in index.segments
        if {BlockKind.DATA} == {info.kind for info in client.segments.fetch(identity).contents}
    ]
    victim = names.segment_name(holds_data[0])
    data = lab.transport.get(victim)
    lab.transport.put(victim, data[:-1] + bytes([data[-1] ^ 1]), replace=True)
    result = check(lab.client("checker"), read_data=True)
    paths = {path for problem in result.problems for path in problem.paths}
    assert str(source / "large") in paths
    assert str(source / "file0") not in paths
