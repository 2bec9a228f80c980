"""Files that are being written and have no name yet that counts.

Every temporary file lies in one directory that no listing shows, and is locked with flock(2) from
its making to its end.  The kernel drops the lock when the writer dies, so a file whose lock can be
taken belongs to nobody: no clock, no process number, no guess.

Two races remain and are closed here.  A sweeper may lock a file between its creation and the
writer's own flock: the writer then finds the lock taken, or the file without a name, and makes
another one.  A file system without flock is never swept.  One whose flock only reaches to the own
machine (some network mounts) may lose a file of another machine's running put, which fails there,
changes nothing and is repeated.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

DIRECTORY = ".tmp"
"""No object name begins with a dot."""

_ATTEMPTS = 16
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCKLESS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class TemporaryFile:
    """An open file under a name that only its writer knows."""

    directory: int
    name: str
    fd: int

    def write(self, data: memoryview) -> None:
        """Append all of `data`.  Raises `OSError`."""
        while data:
            data = data[os.write(self.fd, data) :]

    def can_be_linked(self) -> bool:
        """Whether the file system makes hard links, tried beside the file."""
        probe = f"{self.name}.link"
        try:
            os.link(self.name, probe, src_dir_fd=self.directory, dst_dir_fd=self.directory)
            os.unlink(probe, dir_fd=self.directory)
        except OSError:
            return False
        return True


@contextmanager
def temporary_file(directory: int) -> Iterator[TemporaryFile]:
    """A new, empty, locked file in `directory`; its name is gone when the block ends."""
    file = _create(directory)
    try:
        yield file
    finally:
        # Failing to unlink must not turn a finished put into a failed one: the sweep comes by later.
        with suppress(OSError):
            os.unlink(file.name, dir_fd=directory)
        os.close(file.fd)


def sweep(directory: int) -> None:
    """Unlink what crashed writers left.  Best effort: what cannot be locked or removed stays."""
    with suppress(OSError):
        for name in os.listdir(directory):
            with suppress(OSError):
                _remove_if_abandoned(directory, name)


def _create(directory: int) -> TemporaryFile:
    for _ in range(_ATTEMPTS):
        name = secrets.token_hex(16)
        fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
        try:
            if _lock(fd) and os.fstat(fd).st_nlink > 0:
                return TemporaryFile(directory, name, fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
            os.close(fd)
            raise
        os.close(fd)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _lock(fd: int) -> bool:
    """Whether the file is ours; also true where files cannot be locked at all."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _LOCKLESS:
            raise
    return True


def _remove_if_abandoned(directory: int, name: str) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    finally:
        os.close(fd)
