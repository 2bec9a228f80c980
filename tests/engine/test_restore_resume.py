"""A restore that stopped anywhere is continued, and ends as one that did not stop."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bitbacker.engine.restore_plan import RestoreOptions, plan_restore
from bitbacker.errors import TargetNotEmpty
from bitbacker.format.catalog import Snapshot
from bitbacker.format.extras import EntryExtras, ExtentRef, Xattr
from bitbacker.repo.open import Repository
from compare_trees import differences
from restore_faults import Killed, hooked, killed_at
from restore_rig import CHUNK_BYTES, Planted, Told, new_repository, plant, restore

HOLES = EntryExtras((), (ExtentRef(100_000, CHUNK_BYTES), ExtentRef(300_000, 5)))
ALL_HOLE = EntryExtras((), ())
SPARSE = (b"s" * CHUNK_BYTES, b"sssss")
TREE = [
    (b"", [Planted(b"a", stat.S_IFDIR | 0o555, mtime_ns=7), Planted(b"top", chunks=(b"top",))]),
    (
        b"a",
        [
            Planted(b"b", stat.S_IFDIR | 0o000, mtime_ns=-5),
            Planted(b"large", 0o104755, (b"1" * CHUNK_BYTES, b"2" * CHUNK_BYTES, b"3")),
            Planted(b"one", chunks=(b"twice",), nlink=2, inode=9),
            Planted(b"sparse", chunks=SPARSE, size=1_000_000, extras=HOLES),
            Planted(b"void", size=1_000_000, extras=ALL_HOLE),
        ],
    ),
    (
        b"a/b",
        [
            Planted(b".bitbacker-0123456789abcdef-1", chunks=(b"a left-over that was backed up",)),
            Planted(b"coloured", chunks=(b"c",), extras=EntryExtras((Xattr(b"user.colour", b"blue"),))),
            Planted(b"empty"),
            Planted(b"fifo", stat.S_IFIFO | 0o600),
            Planted(b"link", stat.S_IFLNK | 0o777, link=b"../large"),
            Planted(b"two", chunks=(b"twice",), nlink=2, inode=9),
        ],
    ),
]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "repository")


@pytest.fixture
def snapshot(repository: Repository) -> Snapshot:
    return plant(repository, TREE)


@pytest.fixture
def whole(tmp_path: Path, repository: Repository, snapshot: Snapshot) -> Path:
    """What a restore makes that is not interrupted."""
    restore(repository, snapshot, tmp_path / "whole")
    assert (tmp_path / "whole/a/large").stat().st_size == 2 * CHUNK_BYTES + 1
    assert (tmp_path / "whole/a/sparse").read_bytes()[100_000:100_003] == b"sss"
    return tmp_path / "whole"


def temporary_names(target: Path) -> list[str]:
    every = [name for _, directories, files in os.walk(target) for name in (*directories, *files)]
    return [name for name in every if "bitbacker" in name and name != ".bitbacker-0123456789abcdef-1"]


def differing(whole: Path, target: Path) -> list[str]:
    """All differences but the time of the root, which is not restored."""
    return [text for text in differences(whole, target) if not text.startswith("'the root': mtime")]


def test_a_restore_killed_at_any_call_is_continued_to_the_same_end(
    tmp_path: Path, repository: Repository, snapshot: Snapshot, whole: Path
) -> None:
    target = tmp_path / "target"
    number = kills = left_overs = skipped = 0
    while True:
        number += 1
        with hooked(killed_at(number)):
            try:
                restore(repository, snapshot, target)
            except Killed:
                kills += 1
            else:
                break
        left_overs += len(temporary_names(target))
        told = Told()
        skipped += restore(repository, snapshot, target, resume=True, told=told).skipped
        assert told.problems == [], f"killed at call {number}"
        assert differing(whole, target) == [], f"killed at call {number}"
        assert temporary_names(target) == [], f"killed at call {number}"
        shutil.rmtree(target)
    print(f"{kills} kills, {left_overs} left-overs removed, {skipped} files not made again")
    # The control: the kills did leave something, and the runs after them did find something whole.
    assert min(kills, left_overs, skipped) > 0


def test_an_interrupt_at_any_call_leaves_no_temporary_file(
    tmp_path: Path, repository: Repository, snapshot: Snapshot, whole: Path
) -> None:
    target = tmp_path / "target"
    seen: set[str] = set()
    for number in range(1, 1000, 2):

        def interrupt(call: int, name: str, at: int = number) -> None:
            # Closing is what the clean-up itself does.
            if call == at and name not in {"close", "unlink"}:
                seen.add(name)
                raise KeyboardInterrupt

        try:
            with hooked(interrupt) as stand_in:
                restore(repository, snapshot, target)
        except KeyboardInterrupt:
            assert temporary_names(target) == [], f"interrupted at call {number}"
        if stand_in.calls < number:
            break
        restore(repository, snapshot, target, resume=True)
        assert differing(whole, target) == []
        shutil.rmtree(target)
    assert {"open", "pwrite", "rename", "utime"} <= seen


def test_a_finished_restore_is_continued_by_doing_nothing(
    repository: Repository, snapshot: Snapshot, whole: Path
) -> None:
    plan = plan_restore(repository, snapshot, (), whole, RestoreOptions(resume=True))
    assert (plan.size_bytes, plan.segments, plan.skipped) == (0, 0, 10)
    inodes = {path: path.lstat().st_ino for path in whole.rglob("*")}
    restore(repository, snapshot, whole, resume=True)
    assert {path: path.lstat().st_ino for path in whole.rglob("*")} == inodes


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("top", lambda path: os.truncate(path, 1)),
        ("top", lambda path: os.utime(path, ns=(1, 1))),
        ("top", lambda path: path.write_bytes(b"TOP")),
        ("top", os.unlink),
        ("a/b/link", os.unlink),
        ("a/b/link", lambda path: (path.unlink(), path.symlink_to("elsewhere"))),
        ("a/b/fifo", lambda path: (path.unlink(), path.write_bytes(b""))),
        ("a/b/empty", lambda path: (path.unlink(), path.symlink_to("/etc/passwd"))),
        ("a/b/two", lambda path: (path.unlink(), path.write_bytes(b"twice"))),
        ("a/one", os.unlink),
    ],
)
def test_what_is_not_as_it_should_be_is_made_anew(
    repository: Repository, snapshot: Snapshot, whole: Path, name: str, spoil: Callable[[Path], object]
) -> None:
    target = whole.parent / "target"
    restore(repository, snapshot, target)
    spoil(target / name)
    assert differing(whole, target) != []
    restore(repository, snapshot, target, resume=True)
    assert differing(whole, target) == []


def test_a_restore_that_exists_is_not_mixed_with_another_unasked(
    repository: Repository, snapshot: Snapshot, whole: Path
) -> None:
    with pytest.raises(TargetNotEmpty):
        restore(repository, snapshot, whole)


def test_a_plan_to_continue_writes_nothing(
    tmp_path: Path, repository: Repository, snapshot: Snapshot
) -> None:
    restore(repository, snapshot, tmp_path / "target")
    (tmp_path / "target/top").unlink()
    with hooked(lambda _, name: None if name in {"open", "close", "stat", "listdir"} else pytest.fail(name)):
        plan = plan_restore(repository, snapshot, (), tmp_path / "target", RestoreOptions(resume=True))
    assert (plan.files, plan.size_bytes, plan.segments) == (2, 3, 1)
