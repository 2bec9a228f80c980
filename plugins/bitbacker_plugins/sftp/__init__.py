"""Transport `sftp`: a repository on a server that is reached by SSH, `sftp://user@host/srv/backup`.

Objects lie there as the transport `file` lays them: `segments/<name>` is a file of that name below the
directory of the URL.  A put writes a file in `.tmp`, has the server sync it, publishes it by a hard
link, which fails when the name exists, and has the directory synced.  docs/transports.md says what
this asks of the server.

paramiko is imported at the first call that needs the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from bitbacker.errors import StorageError
from bitbacker.spi import NAME_PATTERN, Abilities, Buffer, ObjectInfo, Transport, hookimpl
from bitbacker_plugins.sftp.config import SftpConfig
from bitbacker_plugins.sftp.failures import storage_errors
from bitbacker_plugins.sftp.objects import Known, Objects
from bitbacker_plugins.sftp.place import place_of
from bitbacker_plugins.sftp.pool import Pool

if TYPE_CHECKING:
    from bitbacker_plugins.sftp.connect import Connection

_PREFIX_PATTERN = re.compile(r"([a-z]+/)?")


class SftpTransport:
    """A directory of a server as storage.  Files are 0400 and directories 0700."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[SftpConfig]] = SftpConfig

    def __init__(self, url: str, config: SftpConfig) -> None:
        """Raises `ConfigError` for a URL that names no host and path."""
        self._place = place_of(url)
        self._config = config
        self._pool = Pool(self._connect, config.connections)
        self._known = Known()

    @property
    def abilities(self) -> Abilities:
        """A server that makes no hard links shows at the first put."""
        return Abilities(exclusive_put=True, concurrency=self._config.connections)

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        _check(name)
        with self._objects(f"store {name}") as objects:
            objects.put(name, memoryview(data).cast("B"), replace=replace)

    def get(self, name: str) -> bytes:
        _check(name)
        with self._objects(f"read {name}") as objects:
            return objects.get(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if not _PREFIX_PATTERN.fullmatch(prefix):
            raise StorageError(f"{prefix!r} is no prefix of object names")
        with self._objects(f"list {self._place.root!r}") as objects:
            found, below = objects.scan(prefix)
        # A directory sorts as its entries do, with the slash: `heads/...` comes before `headstone`.
        for key in sorted([*found, *below]):
            if key in below:
                yield from self.list(key)
            else:
                yield ObjectInfo(key, found[key])

    def delete(self, names: Iterable[str]) -> None:
        names = [*names]
        for name in names:
            _check(name)
        with self._objects("delete objects") as objects:
            objects.delete(names)

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _objects(self, action: str) -> Iterator[Objects]:
        """The repository's directory, seen through a connection that nobody else uses."""
        with storage_errors(f"{action} on {self._place.host}"), self._pool.session() as session:
            yield Objects(session, self._place.root, self._known)

    def _connect(self) -> Connection:
        # paramiko takes long to import, and who names this transport may not need it today.
        from bitbacker_plugins.sftp.connect import open_connection

        with storage_errors(f"connect to {self._place.host}"):
            return open_connection(self._place, self._config)


def _check(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise StorageError(f"{name!r} is no object name")


@hookimpl
def bitbacker_transport(name: str) -> type[Transport] | None:
    return SftpTransport if name == "sftp" else None
