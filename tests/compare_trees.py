"""An independent judge of whether two trees are the same.

It shares no code with BitBacker.  `differences` names everything that is not equal, in words; access
times and change times are not compared, because nobody can restore them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK_BYTES = 512
_STEP_BYTES = 1 << 20
# How differently two file systems may lay out the same holes.
_SPARSE_SLACK_BYTES = 1 << 18
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@dataclass(slots=True)
class _Side:
    """One of the trees: the directory that is open, and which names share an inode so far."""

    here: int
    names_of_inode: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)

    def enter(self, name: bytes) -> None:
        self._move(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.here))

    def leave(self) -> None:
        self._move(os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.here))

    def _move(self, descriptor: int) -> None:
        os.close(self.here)
        self.here = descriptor

    def names(self, *, ignore_sockets: bool) -> list[bytes]:
        names = sorted(os.fsencode(name) for name in os.listdir(self.here))
        if ignore_sockets:
            return [name for name in names if not stat.S_ISSOCK(self.status(name).st_mode)]
        return names

    def status(self, name: bytes) -> os.stat_result:
        return os.stat(name, dir_fd=self.here, follow_symlinks=False)

    def note_links(self, path: bytes, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            self.names_of_inode.setdefault((status.st_dev, status.st_ino), []).append(path)

    def attributes(self, name: bytes) -> dict[str, bytes]:
        path = f"/proc/self/fd/{self.here}/".encode() + name
        try:
            names = os.listxattr(path, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return {}
            raise
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def differences(first: Path, second: Path, *, ignore_sockets: bool = False) -> list[str]:
    """Everything in which the two trees differ, the roots themselves included."""
    found: list[str] = []
    sides = _Side(_open_root(first)), _Side(_open_root(second))
    try:
        found.extend(_compare_entry(b"", b".", *sides))
        # One entry a level: the names of common subdirectories that are still to come, last first.
        path: list[bytes] = []
        waiting = [_compare_directory(b"", *sides, found, ignore_sockets=ignore_sockets)]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                if path:
                    path.pop()
                    for side in sides:
                        side.leave()
                continue
            name = waiting[-1].pop()
            path.append(name)
            for side in sides:
                side.enter(name)
            here = b"/".join(path)
            waiting.append(_compare_directory(here, *sides, found, ignore_sockets=ignore_sockets))
    finally:
        for side in sides:
            os.close(side.here)
    found.extend(_compare_links(*sides))
    return found


def _open_root(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _compare_directory(
    path: bytes, a: _Side, b: _Side, found: list[str], *, ignore_sockets: bool
) -> list[bytes]:
    """Compare the entries of the open directories; return the common subdirectories, last first."""
    names_a, names_b = a.names(ignore_sockets=ignore_sockets), b.names(ignore_sockets=ignore_sockets)
    prefix = path + b"/" if path else b""
    found.extend(f"{_show(prefix + name)}: only in the first" for name in sorted({*names_a} - {*names_b}))
    found.extend(f"{_show(prefix + name)}: only in the second" for name in sorted({*names_b} - {*names_a}))
    directories = []
    for name in sorted({*names_a} & {*names_b}):
        found.extend(_compare_entry(prefix + name, name, a, b))
        if all(stat.S_ISDIR(side.status(name).st_mode) for side in (a, b)):
            directories.append(name)
    return directories[::-1]


def _compare_entry(path: bytes, name: bytes, a: _Side, b: _Side) -> Iterator[str]:
    """What differs between two entries of one name."""
    one, two = a.status(name), b.status(name)
    shown = _show(path)
    kind, other_kind = _KINDS[stat.S_IFMT(one.st_mode)], _KINDS[stat.S_IFMT(two.st_mode)]
    if kind != other_kind:
        yield f"{shown}: {kind} != {other_kind}"
        return
    a.note_links(path, one)
    b.note_links(path, two)
    values: list[tuple[str, object, object]] = [
        ("mode", oct(one.st_mode), oct(two.st_mode)),
        ("owner", (one.st_uid, one.st_gid), (two.st_uid, two.st_gid)),
        ("mtime", one.st_mtime_ns, two.st_mtime_ns),
        ("attributes", a.attributes(name), b.attributes(name)),
    ]
    if kind != "directory":
        values.append(("link count", one.st_nlink, two.st_nlink))
    if kind == "symlink":
        values.append(("target", os.readlink(name, dir_fd=a.here), os.readlink(name, dir_fd=b.here)))
    if kind.endswith("device"):
        values.append(("device number", one.st_rdev, two.st_rdev))
    if kind == "file":
        values.append(("size", one.st_size, two.st_size))
    yield from (f"{shown}: {what}: {x!r} != {y!r}" for what, x, y in values if x != y)
    if kind == "file" and one.st_size == two.st_size:
        yield from _compare_files(shown, name, a, b)


def _compare_files(shown: str, name: bytes, a: _Side, b: _Side) -> Iterator[str]:
    files = [os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=side.here) for side in (a, b)]
    try:
        offset = _first_difference(*files)
        if offset is not None:
            yield f"{shown}: content differs at offset {offset}"
        sizes = [os.fstat(file).st_blocks * _BLOCK_BYTES for file in files]
        is_sparse = min(sizes) + _SPARSE_SLACK_BYTES < os.fstat(files[0]).st_size
        if is_sparse and abs(sizes[0] - sizes[1]) > max(_SPARSE_SLACK_BYTES, max(sizes) // 8):
            yield f"{shown}: allocated bytes: {sizes[0]} != {sizes[1]}"
    finally:
        for file in files:
            os.close(file)


def _first_difference(one: int, two: int) -> int | None:
    """The first block where the contents differ; where both have holes, nothing is read."""
    for start, end in sorted({*_data_ranges(one), *_data_ranges(two)}):
        for offset in range(start, end, _STEP_BYTES):
            size = min(_STEP_BYTES, end - offset)
            if os.pread(one, size, offset) != os.pread(two, size, offset):
                return offset
    return None


def _data_ranges(file: int) -> Iterator[tuple[int, int]]:
    end, size = 0, os.fstat(file).st_size
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


def _compare_links(a: _Side, b: _Side) -> Iterator[str]:
    """Which names belong together, as sets of names."""
    groups = [
        {tuple(sorted(names)) for names in side.names_of_inode.values() if len(names) > 1} for side in (a, b)
    ]
    for group in sorted(groups[0] - groups[1]):
        yield f"{', '.join(map(_show, group))}: one file only in the first"
    for group in sorted(groups[1] - groups[0]):
        yield f"{', '.join(map(_show, group))}: one file only in the second"


def _show(path: bytes) -> str:
    shown = ascii(path)[1:] if path else "'the root'"
    return shown if len(shown) < 200 else f"{shown[:90]}...{shown[-90:]}"
