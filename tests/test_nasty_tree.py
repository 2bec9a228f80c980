"""The nasty tree is nasty, and the judge of trees sees every kind of difference."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import nasty_tree
from compare_trees import differences

OPEN_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 7, 0xFFFF_FFFF if tag != 2 else 77) for tag in (1, 2, 4, 16, 32)
)
ALL_NAMES = {bytes([value]) for value in range(1, 256)} - {b"/"}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "nasty"
    root.mkdir()
    yield root
    nasty_tree.destroy(root)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A small tree with one entry of each kind, and a true copy."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "directory/below").mkdir(parents=True)
    (first / "file").write_bytes(b"content")
    (first / "directory/below/large").write_bytes(os.urandom(3_000_000))
    (first / "link").symlink_to("file")
    (first / "one name").write_bytes(b"two names")
    (first / "directory/another name").hardlink_to(first / "one name")
    (first / "twin").write_bytes(b"two names")
    os.mkfifo(first / "fifo")
    with (first / "sparse").open("wb") as file:
        file.truncate(4 << 20)
        file.seek(2 << 20)
        file.write(b"in the middle")
    os.setxattr(first / "file", "user.colour", b"red")
    os.setxattr(first / "file", "system.posix_acl_access", OPEN_ACL)
    subprocess.run(["cp", "-a", "--", str(first), str(second)], check=True)
    return first, second


def entries(root: Path) -> dict[bytes, os.stat_result]:
    """Every entry by path, found without long paths and without recursion."""
    found: dict[bytes, os.stat_result] = {}
    waiting = [(b"", os.open(root, os.O_RDONLY))]
    while waiting:
        path, directory = waiting.pop()
        for name in map(os.fsencode, os.listdir(directory)):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            found[path + name] = status
            if stat.S_ISDIR(status.st_mode):
                waiting.append((path + name + b"/", os.open(name, os.O_RDONLY, dir_fd=directory)))
        os.close(directory)
    return found


def test_the_nasty_tree_has_everything(root: Path, seed: int) -> None:
    made = nasty_tree.make(root, seed, entries=1234)
    print("left out:", made.left_out)
    found = entries(root)
    kinds = {stat.S_IFMT(status.st_mode) for status in found.values()}
    names = {path.rpartition(b"/")[2] for path in found}
    expected = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK}
    assert expected <= kinds
    assert max(map(len, found)) > 4096
    assert max(path.count(b"/") for path in found) > 1000
    assert max(map(len, names)) == 255
    assert {byte for name in names for byte in name} == {byte[0] for byte in ALL_NAMES}
    assert sum(path.startswith(b"directories/large/") for path in found) == 1234
    assert {status.st_mtime_ns for status in found.values()} >= {*nasty_tree.STAMPS_NS}
    assert max(status.st_size for status in found.values()) == nasty_tree.TIB
    assert sum(status.st_blocks for status in found.values()) * 512 < 200 * nasty_tree.MIB
    if os.geteuid() == 0:
        assert made.left_out == []
        assert {stat.S_IFCHR, stat.S_IFBLK} <= kinds
        assert found[b"owners/4000000000-4294967294"].st_uid == 4_000_000_000


def test_the_same_seed_makes_the_same_tree(tmp_path: Path, seed: int) -> None:
    roots = tmp_path / "first", tmp_path / "second"
    for root in roots:
        root.mkdir()
        nasty_tree.make(root, seed, entries=10, levels=100)
        # Only times that the tree does not set itself may differ.
        _set_times(root)
    try:
        assert differences(*roots) == []
    finally:
        for root in roots:
            nasty_tree.destroy(root)


def _set_times(root: Path) -> None:
    directories = [os.open(root, os.O_RDONLY)]
    while directories:
        directory = directories.pop()
        for name in os.listdir(directory):
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                directories.append(os.open(name, os.O_RDONLY, dir_fd=directory))
            os.utime(name, ns=(0, 0), dir_fd=directory, follow_symlinks=False)
        os.utime(directory, ns=(0, 0))
        os.close(directory)


def test_another_seed_makes_another_tree(tmp_path: Path, seed: int) -> None:
    roots = tmp_path / "first", tmp_path / "second"
    for number, root in enumerate(roots):
        root.mkdir()
        nasty_tree.make(root, seed + number, entries=10, levels=100)
    try:
        assert any(line.startswith("'branches/") for line in differences(*roots))
    finally:
        for root in roots:
            nasty_tree.destroy(root)


def test_a_tree_is_equal_to_itself(root: Path, seed: int) -> None:
    nasty_tree.make(root, seed)
    assert differences(root, root) == []


def test_a_true_copy_has_no_differences(pair: tuple[Path, Path]) -> None:
    assert differences(*pair) == []


def _append(path: Path) -> None:
    status = path.stat()
    with path.open("ab") as file:
        file.write(b"!")
    os.utime(path, ns=(0, status.st_mtime_ns))


def _flip_last_byte(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(0, status.st_mtime_ns))


def _write_into_hole(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"\1")
    os.utime(path, ns=(0, status.st_mtime_ns))


def _fill_holes(path: Path) -> None:
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data)
    os.utime(path, ns=(0, status.st_mtime_ns))


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of an entry, without its directory telling."""
    above = path.parent.stat()
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    make(path)
    os.utime(path.parent, ns=(0, above.st_mtime_ns))


def _without_telling(directory: Path, act: Callable[[], object]) -> None:
    status = directory.stat()
    act()
    os.utime(directory, ns=(0, status.st_mtime_ns))


def _relink(copy: Path) -> None:
    """The second name now belongs to another file of equal content and metadata."""
    status = (copy / "one name").stat()
    os.utime(copy / "twin", ns=(0, status.st_mtime_ns))
    _replace(copy / "directory/another name", lambda path: path.hardlink_to(copy / "twin"))


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(path.parent, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda copy: _without_telling(copy, (copy / "file").unlink), "'file': only in the first"),
    "extra": (
        lambda copy: _without_telling(copy, (copy / "new").touch),
        "'new': only in the second",
    ),
    "empty directory": (
        lambda copy: _without_telling(copy, (copy / "new").mkdir),
        "'new': only in the second",
    ),
    "type": (
        lambda copy: _replace(copy / "fifo", lambda path: path.touch()),
        "'fifo': FIFO != file",
    ),
    "link for directory": (
        lambda copy: _replace(copy / "directory", lambda path: path.symlink_to("elsewhere")),
        "'directory': directory != symlink",
    ),
    "size": (lambda copy: _append(copy / "file"), "'file': size: 7 != 8"),
    "content": (lambda copy: _flip_last_byte(copy / "file"), "'file': content differs at offset 0"),
    "content at the end": (
        lambda copy: _flip_last_byte(copy / "directory/below/large"),
        "'directory/below/large': content differs at offset 2097152",
    ),
    "data in a hole": (lambda copy: _write_into_hole(copy / "sparse"), "'sparse': content differs at offset"),
    "holes filled": (lambda copy: _fill_holes(copy / "sparse"), "'sparse': allocated bytes:"),
    "mode": (lambda copy: (copy / "file").chmod(0o4711), "'file': mode: "),
    "mode of a directory": (lambda copy: (copy / "directory").chmod(0o1777), "'directory': mode: "),
    "mode of the root": (lambda copy: copy.chmod(0o700), "'the root': mode: "),
    "mtime": (lambda copy: os.utime(copy / "file", ns=(0, 1)), "'file': mtime: "),
    "one nanosecond": (
        lambda copy: os.utime(copy / "directory", ns=(0, (copy / "directory").stat().st_mtime_ns + 1)),
        "'directory': mtime: ",
    ),
    "mtime of a symlink": (
        lambda copy: os.utime(copy / "link", ns=(0, 1), follow_symlinks=False),
        "'link': mtime: ",
    ),
    "target": (
        lambda copy: _replace(copy / "link", lambda path: path.symlink_to("filé")),
        "'link': target: ",
    ),
    "attribute value": (
        lambda copy: os.setxattr(copy / "file", "user.colour", b"blue"),
        "'file': attributes: ",
    ),
    "attribute missing": (
        lambda copy: os.removexattr(copy / "file", "user.colour"),
        "'file': attributes: ",
    ),
    "empty attribute": (
        lambda copy: os.setxattr(copy / "directory", "user.empty", b""),
        "'directory': attributes: ",
    ),
    "access list": (
        lambda copy: os.removexattr(copy / "file", "system.posix_acl_access"),
        "'file': attributes: ",
    ),
    "link broken": (
        lambda copy: _replace(copy / "directory/another name", lambda path: path.write_bytes(b"two names")),
        "'one name': link count: 2 != 1",
    ),
    "linked to another": (_relink, "'directory/another name', 'twin': one file only in the second"),
    "socket": (
        lambda copy: _without_telling(copy, lambda: _socket(copy / "socket")),
        "'socket': only in the second",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_difference_is_found(pair: tuple[Path, Path], fault: str) -> None:
    first, second = pair
    plant, expected = FAULTS[fault]
    plant(second)
    found = differences(first, second)
    assert [line for line in found if line.startswith(expected)], found
    mirrored = differences(second, first)
    assert len(mirrored) == len(found), mirrored


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners and make devices")
def test_owners_and_device_numbers_are_compared(pair: tuple[Path, Path]) -> None:
    first, second = pair
    os.chown(second / "link", 5, 6, follow_symlinks=False)
    for root, minor in ((first, 3), (second, 5)):
        _without_telling(root, partial(os.mknod, root / "null", stat.S_IFCHR, os.makedev(1, minor)))
        os.utime(root / "null", ns=(0, 0))
    expected = ["'link': owner: (0, 0) != (5, 6)", "'null': device number: 259 != 261"]
    assert differences(first, second) == expected


def test_sockets_are_ignored_when_asked(pair: tuple[Path, Path]) -> None:
    first, second = pair
    _without_telling(second, lambda: _socket(second / "socket"))
    assert differences(first, second, ignore_sockets=True) == []
