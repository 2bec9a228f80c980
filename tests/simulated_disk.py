"""Stands between a module and `os`: fails calls, kills the process, and knows what a power cut may leave.

Every call but fsync is done on the real file system.  Beside it the disk keeps what has reached stable
storage, by the weakest rules that POSIX allows:

* what was written to a file since its last fsync may be lost, in part or whole, or read as zeros;
* of what was done to the entries of a directory since its last fsync any subset may be lost, and a
  rename between directories is two changes that come apart;
* fsync of a file says nothing of its name, fsync of a directory nothing of its own name.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_READING = {"open", "close", "read", "fstat", "listdir", "scandir", "flock"}

State = dict[str, bytes]
"""Files by path below the base, as the next boot finds them."""


class Killed(BaseException):
    """The process is killed: none of its code has any effect from now on."""


@dataclass(eq=False)
class File:
    """What was written, and how much of it is on stable storage."""

    data: bytes = b""
    durable: bytes = b""

    def sync(self) -> None:
        self.durable = self.data

    def outcomes(self) -> set[bytes]:
        """What it may hold after a power cut."""
        unsure = len(self.data) - len(self.durable)
        zeros = self.durable + bytes(unsure)
        return {self.durable, self.data[: len(self.data) - unsure // 2], zeros, self.data}


@dataclass(eq=False)
class Directory:
    """Its entries as they are, as they surely are on stable storage, and what happened in between."""

    entries: dict[str, File | Directory] = field(default_factory=dict)
    durable: dict[str, File | Directory] = field(default_factory=dict)
    changes: list[tuple[str, File | Directory | None]] = field(default_factory=list)

    def change(self, name: str, node: File | Directory | None) -> None:
        self.changes.append((name, node))
        _apply(self.entries, [(name, node)])

    def sync(self) -> None:
        self.durable, self.changes = dict(self.entries), []

    def outcomes(self) -> Iterator[dict[str, File | Directory]]:
        """Each set of entries that it may have after a power cut, once."""
        seen = set()
        for kept in itertools.product((False, True), repeat=len(self.changes)):
            entries = dict(self.durable)
            _apply(entries, itertools.compress(self.changes, kept))
            key = frozenset((name, id(node)) for name, node in entries.items())
            if key not in seen:
                seen.add(key)
                yield entries


def _apply(entries: dict[str, File | Directory], changes: Any) -> None:
    for name, node in changes:
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def states(directory: Directory, hidden: str, prefix: str = "") -> Iterator[State]:
    """Every state that a power cut now may leave below `directory`, without directories named `hidden`."""
    for entries in directory.outcomes():
        branches = [
            [*states(node, hidden, f"{prefix}{name}/")]
            if isinstance(node, Directory)
            else [{prefix + name: data} for data in node.outcomes()]
            for name, node in entries.items()
            if name != hidden
        ]
        for chosen in itertools.product(*branches):
            yield {path: data for part in chosen for path, data in part.items()}


class SimulatedDisk:
    """Looks like the modules `os` and `fcntl`.  `base` is an empty directory that is durable itself.

    One process and one thread at a time.  `inspect` is called before every call: together with the end
    that is every moment for a power cut.  `version` counts the calls that changed something.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = Directory()
        self.calls: list[str] = []
        self.version = 0
        self.short_writes = False
        self.sync_file = True
        self.sync_directory: Callable[[Directory], bool] = lambda _: True
        self.inspect: Callable[[], None] = lambda: None
        self._fail_at = 0
        self._error: Callable[[], BaseException] = Killed
        self._lasting = False
        self._open: dict[int, File | Directory | None] = {}

    @contextmanager
    def under(self, *modules: Any) -> Iterator[SimulatedDisk]:
        """Put the disk under these modules, in place of their `os` and `fcntl`."""
        with pytest.MonkeyPatch.context() as patch:
            for module in modules:
                for name in {"os", "fcntl"} & set(vars(module)):
                    patch.setattr(module, name, self)
            yield self

    def fail(self, at: int, error: Callable[[], BaseException], *, lasting: bool = False) -> None:
        """Let call number `at`, counted from now, raise, and with `lasting` all later ones, too."""
        self.calls, self._fail_at, self._error, self._lasting = [], at, error, lasting

    def heal(self) -> None:
        """No more failures."""
        self.fail(0, Killed)

    @property
    def failed(self) -> bool:
        """Whether a call has been made to fail since `fail`."""
        return 0 < self._fail_at <= len(self.calls)

    def states(self) -> Iterator[State]:
        """What a power cut now may leave, apart from temporary files, which would multiply it."""
        return states(self.root, hidden=".tmp")

    def __getattr__(self, name: str) -> Any:
        """Constants and functions that touch no disk."""
        return getattr(os, name) if hasattr(os, name) else getattr(fcntl, name)

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        fd: int = self._call("open", os.open, path, flags, mode, dir_fd=dir_fd)
        parent, name = self._locate(path, dir_fd)
        node = parent and (parent.entries.get(name) if name else parent)
        if parent and node is None:
            node = File()
            parent.change(name, node)
            self.version += 1
        self._open[fd] = node
        return fd

    def close(self, fd: int) -> None:
        # Linux closes the descriptor, whatever close returns; and so it does for the dead.
        self._open.pop(fd, None)
        with suppress(OSError):
            os.close(fd)
        self._call("close", lambda: None)

    def read(self, fd: int, size: int) -> bytes:
        data: bytes = self._call("read", os.read, fd, size)
        return data

    def write(self, fd: int, data: memoryview) -> int:
        if self.short_writes:
            data = data[: (len(data) + 1) // 2]
        size: int = self._call("write", os.write, fd, data)
        node = self._open[fd]
        assert isinstance(node, File)
        node.data += bytes(data[:size])
        return size

    def fsync(self, fd: int) -> None:
        # Nobody pulls the plug for real, so the real disk need not turn.
        self._call("fsync", lambda: None)
        node = self._open[fd]
        if isinstance(node, File) and self.sync_file:
            node.sync()
        if isinstance(node, Directory) and self.sync_directory(node):
            node.sync()

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._call("link", os.link, source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._directory(dst_dir_fd).change(target, self._directory(src_dir_fd).entries[source])

    def replace(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._call("replace", os.replace, source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._directory(dst_dir_fd).change(target, self._directory(src_dir_fd).entries[source])
        self._directory(src_dir_fd).change(source, None)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        self._call("unlink", os.unlink, name, dir_fd=dir_fd)
        self._directory(dir_fd).change(name, None)

    def mkdir(self, path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._call("mkdir", os.mkdir, path, mode, dir_fd=dir_fd)
        parent, name = self._locate(path, dir_fd)
        if parent:
            parent.change(name, Directory())

    def makedirs(self, path: str, mode: int = 0o777, *, exist_ok: bool = False) -> None:
        """As os.makedirs does it, so that every step counts."""
        assert exist_ok
        above = os.path.dirname(path)
        if not os.path.isdir(above):
            self.makedirs(above, exist_ok=True)
        with suppress(FileExistsError):
            self.mkdir(path, mode)

    def fstat(self, fd: int) -> os.stat_result:
        status: os.stat_result = self._call("fstat", os.fstat, fd)
        return status

    def listdir(self, fd: int) -> list[str]:
        names: list[str] = self._call("listdir", os.listdir, fd)
        return names

    def scandir(self, fd: int) -> Any:
        return self._call("scandir", os.scandir, fd)

    def flock(self, fd: int, operation: int) -> None:
        self._call("flock", fcntl.flock, fd, operation)

    def _call(self, name: str, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.inspect()
        self.calls.append(name)
        number = len(self.calls)
        if number == self._fail_at or (self._lasting and self.failed):
            raise self._error()
        result = act(*args, **kwargs)
        self.version += name not in _READING
        return result

    def _directory(self, fd: int) -> Directory:
        node = self._open[fd]
        assert isinstance(node, Directory)
        return node

    def _locate(self, path: str, dir_fd: int | None) -> tuple[Directory | None, str]:
        """Parent and name; an empty name is the base itself, no parent is outside of it."""
        if dir_fd is not None:
            return self._directory(dir_fd), path
        if not Path(path).is_relative_to(self.base):
            return None, ""
        *above, name = Path(path).relative_to(self.base).parts or [""]
        parent: File | Directory = self.root
        for part in above:
            assert isinstance(parent, Directory)
            parent = parent.entries[part]
        assert isinstance(parent, Directory)
        return parent, name
