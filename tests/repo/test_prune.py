"""A prune frees what nobody needs and keeps what somebody does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bitbacker.format import names
from bitbacker.format.head import Head
from bitbacker.repo.check import check
from bitbacker.repo.compact import TABLES_MAX
from bitbacker.repo.forget import forget
from bitbacker.repo.heads import SeenHead
from bitbacker.repo.open import Repository
from bitbacker.repo.sweep import HEADS_KEPT, execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, PrunePlan, plan_prune
from bitbacker.repo.volume import FLOOR_BYTES
from lab import Found, Lab, back_up, contents, tree

MIB = 1024 * 1024


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    return root


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    return lab


def prune(client: Repository) -> PrunePlan:
    plan = plan_prune(client, PruneOptions())
    execute_prune(client, plan, PruneOptions())
    return plan


def size(lab: Lab) -> int:
    return sum(info.size_bytes for info in lab.transport.list(names.SEGMENTS))


def forget_all_but_newest(client: Repository) -> None:
    forget(client, [item.identity for item in client.catalog(client.newest()).snapshots[:-1]])


def test_a_fresh_repository_has_nothing_to_prune(lab: Lab) -> None:
    assert plan_prune(lab.client(), PruneOptions()).nothing_to_do


def test_the_data_of_a_removed_file_goes_with_the_snapshots_that_showed_it(
    lab: Lab, source: Path, rng: random.Random
) -> None:
    (source / "keep").write_bytes(rng.randbytes(MIB))
    (source / "large").write_bytes(rng.randbytes(20 * MIB))
    client = lab.client()
    back_up(client, source)
    (source / "large").unlink()
    latest = back_up(client, source).snapshot
    assert 2 == len(latest.tables), "the snapshot is a delta on tables that still name the file"
    prune(client)
    assert size(lab) > 20 * MIB, "the first snapshot still shows the file"
    forget_all_but_newest(client)
    prune(client)
    assert size(lab) < 6 * MIB
    assert tree(source) == contents(lab.client("other"), client.catalog(client.newest()).snapshots[0])


def test_a_prune_after_a_prune_has_nothing_to_do(lab: Lab, source: Path, rng: random.Random) -> None:
    client = lab.client()
    for number in range(3):
        (source / "file").write_bytes(rng.randbytes(100_000 + number))
        back_up(client, source)
    forget_all_but_newest(client)
    assert not prune(client).nothing_to_do
    assert plan_prune(client, PruneOptions()).nothing_to_do


def test_a_plan_changes_nothing(lab: Lab, source: Path, rng: random.Random) -> None:
    client = lab.client()
    for _ in range(2):
        (source / "file").write_bytes(rng.randbytes(100_000))
        back_up(client, source)
    forget_all_but_newest(client)
    before = lab.objects()
    plan_prune(client, PruneOptions())
    assert before == lab.objects()


def test_what_a_plan_says_is_freed_is_freed(lab: Lab, source: Path, rng: random.Random) -> None:
    client = lab.client()
    for _ in range(4):
        (source / "file").write_bytes(rng.randbytes(5 * MIB))
        back_up(client, source)
    forget_all_but_newest(client)
    before = size(lab)
    plan = plan_prune(client, PruneOptions())
    result = execute_prune(client, plan, PruneOptions())
    added = result.stored_bytes - names.HEAD_SIZE_BYTES
    assert before - plan.freed_bytes + added == size(lab)


def test_many_small_segments_become_few(lab: Lab, source: Path) -> None:
    client = lab.client()
    for number in range(25):
        (source / f"file{number}").write_text(str(number))
        back_up(client, source)
    prune(client)
    assert len(list(lab.transport.list(names.SEGMENTS))) < 4
    assert () == check(client, read_data=True).problems


def test_every_remaining_snapshot_is_whole_after_random_forgetting(
    lab: Lab, source: Path, rng: random.Random
) -> None:
    client = lab.client()
    promised: dict[str, dict[bytes, Found]] = {}
    for number in range(24):
        for _ in range(rng.randrange(1, 4)):
            path = source / f"file{rng.randrange(12)}"
            if path.exists() and rng.random() < 0.4:
                path.unlink()
            else:
                path.write_bytes(rng.randbytes(rng.randrange(200_000)))
        snapshot = back_up(client, source).snapshot
        promised[snapshot.id] = tree(source)
        if number % 4 == 3:
            snapshots = client.catalog(client.newest()).snapshots
            forget(client, [item.identity for item in rng.sample(snapshots, len(snapshots) // 2)])
            prune(client)
    reader = lab.client("reader")
    remaining = reader.catalog(reader.newest()).snapshots
    assert remaining
    for snapshot in remaining:
        assert promised[snapshot.id] == contents(reader, snapshot)
    result = check(reader, read_data=True)
    assert ((), 0) == (result.problems, result.orphans)


def test_old_heads_are_trimmed(lab: Lab, source: Path) -> None:
    client = lab.client()
    for number in range(HEADS_KEPT + 4):
        (source / "file").write_text(str(number))
        back_up(client, source)
    forget_all_but_newest(client)
    prune(client)
    assert HEADS_KEPT == len(list(lab.transport.list(names.HEADS)))


def test_the_tables_of_a_head_stay_few(lab: Lab, source: Path, rng: random.Random) -> None:
    client = lab.client()
    for _ in range(40):
        (source / "file").write_bytes(rng.randbytes(1000))
        back_up(client, source)
        head = client.newest()
        assert max(len(head.catalogs), len(head.indexes)) <= TABLES_MAX
    assert 40 == len(lab.client("cold").catalog(head).snapshots)
    assert () == check(client, read_data=True).problems


def test_merged_tables_are_stored_in_the_bucket_of_their_own_size(
    lab: Lab, source: Path, rng: random.Random
) -> None:
    """An index needs little more than its random ids; a record is twice as large before it is packed."""
    client = lab.client()
    for _ in range(TABLES_MAX):
        for number in range(1000):
            (source / str(number)).write_bytes(rng.randbytes(20))
        back_up(client, source)
    before = {info.name for info in lab.transport.list(names.SEGMENTS)}
    back_up(client, source)
    after = {info.name: info.size_bytes for info in lab.transport.list(names.SEGMENTS)}
    merge = sum(after[name] for name in after.keys() - before) - FLOOR_BYTES
    ids_bytes = 16 * 1000 * TABLES_MAX
    print(f"{merge:,} bytes for {ids_bytes:,} of ids")
    assert 1 == len(client.newest().catalogs)
    assert ids_bytes < merge < 25 * 1000 * TABLES_MAX


def test_a_backup_that_was_cut_off_goes_on_from_its_checkpoint(
    lab: Lab, source: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        (source / name).mkdir()
        (source / name / "file").write_bytes(rng.randbytes(9 * MIB))
    client = lab.client()
    real = client.heads.put
    commits = 0

    def cut_off(head: Head) -> SeenHead:
        nonlocal commits
        commits += 1
        if commits == 3:
            raise KeyboardInterrupt
        return real(head)

    monkeypatch.setattr(client.heads, "put", cut_off)
    with pytest.raises(KeyboardInterrupt):
        back_up(client, source, checkpoint_bytes=0)
    again = lab.client()
    partial = again.catalog(again.newest()).snapshots[-1]
    assert partial.partial
    held = contents(again, partial)
    assert any(path.endswith(b"a/file") for path in held)
    result = back_up(again, source)
    assert result.snapshot.stats.added_bytes < 30 * MIB
    assert tree(source) == contents(again, result.snapshot)


def test_padding_is_not_worth_a_prune(lab: Lab, source: Path, rng: random.Random) -> None:
    client = lab.client()
    (source / "file").write_bytes(rng.randbytes(5 * MIB))
    back_up(client, source)
    for _ in range(5):
        back_up(client, source)
    assert plan_prune(client, PruneOptions()).nothing_to_do


def test_segments_without_data_go_when_they_have_become_many(lab: Lab, source: Path) -> None:
    client = lab.client()
    for number in range(40):
        back_up(client, source, source=f"source {number}")
        forget_all_but_newest(client)
    before = len(list(lab.transport.list(names.SEGMENTS)))
    prune(client)
    assert len(list(lab.transport.list(names.SEGMENTS))) < before // 4
    assert () == check(client, read_data=True).problems
