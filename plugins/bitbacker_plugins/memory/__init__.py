"""Transport `memory`: a repository in this process, `memory://name`, for tests.

Instances with one URL share one store, so that opening a URL again is "another client".  A store
lives until `MemoryTransport.drop(url)` or the end of the process; closing an instance keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import ClassVar

from bitbacker.errors import ConfigError, ObjectExists, ObjectMissing, StorageError
from bitbacker.spi import NAME_PATTERN, Abilities, Buffer, NoConfig, ObjectInfo, Transport, hookimpl

_PREFIX_PATTERN = re.compile(r"([a-z]+/)?")

_stores: dict[str, dict[str, bytes]] = {}
_lock = Lock()


class MemoryTransport:
    """A dictionary as storage."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[NoConfig]] = NoConfig

    def __init__(self, url: str, config: NoConfig) -> None:
        """Raises `ConfigError` for a URL without a name."""
        del config
        if not url.startswith("memory://") or url == "memory://":
            raise ConfigError("a repository in memory needs a name: write memory:// and a name")
        with _lock:
            self._objects = _stores.setdefault(str(url), {})
        self._closed = False

    @classmethod
    def drop(cls, url: str) -> None:
        """Forget the store of `url`; whoever opens it next finds it empty."""
        with _lock:
            _stores.pop(url, None)

    @property
    def abilities(self) -> Abilities:
        return Abilities(exclusive_put=True)

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        self._check(name)
        whole = bytes(data)
        with _lock:
            if name in self._objects and not replace:
                raise ObjectExists(name)
            self._objects[name] = whole

    def get(self, name: str) -> bytes:
        self._check(name)
        with _lock:
            if name not in self._objects:
                raise ObjectMissing(name)
            return self._objects[name]

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._check_open()
        if not _PREFIX_PATTERN.fullmatch(prefix):
            raise StorageError(f"{prefix!r} is no prefix of object names")
        with _lock:
            rows = [ObjectInfo(name, len(self._objects[name])) for name in sorted(self._objects)]
        return (row for row in rows if row.name.startswith(prefix))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._check(name)
            with _lock:
                self._objects.pop(name, None)

    def close(self) -> None:
        self._closed = True

    def _check(self, name: str) -> None:
        self._check_open()
        if not NAME_PATTERN.fullmatch(name):
            raise StorageError(f"{name!r} is no object name")

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("this connection to a repository in memory is closed already")


@hookimpl
def bitbacker_transport(name: str) -> type[Transport] | None:
    return MemoryTransport if name == "memory" else None
