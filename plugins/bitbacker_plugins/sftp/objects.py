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
from bitbacker_plugins.sftp.session import Reply, Session, attributes_of

_TEMPORARY = ".tmp"
"""No object name begins with a dot."""

_ABANDONED_S = 24 * 60 * 60
_REPLACED_TIMES = 8
# No object is larger than 4 MiB; whoever can write there cannot make a reader take up all memory.
_SIZE_MAX_BYTES = 64 * 1024 * 1024


@dataclass
class Known:
    """What one transport has done already, whatever connection it was done through."""

    identity: int | None = None
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
        self._refuse_after_doubt()
        parent = posixpath.dirname(name)
        path = self._path(f"{_TEMPORARY}/{secrets.token_hex(16)}")
        try:
            # Looked for while the file is there: without it there may be room again.
            with self._explained(len(data)):
                self._make_ready(parent)
                with self._opened(parent, path) as (directory, file):
                    self._refuse_what_cannot_be_done(replace=replace)
                    files.write_and_sync(self._session, file, data)
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
        self._look()
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
        self._look()
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

    def _refuse_after_doubt(self) -> None:
        """After a sync has failed, a second one would report success whatever is lost."""
        if self._known.doubtful:
            raise StorageError(
                f"the server failed to confirm an earlier write to {self._root!r}; "
                "nothing more is stored there",
                hint="check the server's disk and kernel messages, then run the command again",
            )

    def _refuse_what_cannot_be_done(self, *, replace: bool) -> None:
        """Asked when a file could be made: a server that is read-only hides what it could do, too."""
        if not replace and protocol.HARDLINK not in self._session.extensions:
            raise NotExclusive("the server makes no hard links: it lacks the extension hardlink@openssh.com")
        if replace and protocol.POSIX_RENAME not in self._session.extensions:
            raise StorageDenied(
                "the server cannot replace a file: it lacks the extension posix-rename@openssh.com"
            )

    def _recognise(self, reply: Reply, known: int | None) -> None:
        """Raises `StorageError` when the directory of the repository is gone, or is another one.

        When a disk falls off while a backup runs, the path leads to the empty mount point below it, and
        writing there would look like success.  `known` is what was known when the question was asked:
        a directory that was not there then, and that another thread has made since, is not gone.
        """
        refusal = reply.refusal
        found = files.identity_of(reply) if refusal is None else None
        if known is None:
            self._known.identity = self._known.identity if found is None else found
        elif found is None and refusal is not None and refusal.status != Status.NO_SUCH_FILE:
            return
        elif found is None or (found and known and found != known):
            raise StorageError(
                f"the repository directory {self._root!r} is not there any more",
                hint="check whether the server has lost its file system, then run the command again",
            )

    def _look(self) -> None:
        known = self._known.identity
        self._recognise(self._session.ask(files.identity(self._session, self._path(""))), known)

    def _make_ready(self, parent: str) -> None:
        """Have the directories that a put needs, and their entries on stable storage, whoever made them."""
        if parent in self._known.durable:
            return
        self._look()
        for name in (_TEMPORARY, parent):
            files.make_directories(self._session, self._path(name))
            if name and not attributes_of(self._session.ask(files.lstat(self._path(name)))).is_directory:
                raise StorageError(f"{name} in {self._root!r} is a link or no directory")
        way = [self._path("")]
        while files.parent_of(way[-1]) != way[-1]:
            way.append(files.parent_of(way[-1]))
        self._sync_all(way)
        self._known.durable.add(parent)

    @contextmanager
    def _opened(self, parent: str, path: bytes) -> Iterator[tuple[Sequence[bytes], bytes]]:
        """Handles of a directory, where the server opens one, and of a new file."""
        requests = [
            files.identity(self._session, self._path("")),
            files.open_read(self._path(parent)),
            files.open_new(path),
        ]
        known = self._known.identity
        root, *answers = self._session.ask_each(requests)
        handles = [files.handle_of(answer) for answer in answers if answer.refusal is None]
        try:
            if Status.NO_SUCH_FILE in {answer.refusal.status for answer in answers if answer.refusal}:
                # Somebody removed them; the next attempt makes them again.
                self._known.durable.clear()
            self._recognise(root, known)
            files.succeed(answers[-1:])
            yield handles[:-1], handles[-1]
        finally:
            for handle in handles if self._session.idle else ():
                self._session.tell(files.close(handle))

    def _link(self, path: bytes, name: str, directory: Sequence[bytes]) -> None:
        try:
            files.link(self._session, path, self._path(name))
        except StatusError as error:
            # The server has no word of its own for a name that is taken.
            if self._session.ask(files.lstat(self._path(name))).refusal is None:
                # The caller may find its own bytes there, take them for stored and never put again.
                self._sync(directory)
                raise ObjectExists(name) from error
            if not self._is_full() and not self._can_be_linked(path):
                raise NotExclusive(
                    f"the file system of {self._root!r} makes no hard links: {error}"
                ) from error
            raise

    def _is_full(self) -> bool:
        found = files.file_system(self._session, self._path(""))
        return found is not None and found.is_full(1)

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
                self._look()
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
                if found is not None and found.is_full(size_bytes):
                    raise StorageFull(f"the file system of {self._root!r} is full") from error
                if found is not None and found.read_only:
                    raise StorageDenied(
                        f"the file system of {self._root!r} is read-only",
                        hint="mount it for writing on the server; a disk that became so by itself has failed",
                    ) from error
            raise
