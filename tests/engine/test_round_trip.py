"""What goes in comes out: the nasty tree, by an independent judge."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nasty_tree
from bitbacker.engine.observe import SilentObserver
from bitbacker.engine.restore import execute_restore
from bitbacker.engine.restore_plan import RestoreOptions, plan_restore
from bitbacker.format import entries
from bitbacker.format.catalog import Snapshot
from bitbacker.repo.check import check
from bitbacker.repo.open import Repository
from compare_trees import differences
from lab import Lab, back_up


class Noting(SilentObserver):
    """Keeps every problem."""

    def __init__(self) -> None:
        self.problems: list[tuple[bytes, str]] = []

    def problem(self, path: bytes, text: str) -> None:
        self.problems.append((path, text))


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "source"
    root.mkdir()
    yield root
    nasty_tree.destroy(tmp_path)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    return lab


def restore(repository: Repository, snapshot: Snapshot, target: Path) -> list[tuple[bytes, str]]:
    observer = Noting()
    plan = plan_restore(repository, snapshot, (), target, RestoreOptions())
    execute_restore(repository, plan, observer)
    return observer.problems


def assert_restores(lab: Lab, snapshot: Snapshot, source: Path, target: Path) -> None:
    assert [] == restore(lab.client("cold" + target.name), snapshot, target)
    restored = target / source.relative_to("/")
    assert [] == differences(source, restored, ignore_sockets=True)


def test_the_nasty_tree_comes_back_as_it_was(lab: Lab, source: Path, tmp_path: Path, seed: int) -> None:
    nasty = nasty_tree.make(source, seed)
    print("not made on this machine:", nasty.left_out)
    result = back_up(lab.client(), source)
    assert 0 == result.problems
    assert_restores(lab, result.snapshot, source, tmp_path / "target")
    assert () == check(lab.client("other"), read_data=True).problems


def test_a_second_backup_of_the_nasty_tree_finds_nothing_to_do(lab: Lab, source: Path, seed: int) -> None:
    nasty_tree.make(source, seed)
    client = lab.client()
    back_up(client, source)
    # Files that were made a moment before they were read are read once again, to be sure of them.
    back_up(client, source)
    stats = back_up(client, source).snapshot.stats
    assert (0, 0) == (stats.files_changed, stats.added_bytes)


Edit = Callable[[Path, random.Random], None]


def _add(root: Path, rng: random.Random) -> None:
    (root / f"added{rng.random()}").write_bytes(rng.randbytes(rng.randrange(300_000)))


def _grow(root: Path, rng: random.Random) -> None:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    with rng.choice(files).open("ab") as file:
        file.write(rng.randbytes(1000))


def _remove(root: Path, rng: random.Random) -> None:
    files = [path for path in root.rglob("*") if path.is_file()]
    if len(files) > 2:
        rng.choice(files).unlink()


def _rename_directory(root: Path, rng: random.Random) -> None:
    directories = [path for path in root.iterdir() if path.is_dir()]
    if directories:
        rng.choice(directories).rename(root / f"renamed{rng.random()}")


def _add_directory(root: Path, rng: random.Random) -> None:
    folder = root / f"folder{rng.random()}"
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_bytes(rng.randbytes(200))


def _turn_into_directory(root: Path, rng: random.Random) -> None:
    files = [path for path in root.rglob("*") if path.is_file()]
    if len(files) > 2:
        path = rng.choice(files)
        path.unlink()
        path.mkdir()
        (path / "inside").write_bytes(rng.randbytes(10))


def _touch(root: Path, rng: random.Random) -> None:
    path = rng.choice([path for path in root.rglob("*") if not path.is_symlink()])
    os.utime(path, ns=(rng.randrange(10**18), rng.randrange(10**18)))


EDITS: tuple[Edit, ...] = (
    _add,
    _grow,
    _remove,
    _rename_directory,
    _add_directory,
    _turn_into_directory,
    _touch,
)


def test_every_snapshot_of_a_random_history_restores_from_its_deltas(
    lab: Lab, tmp_path: Path, rng: random.Random
) -> None:
    root = tmp_path / "history" / "root"
    root.mkdir(parents=True)
    for number in range(3):
        _add_directory(root, rng)
        (root / f"file{number}").write_bytes(rng.randbytes(100_000))
    client = lab.client()
    snapshots: list[tuple[Snapshot, Path]] = []
    for number in range(20):
        for _ in range(rng.randrange(4)):
            rng.choice(EDITS)(root, rng)
        snapshot = back_up(client, root).snapshot
        copy = tmp_path / f"copy{number}"
        assert 0 == os.system(f"cp -a {root} {copy}")
        snapshots.append((snapshot, copy))
    assert max(len(snapshot.tables) for snapshot, _ in snapshots) > 3
    for number, (snapshot, copy) in enumerate(snapshots):
        target = tmp_path / f"target{number}"
        assert [] == restore(lab.client(f"reader{number % 2}"), snapshot, target)
        assert [] == differences(copy, target / root.relative_to("/"))


def wait_for_quiet_stamps() -> None:
    """A file that was written a moment ago is read again by the next backup."""
    time.sleep(0.1)


def test_a_client_without_a_cache_makes_the_same_snapshot(
    lab: Lab, tmp_path: Path, rng: random.Random
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for _ in range(5):
        _add_directory(root, rng)
    wait_for_quiet_stamps()
    back_up(lab.client("warm"), root)
    next(iter(root.glob("*/0"))).unlink()
    _add(root, rng)
    cold = back_up(lab.client("cold"), root)
    target = tmp_path / "target"
    assert 1 == cold.snapshot.stats.files_changed
    assert_restores(lab, cold.snapshot, root, target)


def test_a_file_of_more_chunks_than_a_page_holds_comes_back(
    lab: Lab, tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "PAGE_TARGET_BYTES", 1000)
    root = tmp_path / "root"
    root.mkdir()
    (root / "before").write_bytes(b"before")
    (root / "huge").write_bytes(rng.randbytes(12_000_000))
    (root / "later").write_bytes(b"later")
    with (root / "sparse").open("wb") as file:
        file.truncate(50_000_000)
        file.seek(20_000_000)
        file.write(rng.randbytes(9_000_000))
    client = lab.client()
    first = back_up(client, root).snapshot
    pages = [page for page in client.tables.entry_table(first.tables[0]) if b"huge" in page.names]
    assert len(pages) > 2, "the chunks of one file stand in several pages"
    assert_restores(lab, first, root, tmp_path / "first")
    unchanged = back_up(client, root).snapshot
    assert 0 == unchanged.stats.added_bytes
    (root / "huge").write_bytes(b"small now")
    second = back_up(client, root).snapshot
    assert len(second.tables) > 1
    assert_restores(lab, second, root, tmp_path / "second")
    (root / "huge").unlink()
    third = back_up(client, root).snapshot
    assert_restores(lab, third, root, tmp_path / "third")
    assert () == check(client, read_data=True).problems


def test_a_directory_of_100_000_entries_comes_back(lab: Lab, source: Path, tmp_path: Path) -> None:
    directory = os.open(source, os.O_RDONLY)
    try:
        for number in range(100_000):
            name = f"{number:06}"
            if number % 10:
                os.symlink(name, f"link{name}", dir_fd=directory)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    finally:
        os.close(directory)
    result = back_up(lab.client(), source)
    assert (0, 100_000) == (result.problems, result.snapshot.stats.files + result.snapshot.stats.others)
    assert_restores(lab, result.snapshot, source, tmp_path / "target")
