"""The objects of a repository as files below one directory of a server."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bitbacker.errors import (
    NotExclusive,
    ObjectExists,
    ObjectMissing,
    SizeWrong,
    StorageDenied,
    StorageError,
    StorageFull,
)
from bitbacker.spi import NAME_PATTERN
from bitbacker_plugins.sftp import files, protocol
from bitbacker_plugins.sftp.protocol import Status, StatusError
from bitbacker_plugins.sftp.session import Session, attributes_of

_TEMPORARY = ".tmp"
"""No object name begins with a dot."""

_ABANDONED_S = 24 * 60 * 60
_REPLACED_TIMES = 8
# No object is larger than 4 MiB; whoever can write there cannot make a reader take up all memory.
_SIZE_MAX_BYTES = 64 * 1024 * 1024


@dataclass
class Known:
    """What one transport has done already, whatever connection it was done through."""

    durable: set[str] = field(default_factory=set)
    swept: bool = False
    doubtful: bool = False


class Objects:
    """The repository in directory `root`, seen through one session."""

    def __init__(self, session: Session, root: str, known: Known) -> None:
        self._session = session
        self._root = root
        self._known = known

    def put(self, name: str, data: memoryview, *, replace: bool) -> None:
        """Raises `ObjectExists`, `NotExclusive`, `StorageFull`, `StorageDenied`, `StatusError`."""
        self._refuse_what_cannot_be_done(replace=replace)
        parent = posixpath.dirname(name)
        with self._explained(len(data)):
            self._make_ready(parent)
            path = self._path(f"{_TEMPORARY}/{secrets.token_hex(16)}")
            directory, file = self._open_both(parent, path)
            try:
                files.write_and_sync(self._session, file, data)
                self._session.tell(files.close(file))
                if replace:
                    files.rename_over(self._session, path, self._path(name))
                else:
                    self._link(path, name, directory)
                self._sync(directory)
            finally:
                if self._session.idle:
                    self._session.tell(files.remove(path))
            self._sweep_once()

    def get(self, name: str) -> bytes:
        """Raises `ObjectMissing`, `SizeWrong`, `StorageError`, `StatusError`."""
        for _ in range(_REPLACED_TIMES):
            handle, size_bytes = self._open(name)
            try:
                data, now_bytes = files.read_whole(self._session, handle, size_bytes)
            finally:
                if self._session.idle:
                    self._session.tell(files.close(handle))
            if len(data) == now_bytes:
                return data
            # Somebody has put another object into its place between the two questions.
        raise StorageError(f"cannot read {name}: it does not have the {size_bytes} bytes that it should")

    def scan(self, prefix: str) -> tuple[dict[str, int], set[str]]:
        """Sizes by name of the objects right below `prefix`, and the prefixes below it."""
        found: dict[str, int] = {}
        below: set[str] = set()
        for entry in self._entries(prefix.rstrip("/")):
            name = prefix + entry.name.decode("ascii", "replace")
            if not NAME_PATTERN.fullmatch(name):
                continue
            if entry.attributes.is_file:
                found[name] = entry.attributes.size_bytes
            elif not entry.attributes.is_directory:
                raise StorageError(f"{name} in {self._root!r} is a link or device, no object")
            elif not prefix:
                below.add(f"{name}/")
        return found, below

    def delete(self, names: Sequence[str]) -> None:
        """Raises the first refusal, when everything else is gone.  Raises `StatusError`."""
        with self._explained(0):
            replies = [*self._session.ask_each(files.remove(self._path(name)) for name in names)]
            parents = sorted({posixpath.dirname(name) for name in names})
            # Also when nothing was there: the sync of an earlier attempt may have failed.
            self._sync_all([self._path(parent) for parent in parents])
            files.succeed(
                reply
                for reply in replies
                if reply.refusal is None or reply.refusal.status != Status.NO_SUCH_FILE
            )
            self._sweep_once()

    def _path(self, name: str) -> bytes:
        return posixpath.join(self._root, name).encode("utf-8", "surrogateescape")

    def _refuse_what_cannot_be_done(self, *, replace: bool) -> None:
        if self._known.doubtful:
            raise StorageError(
                f"the server failed to confirm an earlier write to {self._root!r}; "
                "nothing more is stored there",
                hint="check the server's disk and kernel messages, then run the command again",
            )
        if not replace and protocol.HARDLINK not in self._session.extensions:
            raise NotExclusive("the server makes no hard links: it lacks the extension hardlink@openssh.com")
        if replace and protocol.POSIX_RENAME not in self._session.extensions:
            raise StorageDenied(
                "the server cannot replace a file: it lacks the extension posix-rename@openssh.com"
            )

    def _make_ready(self, parent: str) -> None:
        """Have the directories that a put needs, and their entries on stable storage, whoever made them."""
        if parent in self._known.durable:
            return
        for name in (_TEMPORARY, parent):
            files.make_directories(self._session, self._path(name))
        way = [self._path("")]
        while files.parent_of(way[-1]) != way[-1]:
            way.append(files.parent_of(way[-1]))
        self._sync_all(way)
        self._known.durable.add(parent)

    def _open_both(self, parent: str, path: bytes) -> tuple[Sequence[bytes], bytes]:
        """Handles of a directory, if it can be opened, and of a new file."""
        requests = [files.open_read(self._path(parent)), files.open_new(path)]
        directory, file = self._session.ask_each(requests)
        if Status.NO_SUCH_FILE in {reply.refusal.status for reply in (directory, file) if reply.refusal}:
            # Somebody removed them; the next attempt makes them again.
            self._known.durable.clear()
        handles = [files.handle_of(directory)] if directory.refusal is None else []
        try:
            return handles, files.handle_of(file)
        except StatusError:
            for handle in handles:
                self._session.tell(files.close(handle))
            raise

    def _link(self, path: bytes, name: str, directory: Sequence[bytes]) -> None:
        try:
            files.link(self._session, path, self._path(name))
        except StatusError as error:
            # The server has no word of its own for a name that is taken.
            if self._session.ask(files.lstat(self._path(name))).refusal is None:
                # The caller may find its own bytes there, take them for stored and never put again.
                self._sync(directory)
                raise ObjectExists(name) from error
            if not self._can_be_linked(path):
                raise NotExclusive(
                    f"the file system of {self._root!r} makes no hard links: {error}"
                ) from error
            raise

    def _can_be_linked(self, path: bytes) -> bool:
        probe = path + b".link"
        with suppress(StatusError):
            files.link(self._session, path, probe)
            self._session.tell(files.remove(probe))
            return True
        return False

    def _open(self, name: str) -> tuple[bytes, int]:
        """The handle of an object, and the size that it had a moment before."""
        path = self._path(name)
        parent = posixpath.dirname(name)
        requests = [files.lstat(self._path(parent)), files.lstat(path), files.open_read(path)]
        answers = self._session.ask_each(requests)
        directory, status = next(answers), next(answers)
        # The third answer may never come: opening a pipe waits for somebody who writes into it.
        if parent and directory.refusal is None and not attributes_of(directory).is_directory:
            raise StorageError(f"cannot read {name}: its directory is a link or no directory")
        if status.refusal is None and not attributes_of(status).is_file:
            raise StorageError(f"cannot read {name}: it is not a regular file")
        opened = next(answers)
        try:
            handle = files.handle_of(opened)
            size_bytes = attributes_of(status).size_bytes
        except StatusError as error:
            if error.status == Status.NO_SUCH_FILE:
                raise ObjectMissing(name) from error
            raise
        if size_bytes > _SIZE_MAX_BYTES:
            self._session.tell(files.close(handle))
            raise SizeWrong(f"{name} has {size_bytes} bytes, which no object has")
        return handle, size_bytes

    def _entries(self, name: str) -> Sequence[files.Entry]:
        path = self._path(name)
        try:
            if name and not attributes_of(self._session.ask(files.lstat(path))).is_directory:
                raise StorageError(f"{name} in {self._root!r} is a link or no directory")
            return files.entries(self._session, path)
        except StatusError as error:
            if error.status == Status.NO_SUCH_FILE:
                return []
            raise

    def _sync(self, directory: Sequence[bytes]) -> None:
        try:
            files.sync_handles(self._session, directory)
        except StatusError:
            self._known.doubtful = True
            raise

    def _sync_all(self, paths: Sequence[bytes]) -> None:
        try:
            files.sync_directories(self._session, paths)
        except StatusError:
            self._known.doubtful = True
            raise

    def _sweep_once(self) -> None:
        """Remove what crashed writers left; best effort.

        There are no locks on a server, so age decides, and the server's own clock gives the age.
        """
        if self._known.swept:
            return
        self._known.swept = True
        mark = self._path(f"{_TEMPORARY}/{secrets.token_hex(16)}")
        with suppress(StatusError):
            self._session.tell(files.close(files.handle_of(self._session.ask(files.open_new(mark)))))
            now_s = attributes_of(self._session.ask(files.lstat(mark))).modified_s
            for entry in self._entries(_TEMPORARY):
                if entry.attributes.is_file and now_s - entry.attributes.modified_s > _ABANDONED_S:
                    self._session.tell(files.remove(self._path(_TEMPORARY) + b"/" + entry.name))
            self._session.tell(files.remove(mark))

    @contextmanager
    def _explained(self, size_bytes: int) -> Iterator[None]:
        """Find out what a refusal without a reason is about."""
        try:
            yield
        except StatusError as error:
            if error.status == Status.FAILURE and self._session.idle:
                found = files.file_system(self._session, self._path(""))
                if found is not None and (found.free_bytes < max(size_bytes, 1) or found.free_files == 0):
                    raise StorageFull(f"the file system of {self._root!r} is full") from error
                if found is not None and found.read_only:
                    raise StorageDenied(f"the file system of {self._root!r} is read-only") from error
            raise
