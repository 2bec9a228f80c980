"""What a storage sees: every operation in the order in which it began, sizes, and bytes if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, NoReturn

from bitbacker.errors import StorageError
from bitbacker.spi import Abilities, Buffer, NoConfig, ObjectInfo, Transport


@dataclass(slots=True)
class Event:
    """One call on one object; `name` is the prefix for a list.

    `size_bytes` is that of the object put or got; for a list it is the number of rows that were taken.
    `data` is what was put, if bytes are kept.
    """

    operation: str
    name: str
    size_bytes: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the storage saw of one run.

    `listing` is what it held at the end; `foreign` are the things that it was asked for beside put,
    get, list and delete.
    """

    events: tuple[Event, ...]
    listing: tuple[ObjectInfo, ...]
    foreign: tuple[str, ...]

    @property
    def stored(self) -> list[bytes]:
        """The bytes of every object put, in order; only where bytes were kept."""
        return [event.data for event in self.events if event.operation == "put"]

    @property
    def put_bytes(self) -> int:
        """How much was uploaded in all."""
        return sum(event.size_bytes for event in self.events if event.operation == "put")

    @property
    def volumes_bytes(self) -> list[int]:
        """How much was uploaded in each session; a head or a snapshot is the end of one."""
        volumes = [0]
        for event in self.events:
            if event.operation == "put":
                volumes[-1] += event.size_bytes
                if event.name.startswith(("heads/", "snapshots/")):
                    volumes.append(0)
        return volumes[:-1]


class RecordingTransport:
    """Hands put, get, list and delete on and remembers them; refuses and remembers everything else."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[Any]] = NoConfig

    def __init__(self, inner: Transport, *, keep_bytes: bool = False) -> None:
        self.inner = inner
        self.events: list[Event] = []
        self.foreign: list[str] = []
        self._keep = keep_bytes
        self._lock = Lock()

    @property
    def abilities(self) -> Abilities:
        return self.inner.abilities

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        kept = bytes(data) if self._keep else b""
        self._begin(Event("put", name, memoryview(data).nbytes, kept))
        self.inner.put(name, data, replace=replace)

    def get(self, name: str) -> bytes:
        event = self._begin(Event("get", name))
        data = self.inner.get(name)
        event.size_bytes = len(data)
        return data

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        event = self._begin(Event("list", prefix))
        return self._counted(event, self.inner.list(prefix))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._begin(Event("delete", name))
            self.inner.delete([name])

    def close(self) -> None:
        """The recorder outlives its clients."""

    def view(self) -> View:
        """What was seen up to now."""
        with self._lock:
            return View(tuple(self.events), tuple(self.inner.list("")), tuple(self.foreign))

    def __getattr__(self, name: str) -> NoReturn:
        """Whatever else somebody wants of a transport, the storage would see it."""
        if name.startswith("__"):
            raise AttributeError(name)
        self.foreign.append(name)
        raise StorageError(f"the laboratory saw a call of {name}, which is none of put, get, list, delete")

    def _begin(self, event: Event) -> Event:
        with self._lock:
            self.events.append(event)
        return event

    @staticmethod
    def _counted(event: Event, rows: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        for row in rows:
            event.size_bytes += 1
            yield row
