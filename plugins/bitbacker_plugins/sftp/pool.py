"""Connections for several threads: each call has one to itself, and a broken one is never used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from bitbacker.errors import StorageError
from bitbacker_plugins.sftp.session import Session

if TYPE_CHECKING:
    from bitbacker_plugins.sftp.connect import Connection


class Pool:
    """At most `limit` connections, opened when they are needed.  Thread-safe."""

    def __init__(self, connect: Callable[[], Connection], limit: int) -> None:
        self._connect = connect
        self._places = BoundedSemaphore(limit)
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for one call; waits while all connections are in use.

        Raises what connecting raises, and `StorageError` when the pool is closed.
        """
        with self._places:
            connection = self._take() or self._connect()
            try:
                yield connection.session
            finally:
                self._give_back(connection)

    def close(self) -> None:
        """Close what is idle now, and each connection that is in use when its call ends."""
        with self._lock:
            self._closed = True
        self._close_idle(settle=True)

    def _take(self) -> Connection | None:
        """The connection that was used last, for the others may rest so long that the server drops them."""
        while True:
            with self._lock:
                if self._closed:
                    raise StorageError("the connections to the server are closed already")
                connection = self._idle.pop() if self._idle else None
            if connection is None or connection.alive:
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        if connection.alive:
            with self._lock:
                if not self._closed:
                    self._idle.append(connection)
                    return
            connection.settle()
            connection.close()
            return
        connection.close()
        # What has ended one connection has often ended all: each would fail a call of its own.
        self._close_idle()

    def _close_idle(self, *, settle: bool = False) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            if settle and connection.alive:
                connection.settle()
            connection.close()
