"""A target that is full, files that are too large for it, and a process that may not do everything.

Run as a program, this file restores as somebody who is not root, and prints what came of it.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitbacker.errors import TargetError
from bitbacker.format.extras import EntryExtras, Xattr
from bitbacker.repo.open import Repository
from compare_trees import differences
from restore_faults import hooked
from restore_rig import CHUNK_BYTES, Planted, Told, new_repository, plant, restore

NOBODY = 65534
DIRECTORY = stat.S_IFDIR | 0o755
OWN, FOREIGN = {"uid": NOBODY, "gid": NOBODY}, {"uid": 1234, "gid": 4321}
TRUSTED = EntryExtras((Xattr(b"trusted.secret", b"1"), Xattr(b"user.colour", b"blue")))
TREE = [
    (
        b"",
        [
            Planted(b"closed", stat.S_IFDIR | 0o000, **OWN),
            Planted(b"device", stat.S_IFCHR | 0o600, size=os.makedev(1, 3), **OWN),
            Planted(b"foreign", 0o106755, (b"not mine",), **FOREIGN),
            Planted(b"foreign-link", stat.S_IFLNK | 0o777, link=b"foreign", **FOREIGN),
            Planted(b"large", chunks=(b"1" * CHUNK_BYTES, b"2" * CHUNK_BYTES, b"3"), **OWN),
            Planted(b"mine", 0o104755, (b"mine",), **OWN),
            Planted(b"read-only", stat.S_IFDIR | 0o555, **FOREIGN),
            Planted(b"secret", 0o100400, (b"secret",), extras=TRUSTED, **OWN),
        ],
    ),
    (b"closed", [Planted(b"inside", chunks=(b"in a closed directory",), **OWN)]),
    (b"read-only", [Planted(b"inside", chunks=(b"in a read-only directory",), **FOREIGN)]),
]


class Failing:
    """Lets calls of one kind fail, `times` of them, once the target has been opened and probed."""

    def __init__(self, call: str, number: int, times: int = 1_000_000) -> None:
        self.call = call
        self.number = number
        self.times = times
        self.probed = False

    def __call__(self, _: int, name: str) -> None:
        # The first file of all only tells the target who owns new files, and is removed at once.
        self.probed |= name == "unlink"
        if name == self.call and self.probed and self.times:
            self.times -= 1
            raise OSError(self.number, os.strerror(self.number))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "repository")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def temporary_names(target: Path) -> list[str]:
    return [path.name for path in target.rglob("*") if "bitbacker" in path.name]


def test_a_full_disk_ends_the_restore_which_can_be_continued_when_there_is_room(
    tmp_path: Path, repository: Repository, small_disk: Path
) -> None:
    chunks = [bytes([number]) * CHUNK_BYTES for number in range(120)]
    files = [Planted(b"%02d" % number, chunks=(chunks[number], chunks[-1 - number])) for number in range(60)]
    snapshot = plant(repository, [(b"", files)])
    target = small_disk / "target"
    with pytest.raises(TargetError, match=r"target takes no more: it is full"):
        restore(repository, snapshot, target)
    assert temporary_names(target) == []
    whole = os.listdir(target)
    assert 0 < len(whole) < 60
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    result = restore(repository, snapshot, target, resume=True)
    assert result.skipped == len(whole)
    restore(repository, snapshot, tmp_path / "whole")
    found = differences(tmp_path / "whole", target)
    assert [text for text in found if not text.startswith("'the root'")] == []


@pytest.mark.parametrize("call", ["open", "pwrite", "mkdir", "rename", "symlink"])
def test_a_full_disk_says_so_at_any_kind_of_call(tmp_path: Path, repository: Repository, call: str) -> None:
    entries = [
        Planted(b"a", DIRECTORY),
        Planted(b"b", chunks=(b"b",)),
        Planted(b"c", stat.S_IFLNK | 0o777, link=b"b"),
    ]
    snapshot = plant(repository, [(b"", entries)])

    with hooked(Failing(call, errno.ENOSPC)), pytest.raises(TargetError, match="it is full"):
        restore(repository, snapshot, tmp_path / "target")
    assert temporary_names(tmp_path / "target") == []


@pytest.mark.parametrize("call", ["open", "pwrite", "rename", "utime"])
def test_an_error_of_one_file_costs_that_file_only(tmp_path: Path, repository: Repository, call: str) -> None:
    files = [Planted(b"%d" % number, chunks=(b"%d" % number,)) for number in range(5)]
    snapshot = plant(repository, [(b"", files)])
    hook = Failing(call, errno.EIO, times=1)
    told = Told()
    with hooked(hook):
        result = restore(repository, snapshot, tmp_path / "target", told=told)
    assert (result.files, result.problems, hook.times) == (4, 1, 0)
    ((path, text),) = told.problems
    assert text == "cannot be restored: Input/output error"
    assert {*os.listdir(tmp_path / "target")} == {f"{number}" for number in range(5)} - {os.fsdecode(path)}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that everybody can get to."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path).resolve()


def as_somebody_else(folder: Path, scenario: str) -> dict[str, Any]:
    """Run this file as a program, without privileges, in a directory of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, scenario]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_who_is_not_root_restores_all_but_what_only_root_may_make(folder: Path) -> None:
    told = as_somebody_else(folder, "restore")
    target = folder / "target"
    me = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert told["problems"] == [["device", "cannot be restored: Operation not permitted"]]
    assert sorted(told["notes"]) == [
        "extended attribute trusted.secret is not restored where only root may set it",
        "owner is not restored where only root may set it",
        "set-user-id and set-group-id bits are left out where the owner is another",
    ]
    assert (target / "foreign").read_bytes() == b"not mine"
    assert (target / "read-only/inside").read_bytes() == b"in a read-only directory"
    modes = {path.name: oct(stat.S_IMODE(path.lstat().st_mode)) for path in target.iterdir()}
    expected = {"closed": "0o0", "foreign": "0o755", "read-only": "0o555", "secret": "0o400"}
    if me == NOBODY:
        expected["mine"] = "0o4755"
    assert {name: modes[name] for name in expected} == expected
    assert {path.lstat().st_uid for path in target.iterdir()} == {me}
    assert os.getxattr(target / "secret", "user.colour") == b"blue"


def test_who_is_not_root_continues_even_in_directories_that_were_closed(folder: Path) -> None:
    told = as_somebody_else(folder, "continue")
    target = folder / "target"
    assert [path for path, _ in told["problems"]] == ["device"]
    assert stat.S_IMODE((target / "closed").stat().st_mode) == 0
    os.chmod(target / "closed", 0o700)
    assert (target / "closed/inside").read_bytes() == b"in a closed directory"
    assert (target / "read-only/inside").read_bytes() == b"in a read-only directory"


def test_a_file_that_is_too_large_for_the_file_system_costs_that_file_only(folder: Path) -> None:
    told = as_somebody_else(folder, "limit")
    assert ["large", "cannot be restored: File too large"] in told["problems"]
    assert [path for path, _ in told["problems"]] == ["device", "large"]
    names = {path.name for path in (folder / "target").iterdir()}
    assert names == {entry.name.decode() for entry in TREE[0][1]} - {"device", "large"}


def _program(scenario: str) -> None:
    if os.geteuid() == 0:
        # Whoever we become may not be able to read what Python still has to import.
        root = new_repository(Path("root"))
        restore(root, plant(root, TREE[:1]), Path("warm"))
        os.chown(".", NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    repository = new_repository(Path("repository"))
    snapshot = plant(repository, TREE)
    if scenario == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK_BYTES, CHUNK_BYTES))
    told = Told()
    target = Path("target")
    restore(repository, snapshot, target, told=told)
    if scenario == "continue":
        os.chmod(target / "read-only", 0o700)
        os.unlink(target / "read-only/inside")
        os.chmod(target / "read-only", 0o555)
        told = Told()
        restore(repository, snapshot, target, resume=True, told=told)
    problems = [(os.fsdecode(path), text) for path, text in told.problems]
    print(json.dumps({"problems": problems, "notes": told.notes}))


if __name__ == "__main__":
    _program(sys.argv[1])
