"""Transport `file`: a repository in a directory of a mounted file system, `file:///absolute/path`.

`segments/<name>` is the file `segments/<name>` below the directory of the URL.  A put writes a file
in `.tmp`, syncs it, publishes it under its name by link(2), which the file system refuses when the
name exists, and syncs the directory.  So an object is absent or whole, and on disk when put returns.
docs/transports.md says what this asks of the file system.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import ClassVar
from urllib.parse import unquote

from bitbacker.errors import (
    ConfigError,
    NotExclusive,
    ObjectExists,
    ObjectMissing,
    SizeWrong,
    StorageError,
)
from bitbacker.spi import NAME_PATTERN, Abilities, Buffer, Located, NoConfig, ObjectInfo, Transport, hookimpl
from bitbacker_plugins.local.directories import Directories, sync
from bitbacker_plugins.local.failures import storage_errors
from bitbacker_plugins.local.temporary import DIRECTORY, TemporaryFile, sweep, temporary_file

_PREFIX_PATTERN = re.compile(r"([a-z]+/)?")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINKLESS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
# More calls at once make no disk faster, and each takes the memory of a segment.
_CONCURRENCY = 3
# No object is larger than 4 MiB; whoever can write here cannot make a reader take up all memory.
_SIZE_MAX_BYTES = 64 * 1024 * 1024


class LocalTransport:
    """A directory as storage.  Files are 0600 and directories 0700, whatever the umask allows of it."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[NoConfig]] = NoConfig

    def __init__(self, url: str, config: NoConfig) -> None:
        """Raises `ConfigError` for a URL that names no absolute path."""
        del config
        self._directories = Directories(_path_of(url))
        self._swept = False

    @property
    def path(self) -> str:
        """The directory of the repository."""
        return self._directories.path

    @property
    def abilities(self) -> Abilities:
        """A mount that is read-only shows as `read_only`; links that do not work show at the first put."""
        read_only = False
        with suppress(OSError):
            read_only = bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)
        return Abilities(exclusive_put=True, concurrency=_CONCURRENCY, read_only=read_only)

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        parent, leaf = _split(name)
        with (
            storage_errors(f"store {name}"),
            self._directories.open(DIRECTORY, create=True) as temporaries,
            self._directories.open(parent, create=True) as directory,
        ):
            if not self._swept:
                self._swept = True
                sweep(temporaries)
            with temporary_file(temporaries) as file:
                file.write(memoryview(data).cast("B"))
                sync(file.fd)
                if replace:
                    os.replace(file.name, leaf, src_dir_fd=temporaries, dst_dir_fd=directory)
                else:
                    self._link(file, directory, name)
                self._directories.sync(directory)

    def get(self, name: str) -> bytes:
        parent, leaf = _split(name)
        with storage_errors(f"read {name}"):
            try:
                with self._directories.open(parent) as directory:
                    return _read_whole(directory, leaf)
            except FileNotFoundError as error:
                raise ObjectMissing(name) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if not _PREFIX_PATTERN.fullmatch(prefix):
            raise StorageError(f"{prefix!r} is no prefix of object names")
        with storage_errors(f"list {self.path!r}"):
            found, below = self._scan(prefix)
        # A directory sorts as its entries do, with the slash: `heads/...` comes before `headstone`.
        for key in sorted([*found, *below]):
            if key in below:
                yield from self.list(key)
            else:
                yield ObjectInfo(key, found[key])

    def delete(self, names: Iterable[str]) -> None:
        leaves: dict[str, list[str]] = {}
        for name in names:
            parent, leaf = _split(name)
            leaves.setdefault(parent, []).append(leaf)
        for parent, below in leaves.items():
            with (
                storage_errors(f"delete objects in {parent or self.path!r}"),
                suppress(FileNotFoundError),
                self._directories.open(parent) as directory,
            ):
                for leaf in below:
                    with suppress(FileNotFoundError):
                        os.unlink(leaf, dir_fd=directory)
                # Also when nothing was there: the sync of an earlier attempt may have failed.
                self._directories.sync(directory)
        with suppress(OSError), self._directories.open(DIRECTORY) as temporaries:
            sweep(temporaries)

    def close(self) -> None:
        self._directories.close()

    def _link(self, file: TemporaryFile, directory: int, name: str) -> None:
        leaf = name.rpartition("/")[2]
        try:
            os.link(file.name, leaf, src_dir_fd=file.directory, dst_dir_fd=directory)
        except FileExistsError as error:
            # The caller may find its own bytes there, take them for stored and never put again.
            self._directories.sync(directory)
            raise ObjectExists(name) from error
        except OSError as error:
            # The same error may come from a directory that is immutable.
            if error.errno in _LINKLESS and not file.can_be_linked():
                raise NotExclusive(
                    f"the file system of {self.path!r} makes no hard links: {error.strerror}"
                ) from error
            raise

    def _scan(self, prefix: str) -> tuple[dict[str, int], set[str]]:
        """Sizes by name of the objects right below `prefix`, and the prefixes below it."""
        found: dict[str, int] = {}
        below: set[str] = set()
        with ExitStack() as stack:
            try:
                directory = stack.enter_context(self._directories.open(prefix.rstrip("/")))
            except FileNotFoundError:
                return found, below
            for entry in stack.enter_context(os.scandir(directory)):
                name = prefix + entry.name
                if not NAME_PATTERN.fullmatch(name):
                    continue
                if entry.is_file(follow_symlinks=False):
                    # It may have been deleted since.
                    with suppress(FileNotFoundError):
                        found[name] = entry.stat(follow_symlinks=False).st_size
                elif not entry.is_dir(follow_symlinks=False):
                    raise StorageError(f"{name} in {self.path!r} is a link or device, no object")
                elif not prefix:
                    below.add(f"{name}/")
        return found, below


def _path_of(url: str) -> str:
    """The absolute path that a file URL names."""
    place = f"{url.file}:{url.line}: " if isinstance(url, Located) and url.file else ""
    path = url.removeprefix("file://")
    if path == url or not path.strip("/") or not path.startswith("/") or "%00" in path or "\0" in path:
        raise ConfigError(
            f"{place}a local repository needs an absolute path: write file:// and the path, "
            "for example file:///srv/backup"
        )
    if "?" in path or "#" in path or _LONE_PERCENT.search(path):
        raise ConfigError(f"{place}in a URL, write ? as %3F, # as %23 and % as %25")
    return os.path.normpath("/" + unquote(path, errors="surrogateescape").lstrip("/"))


def _split(name: str) -> tuple[str, str]:
    """Directory and file of an object."""
    if not NAME_PATTERN.fullmatch(name):
        raise StorageError(f"{name!r} is no object name")
    parent, _, leaf = name.rpartition("/")
    return parent, leaf


def _read_whole(directory: int, leaf: str) -> bytes:
    fd = os.open(leaf, _READ, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"cannot read {leaf}: it is not a regular file")
        if status.st_size > _SIZE_MAX_BYTES:
            raise SizeWrong(f"{leaf} has {status.st_size} bytes, which no object has")
        data = os.read(fd, status.st_size)
        return data if len(data) == status.st_size else _read_on(fd, data, status.st_size)
    finally:
        os.close(fd)


def _read_on(fd: int, data: bytes, size_bytes: int) -> bytes:
    """What follows on a read that came short."""
    parts = [data]
    missing_bytes = size_bytes - len(data)
    while missing_bytes and parts[-1]:
        parts.append(os.read(fd, missing_bytes))
        missing_bytes -= len(parts[-1])
    if missing_bytes:
        raise StorageError(
            f"cannot read an object of {size_bytes} bytes: it ends {missing_bytes} bytes early"
        )
    return b"".join(parts)


@hookimpl
def bitbacker_transport(name: str) -> type[Transport] | None:
    return LocalTransport if name == "file" else None
