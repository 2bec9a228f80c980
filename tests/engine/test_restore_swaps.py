"""Somebody else on the machine swaps directories for symlinks while a restore runs.

Before each system call of a restore, in turn, a directory of the target is moved away and a symlink
to the canary takes its place.  Nothing outside the target changes.  A writer that looks before it
opens, as many do, does escape under the same swaps.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from bitbacker.engine import target_directories
from bitbacker.engine.restore import execute_restore
from bitbacker.engine.restore_plan import RestoreOptions, RestorePlan, plan_restore
from bitbacker.errors import BitBackerError
from bitbacker.format.extras import EntryExtras, Xattr
from bitbacker.repo.open import Repository
from restore_faults import hooked, make_canary, state
from restore_rig import CHUNK_BYTES, Planted, Told, new_repository, plant

DIRECTORY = stat.S_IFDIR | 0o755
LINK = stat.S_IFLNK | 0o777
OWN = EntryExtras((Xattr(b"user.colour", b"blue"),))
# The canary has the same names, so that an escape finds something to overwrite.
TREE = [
    (b"", [Planted(b"a", DIRECTORY)]),
    (b"a", [Planted(b"file", chunks=(b"new",), extras=OWN), Planted(b"inside", DIRECTORY)]),
    (
        b"a/inside",
        [
            Planted(b"empty"),
            Planted(b"fifo", stat.S_IFIFO | 0o600),
            Planted(b"file", chunks=(b"1" * CHUNK_BYTES, b"2")),
            Planted(b"link", LINK, link=b"file"),
            Planted(b"one", chunks=(b"x",), nlink=2, inode=5),
            Planted(b"two", chunks=(b"x",), nlink=2, inode=5),
        ],
    ),
]
SWAPPED = ["a", "a/inside"]


def swap(target: Path, directory: str, canary: Path) -> bool:
    """Put a symlink to the canary where the directory is, if it is there."""
    path = target / directory
    if not path.is_dir() or path.is_symlink():
        return False
    os.rename(path, path.with_name(path.name + ".away"))
    os.symlink(canary if directory == "a" else canary / "inside", path)
    return True


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "repository")


@pytest.fixture
def plan(tmp_path: Path, repository: Repository) -> RestorePlan:
    make_canary(tmp_path / "around")
    snapshot = plant(repository, TREE)
    return plan_restore(repository, snapshot, (), tmp_path / "around/target", RestoreOptions())


def calls_of(repository: Repository, plan: RestorePlan) -> int:
    """How many system calls a restore makes when nobody interferes."""
    with hooked(lambda _, __: None) as stand_in:
        execute_restore(repository, plan, Told())
    shutil.rmtree(plan.target)
    return stand_in.calls


def escapes_and_swaps(repository: Repository, plan: RestorePlan, directory: str) -> tuple[int, int]:
    """Restore once for each call, with a swap before it; count what happened."""
    around = plan.target.parent
    calls = calls_of(repository, plan)
    escapes = swaps = 0
    for number in range(1, calls + 1):
        shutil.rmtree(around / "canary")
        make_canary(around)
        before = state(around, leave_out=plan.target)
        done: list[bool] = []

        def hook(call: int, _: str, at: int = number, done: list[bool] = done) -> None:
            if call >= at and not any(done):
                done.append(swap(plan.target, directory, around / "canary"))

        with hooked(hook), suppress(BitBackerError):
            execute_restore(repository, plan, Told())
        swaps += any(done)
        escapes += state(around, leave_out=plan.target) != before
        shutil.rmtree(plan.target)
    print(f"{swaps} swaps of {directory} at {calls} calls, {escapes} escapes")
    return escapes, swaps


@pytest.mark.parametrize("directory", SWAPPED)
def test_no_swap_at_any_call_leads_outside(repository: Repository, plan: RestorePlan, directory: str) -> None:
    escapes, swaps = escapes_and_swaps(repository, plan, directory)
    assert escapes == 0
    assert swaps > 30


@pytest.mark.parametrize("directory", SWAPPED)
def test_the_same_swaps_do_lead_outside_when_symlinks_are_followed(
    repository: Repository, plan: RestorePlan, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = target_directories.OPEN_DIRECTORY & ~os.O_NOFOLLOW
    monkeypatch.setattr(target_directories, "OPEN_DIRECTORY", following)
    escapes, _ = escapes_and_swaps(repository, plan, directory)
    assert escapes > 0


def test_what_was_open_before_a_swap_is_restored_into_the_directory_that_was_meant(
    repository: Repository, plan: RestorePlan
) -> None:
    canary = plan.target.parent / "canary"
    done: list[bool] = []

    def hook(_: int, name: str) -> None:
        if name == "pwrite" and not any(done):
            done.append(swap(plan.target, "a", canary))

    with hooked(hook), suppress(BitBackerError):
        execute_restore(repository, plan, Told())
    assert (plan.target / "a.away/inside/file").read_bytes() == b"1" * CHUNK_BYTES + b"2"


def test_the_same_swaps_do_lead_a_writer_outside_that_looks_before_it_opens(
    tmp_path: Path, plan: RestorePlan
) -> None:
    before = state(tmp_path / "around", leave_out=plan.target)
    escapes = 0
    for number in range(1, 40):
        shutil.rmtree(plan.target, ignore_errors=True)
        shutil.rmtree(tmp_path / "around/canary")
        make_canary(tmp_path / "around")
        before = state(tmp_path / "around", leave_out=plan.target)
        _write_after_a_look(plan.target, tmp_path / "around/canary", number)
        escapes += state(tmp_path / "around", leave_out=plan.target) != before
    print(f"{escapes} escapes of 39 swaps")
    assert escapes > 0


def _write_after_a_look(target: Path, canary: Path, swap_at: int) -> None:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        if calls == swap_at:
            swap(target, "a", canary)

    target.mkdir()
    for directory, entries in TREE:
        for entry in entries:
            path = target / os.fsdecode(directory) / os.fsdecode(entry.name)
            step()
            with suppress(OSError):
                if any(parent.is_symlink() for parent in path.parents if parent != target.parent):
                    continue
                step()
                if stat.S_ISDIR(entry.mode):
                    path.mkdir()
                elif stat.S_ISREG(entry.mode):
                    path.write_bytes(b"".join(entry.chunks))
