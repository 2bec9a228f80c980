"""A desk: a source tree, a client and a recorded storage; ours, to be compared with a leaky one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bitbacker.engine.backup import BackupResult
from bitbacker.repo.open import Repository
from bitbacker_plugins.memory import MemoryTransport
from lab import Lab, back_up
from leak_lab.recording import RecordingTransport


class Desk(Protocol):
    """What the worlds of an experiment work at."""

    source: Path
    transport: RecordingTransport

    def back_up(self, **options: Any) -> Any:
        """One session that backs up `source`."""

    def close(self) -> None:
        """Forget the storage and the files."""


MakeDesk = Callable[[Path], Desk]


class OurDesk:
    """BitBacker on a store in memory; every session is a new process of the same machine."""

    def __init__(self, folder: Path, *, keep_bytes: bool = False, lab: Lab | None = None) -> None:
        """With `lab` another repository goes on, otherwise a new one begins; `folder` must be new."""
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir(parents=True)
        self.lab = lab or Lab(folder / "machines")
        self.transport = RecordingTransport(self.lab.transport, keep_bytes=keep_bytes)
        self.lab.use(self.transport)
        if lab is None:
            self.lab.begin()

    def client(self, machine: str = "one") -> Repository:
        """A process of this machine; a machine that was not there before is cold."""
        return self.lab.client(machine)

    def back_up(self, *paths: Path, machine: str = "one", **options: Any) -> BackupResult:
        """A session; `options` are those of `BackupOptions`, and `source`, the source's name."""
        return back_up(self.client(machine), *(paths or (self.source,)), **options)

    def close(self) -> None:
        MemoryTransport.drop(self.lab.url)
        shutil.rmtree(self.folder)


def keeping_bytes(folder: Path) -> OurDesk:
    """Ours, with everything that was put."""
    return OurDesk(folder, keep_bytes=True)
