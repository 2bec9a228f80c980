"""The directories of a repository: opened without following symlinks, made on demand, durable.

A directory is opened anew for every call and nothing stays open between calls, so closing needs no
count of users and a file system is not kept busy.  What is remembered is which directory the
repository was: when a disk falls off while a backup runs, the path leads to the empty mount point
below it, and writing there would look like success.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bitbacker.errors import StorageError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MODE = 0o700
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def sync(fd: int) -> None:
    """Return when file or directory `fd` is on stable storage.  Raises `OSError`.

    On macOS fsync stops at the cache of the drive; F_FULLFSYNC goes through it where it is offered.
    """
    if _FULL_SYNC is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, _FULL_SYNC)
            return
    os.fsync(fd)


class Directories:
    """The root of a repository and the directories right below it.  Thread-safe."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._durable: set[str] = set()
        self._doubtful = False
        self._closed = False

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    @contextmanager
    def open(self, name: str, *, create: bool = False) -> Iterator[int]:
        """A descriptor of directory `name`, of the root when `name` is empty.

        With `create` the directory is made if it is absent, and its own entry is on stable storage
        when the block begins, whoever made it.  Raises `OSError`, `StorageError`.
        """
        self._check(writing=create)
        root = self._open_root(create=create)
        try:
            if not name:
                yield root
                return
            directory = self._open_below(root, name, create=create)
            try:
                yield directory
            finally:
                os.close(directory)
        finally:
            os.close(root)

    def sync(self, directory: int) -> None:
        """Make the entries of `directory` durable.  Raises `OSError`.

        After an error the kernel may have dropped what it could not write, and a second fsync would
        report success for it.  So after one failure nothing more is stored through this object.
        """
        try:
            sync(directory)
        except OSError:
            self._doubtful = True
            raise
        # The error of another thread's sync may have been about the entry of this one.
        self._check(writing=True)

    def _check(self, *, writing: bool) -> None:
        if self._closed:
            raise StorageError(f"the repository directory {self.path!r} is closed already")
        if writing and self._doubtful:
            raise StorageError(
                f"the disk failed to confirm an earlier write to {self.path!r}; nothing more is stored there",
                hint="check the disk and its kernel messages, then run the command again",
            )

    def _open_root(self, *, create: bool) -> int:
        # Looked at before: another thread may make the root while this one finds it absent.
        known = self._identity is not None
        try:
            root = os.open(self.path, _DIRECTORY)
        except FileNotFoundError as error:
            if known:
                raise self._vanished() from error
            if not create:
                raise
            os.makedirs(self.path, _MODE, exist_ok=True)
            root = os.open(self.path, _DIRECTORY)
        try:
            self._recognise(root)
            if create and "" not in self._durable:
                self._sync_ancestors(os.fstat(root).st_dev)
                self._durable.add("")
        except BaseException:
            os.close(root)
            raise
        return root

    def _recognise(self, root: int) -> None:
        status = os.fstat(root)
        found = (status.st_dev, status.st_ino)
        if self._identity is None:
            self._identity = found
        elif self._identity != found:
            raise self._vanished()

    def _vanished(self) -> StorageError:
        return StorageError(
            f"the repository directory {self.path!r} is not there any more",
            hint="check whether its file system was unmounted, then run the command again",
        )

    def _sync_ancestors(self, device: int) -> None:
        """Make the way to the root durable, up to the mount point.

        Another client may have made these directories a moment ago and not have synced them yet.
        One that may not be read was made by somebody with more rights, long before.
        """
        path = os.path.realpath(self.path)
        while path != os.path.dirname(path):
            path = os.path.dirname(path)
            try:
                ancestor = os.open(path, _DIRECTORY)
            except PermissionError:
                return
            try:
                if os.fstat(ancestor).st_dev != device:
                    return
                self.sync(ancestor)
            finally:
                os.close(ancestor)

    def _open_below(self, root: int, name: str, *, create: bool) -> int:
        flags = _DIRECTORY | os.O_NOFOLLOW
        try:
            directory = os.open(name, flags, dir_fd=root)
        except FileNotFoundError:
            if not create:
                raise
            # Forgotten first: a thread that finds the new directory must not think it durable.
            self._durable.discard(name)
            with suppress(FileExistsError):
                os.mkdir(name, _MODE, dir_fd=root)
            directory = os.open(name, flags, dir_fd=root)
        if create and name not in self._durable:
            try:
                self.sync(root)
            except OSError:
                os.close(directory)
                raise
            self._durable.add(name)
        return directory
