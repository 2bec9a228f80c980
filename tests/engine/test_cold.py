"""Backups by a client that has nothing but the key: checkpoints, interruptions, and trees that change."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bitbacker.engine.scan import Scan
from bitbacker.format.catalog import Snapshot
from bitbacker.format.entries import Directory
from bitbacker.format.names import HEAD_SIZE_BYTES
from bitbacker.format.sketch import SetDigest
from bitbacker.repo.open import Repository
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.repo.tips import digest_of
from bitbacker.repo.trace import CountedTransport, Tally
from bitbacker.repo.tree import SnapshotTree
from bitbacker.spi import Listing
from bitbacker_plugins.files import FilesSource
from lab import Lab, back_up, contents, tree


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    return lab


@pytest.fixture
def root(tmp_path: Path, rng: random.Random) -> Path:
    """Ten directories of ten files, quiet for long enough to be trusted."""
    root = tmp_path / "root"
    for directory in range(10):
        (root / f"{directory}").mkdir(parents=True)
        for number in range(10):
            (root / f"{directory}" / f"{number}").write_bytes(rng.randbytes(3_000))
    time.sleep(0.1)
    return root


def change_all(root: Path, rng: random.Random) -> None:
    """In every directory one file is new, one is changed, and one is gone."""
    for directory in root.iterdir():
        (directory / "new").write_bytes(rng.randbytes(100))
        (directory / "1").write_bytes(rng.randbytes(200))
        (directory / "2").unlink()
    time.sleep(0.1)


def interrupt(lab: Lab, root: Path) -> None:
    """A cold backup that makes a checkpoint after every directory, up to Ctrl-C in the seventh."""
    calls = 0
    read = Scan.read

    def until_interrupted(scan: Scan, listing: Listing, changed: Sequence[int]) -> Directory:
        nonlocal calls
        calls += 1
        if calls > 6:
            raise Interrupted
        return read(scan, listing, changed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scan, "read", until_interrupted)
        with pytest.raises(Interrupted):
            back_up(lab.client("cold"), root, checkpoint_s=0)


def test_checkpoints_of_a_cold_backup_end_in_the_same_snapshot(
    lab: Lab, root: Path, rng: random.Random
) -> None:
    back_up(lab.client(), root)
    change_all(root, rng)
    result = back_up(lab.client("cold"), root, checkpoint_s=0)
    assert 20 == result.snapshot.stats.files_changed
    assert 2 < len(result.snapshot.tables)
    client = lab.client("reader")
    assert tree(root) == contents(client, result.snapshot)
    assert 0 == back_up(lab.client("colder"), root).snapshot.stats.files_changed


def test_an_interrupted_cold_backup_leaves_a_snapshot_from_which_the_next_one_goes_on(
    lab: Lab, root: Path, rng: random.Random
) -> None:
    back_up(lab.client(), root)
    change_all(root, rng)
    interrupt(lab, root)
    client = lab.client("reader")
    partial = client.catalog(client.newest()).snapshots[-1]
    assert partial.partial
    result = back_up(lab.client("colder"), root)
    assert 0 < result.snapshot.stats.files_changed < 20
    assert tree(root) == contents(lab.client("last"), result.snapshot)
    assert 0 == back_up(lab.client("coldest"), root).snapshot.stats.files_changed


@pytest.mark.parametrize("has_cache", [True, False])
def test_after_an_interrupted_cold_backup_the_head_soon_tells_exactly_what_there_is(
    lab: Lab, root: Path, rng: random.Random, *, has_cache: bool
) -> None:
    """A checkpoint of a cold backup does not know yet what it replaces; the next backup drops that."""
    back_up(lab.client(), root)
    change_all(root, rng)
    interrupt(lab, root)
    client = lab.client("next")
    partial = client.catalog(client.newest()).snapshots[-1]
    assert digest_told(client) != digest_shown(lab.client("reader"), partial)
    if has_cache:
        contents(client, partial)
    assert has_cache == all(client.tables.cached(ref) for ref in partial.tables)
    snapshot = back_up(client, root).snapshot
    assert digest_told(client) == digest_shown(lab.client("reader"), snapshot)


def digest_told(client: Repository) -> SetDigest:
    (tip,) = client.newest().tips
    return digest_of(tip)


def digest_shown(client: Repository, snapshot: Snapshot) -> SetDigest:
    directories = SnapshotTree(client.tables, snapshot.tables).directories()
    shown = b"".join(directory.fingerprints for directory in directories)
    return SetDigest(0, 0, 0).plus(np.frombuffer(shown, "<u8").astype(np.uint64))


def test_a_directory_that_vanishes_before_it_is_read_is_a_problem_and_nothing_is_torn(
    lab: Lab, root: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(lab.client(), root)
    change_all(root, rng)
    revisit = FilesSource.revisit

    def after_it_vanished(source: FilesSource, paths: Sequence[bytes], on_problem: object) -> object:
        shutil.rmtree(root / "5")
        return revisit(source, paths, on_problem)  # type: ignore[arg-type]  # as it came

    with monkeypatch.context() as patch:
        patch.setattr(FilesSource, "revisit", after_it_vanished)
        result = back_up(lab.client("cold"), root)
    assert result.problems > 0
    found = contents(lab.client("reader"), result.snapshot)
    there = tree(root)
    assert {path: entry for path, entry in found.items() if path in there and entry.kind != 0o040000} == {
        path: entry for path, entry in there.items() if entry.kind != 0o040000
    }
    again = back_up(lab.client("colder"), root)
    assert there.keys() == contents(lab.client("reader"), again.snapshot).keys()


def test_reading_everything_again_works_without_a_cache(lab: Lab, root: Path) -> None:
    back_up(lab.client(), root)
    result = back_up(lab.client("cold"), root, read_all=True)
    assert 100 == result.snapshot.stats.files_changed
    assert tree(root) == contents(lab.client("reader"), result.snapshot)
    again = back_up(lab.client("colder"), root)
    assert 0 == again.snapshot.stats.files_changed


def test_a_machine_that_lost_its_cache_is_told_what_to_expect_by_its_state(lab: Lab, root: Path) -> None:
    back_up(lab.client(), root)
    expected = list((lab._folder / "one" / "state").rglob("expected-*"))
    assert [f"100 {100 * 3_000}\n"] == [path.read_text() for path in expected]


def nights(lab: Lab, root: Path, pruned_after: int | None) -> list[int]:
    """What each of forty nights fetches on a machine that is new every time."""
    back_up(lab.client(), root)
    fetched = []
    for night in range(40):
        tally = Tally()
        transport = CountedTransport(lab.transport, tally)
        assert 0 == back_up(lab.client(f"night {night}", transport), root).snapshot.stats.files_changed
        run = tally.take("backup")
        assert run is not None
        fetched.append(run.moved_bytes("get"))
        if night == pruned_after:
            keeper = lab.client("keeper")
            execute_prune(keeper, plan_prune(keeper, PruneOptions()), PruneOptions())
    return fetched


def test_no_night_of_a_repository_that_is_pruned_once_a_month_fetches_more_than_its_head(
    lab: Lab, root: Path
) -> None:
    assert {HEAD_SIZE_BYTES} == set(nights(lab, root, pruned_after=29))


def test_the_night_of_a_merge_fetches_more(lab: Lab, root: Path) -> None:
    fetched = nights(lab, root, pruned_after=None)
    assert 1 == sum(size > HEAD_SIZE_BYTES for size in fetched)
