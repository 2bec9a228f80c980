"""A client of the transport `file` on a simulated disk, which checks what it was promised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bitbacker.errors import ObjectExists
from bitbacker.spi import NoConfig
from bitbacker_plugins import local
from bitbacker_plugins.local import LocalTransport, directories, temporary
from simulated_disk import SimulatedDisk, State


@contextmanager
def directory_in_memory() -> Iterator[Path]:
    """A directory in memory where there is one: the simulated disk needs nothing that lasts."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


REPOSITORY = "srv/repository"


class Violation(AssertionError):
    """A promise is broken in a state that a power cut may leave."""


class Client:
    """Uses the transport on the simulated disk and checks every state against what was promised so far."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.allowed: dict[str, set[bytes]] = {}
        self.promised: set[str] = set()
        self.state_count = 0
        self._seen: object = None
        disk.inspect = self.check
        self.transport = self.connect()

    def connect(self) -> LocalTransport:
        return LocalTransport((self.disk.base / REPOSITORY).as_uri(), NoConfig())

    def restart(self) -> None:
        """A new process, after the old one died."""
        self.disk.heal()
        self.transport = self.connect()

    def put(self, name: str, data: bytes, *, replace: bool = False) -> None:
        before = self.allowed.get(name, set())
        if replace or name not in self.promised:
            self.allowed[name] = before | {data}
        try:
            self.transport.put(name, data, replace=replace)
        except ObjectExists:
            # A caller that finds its own bytes there takes them for stored.
            self.allowed[name] = before
        else:
            self.allowed[name] = {data}
        self.promised.add(name)
        self.check()

    def delete(self, *names: str) -> None:
        self.promised -= set(names)
        self.transport.delete(names)
        for name in names:
            self.allowed.pop(name, None)
        self.check()

    def check(self) -> None:
        """Look at every state that a power cut now may leave."""
        now = (self.disk.version, str(self.allowed), str(self.promised))
        if now == self._seen:
            return
        self._seen = now
        for state in self.disk.states():
            self.state_count += 1
            self._check_state(state)

    def _check_state(self, state: State) -> None:
        objects = {path.removeprefix(f"{REPOSITORY}/"): data for path, data in state.items()}
        for name, data in objects.items():
            if data not in self.allowed.get(name, set()):
                raise Violation(f"{name} holds {data!r}, which nobody stored there")
        if missing := self.promised - set(objects):
            raise Violation(f"{sorted(missing)} were acknowledged and are lost")


@contextmanager
def client_on(base: Path, disk: SimulatedDisk | None = None) -> Iterator[Client]:
    disk = disk or SimulatedDisk(base)
    with disk.under(local, directories, temporary):
        yield Client(disk)
