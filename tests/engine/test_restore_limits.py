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
    chunks = [bytes([number]) * CHUNK_BYTES for number in range(60)]
    files = [Planted(b"%02d" % number, chunks=(chunks[number], chunks[-1])) for number in range(60)]
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

    def full(number: int, name: str) -> None:
        # The first file of all only tells the target who owns new files.
        if name == call and number > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with hooked(full), pytest.raises(TargetError, match="it is full"):
        restore(repository, snapshot, tmp_path / "target")
    assert temporary_names(tmp_path / "target") == []


@pytest.mark.parametrize("call", ["open", "pwrite", "rename", "utime"])
def test_an_error_of_one_file_costs_that_file_only(tmp_path: Path, repository: Repository, call: str) -> None:
    files = [Planted(b"%d" % number, chunks=(b"%d" % number,)) for number in range(5)]
    snapshot = plant(repository, [(b"", files)])
    failures: list[int] = []

    def fail_once(number: int, name: str) -> None:
        if name == call and number > 20 and not failures:
            failures.append(number)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    told = Told()
    with hooked(fail_once):
        result = restore(repository, snapshot, tmp_path / "target", told=told)
    assert (result.files, result.problems, len(failures)) == (4, 1, 1)
    ((path, text),) = told.problems
    assert text == "cannot be restored: Input/output error"
    assert {*os.listdir(tmp_path / "target")} == {f"{number}" for number in range(5)} - {os.fsdecode(path)}


def as_somebody_else(folder: Path, scenario: str) -> dict[str, Any]:
    """Run this file as a program, without privileges, in a directory of its own."""
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, scenario]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_who_is_not_root_restores_all_but_what_only_root_may_make(tmp_path: Path) -> None:
    told = as_somebody_else(tmp_path / "folder", "restore")
    target = tmp_path / "folder/target"
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


def test_who_is_not_root_continues_even_in_directories_that_were_closed(tmp_path: Path) -> None:
    told = as_somebody_else(tmp_path / "folder", "continue")
    target = tmp_path / "folder/target"
    assert [path for path, _ in told["problems"]] == ["device"]
    assert stat.S_IMODE((target / "closed").stat().st_mode) == 0
    os.chmod(target / "closed", 0o700)
    assert (target / "closed/inside").read_bytes() == b"in a closed directory"
    assert (target / "read-only/inside").read_bytes() == b"in a read-only directory"


def test_a_file_that_is_too_large_for_the_file_system_costs_that_file_only(tmp_path: Path) -> None:
    told = as_somebody_else(tmp_path / "folder", "limit")
    assert ["large", "cannot be restored: File too large"] in told["problems"]
    assert [path for path, _ in told["problems"]] == ["device", "large"]
    names = {path.name for path in (tmp_path / "folder/target").iterdir()}
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
    # Relative paths, because the way to this directory may be closed to us.
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
