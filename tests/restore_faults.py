"""Faults of the machine that is restored to: operations that stop, and directories that are swapped.

A `HookedOs` stands where the modules of the target have `os`, and calls `hook(number, name)` before
each system call that they make.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bitbacker.engine import (
    restore_resume,
    target,
    target_directories,
    target_files,
    target_metadata,
    target_root,
)

_MODULES = (target, target_directories, target_files, target_metadata, target_root, restore_resume)
_HOOKED = frozenset(
    (
        *("open", "close", "pwrite", "ftruncate", "fstat", "stat", "listdir"),
        *("mkdir", "mknod", "symlink", "link", "rename", "unlink"),
        *("chmod", "fchmod", "chown", "fchown", "setxattr", "utime"),
    )
)
_STATUS = ("st_mode", "st_uid", "st_gid", "st_nlink", "st_size", "st_mtime_ns", "st_ctime_ns")

Hook = Callable[[int, str], None]


class Killed(BaseException):
    """The process is gone: nothing that comes later is done, no clean-up either."""


class HookedOs:
    """The module `os`, but for the calls that tell `hook` first."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self.calls = 0
        self._open: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _HOOKED:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            self._hook(self.calls, name)
            result = real(*args, **kwargs)
            if name == "open":
                self._open.add(result)
            if name == "close":
                self._open.discard(args[0])
            return result

        return call

    def close_all(self) -> None:
        """What the end of a process does for it."""
        for descriptor in self._open:
            with suppress(OSError):
                os.close(descriptor)
        self._open.clear()


@contextmanager
def hooked(hook: Hook) -> Iterator[HookedOs]:
    """Within, every system call of the target's modules tells `hook` first."""
    stand_in = HookedOs(hook)
    with pytest.MonkeyPatch.context() as patch:
        for module in _MODULES:
            patch.setattr(module, "os", stand_in)
        try:
            yield stand_in
        finally:
            stand_in.close_all()


def killed_at(number: int) -> Hook:
    """A hook for a process that dies at its `number`th call."""

    def hook(call: int, _: str) -> None:
        if call >= number:
            raise Killed

    return hook


def make_canary(folder: Path) -> None:
    """A tree that must stay as it is, beside the target."""
    (folder / "canary/inside").mkdir(parents=True)
    (folder / "canary/file").write_bytes(b"the canary")
    (folder / "canary/inside/file").write_bytes(b"the canary inside")
    os.symlink(b"file", folder / "canary/link")
    os.mkfifo(folder / "canary/fifo")
    os.link(folder / "canary/file", folder / "canary/second")


def state(folder: Path, *, leave_out: Path) -> dict[str, tuple[object, ...]]:
    """Everything about a tree that somebody could change, change times included."""
    found: dict[str, tuple[object, ...]] = {}
    for here, directories, files in os.walk(folder):
        directories[:] = [name for name in directories if Path(here, name) != leave_out]
        for path in (Path(here, name) for name in (".", *directories, *files)):
            if path == folder:
                continue
            status = os.lstat(path)
            content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
            found[str(path)] = (
                *(getattr(status, name) for name in _STATUS),
                content,
                os.readlink(path) if path.is_symlink() else "",
                tuple(os.listxattr(path, follow_symlinks=False)),
            )
    return found
