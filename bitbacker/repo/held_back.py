"""Segments that are written, and sent only when everything has been read.

What a prune stores while it reads tells how much of what it has just read is needed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from threading import Lock

from bitbacker.repo.spool import SpoolFull, TemporaryStore
from bitbacker.repo.storage import Storage
from bitbacker.spi import Buffer

_SENDERS_MAX = 8


@dataclass(frozen=True, slots=True)
class _Held:
    name: str
    at: int
    size_bytes: int


class HeldBackStorage(Storage):
    """Reads as usual; new objects wait on this machine, sealed as they are, until `send`."""

    def __init__(self, storage: Storage, folder: Path | None) -> None:
        """`folder` is where they wait; None is where this machine keeps temporary files."""
        super().__init__(storage.transport)
        self.single_writer = storage.single_writer
        self._storage = storage
        self._store = TemporaryStore(folder)
        self._held: list[_Held] = []
        self._lock = Lock()

    def put_new(self, name: str, data: Buffer) -> None:
        """Nothing is stored yet.  Raises `SpoolFull`."""
        view = memoryview(data)
        at = self._store.append(view)
        with self._lock:
            self._held.append(_Held(name, at, len(view)))

    def send(self) -> None:
        """Store everything: large objects first, otherwise in random order.  Raises `StorageError`."""
        random.SystemRandom().shuffle(self._held)
        self._held.sort(key=lambda held: -held.size_bytes)
        threads = min(_SENDERS_MAX, self._storage.abilities.concurrency)
        with ThreadPoolExecutor(threads, "send") as pool:
            _settled(pool.map(self._send, self._held))
        self._held.clear()

    def _send(self, held: _Held) -> None:
        self._storage.put_new(held.name, self._store.read(held.at, held.size_bytes))


def _settled(results: Iterable[None]) -> None:
    for _ in results:
        pass


def check_room(folder: Path | None, size_bytes: int) -> None:
    """Raise `SpoolFull` when so much cannot wait on this machine."""
    place = folder or Path(gettempdir())
    while not place.is_dir():
        place = place.parent
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    if free < size_bytes:
        raise SpoolFull(f"{size_bytes} bytes must wait in {place} for a while, which has room for {free}")
