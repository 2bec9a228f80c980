"""The byte stream below SSH: a socket that gives up when nothing can be sent for a time.

paramiko tries to send for ever when the other side takes nothing, since its own timeouts end with
the channel.  And it closes a socket while its thread may still read from it; here that only shuts
the connection down, and the descriptor is closed by whoever opened it, when the thread has ended.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_ENDING_S = 1.0


class Stream:
    """What paramiko asks of a socket, around one or around a channel of another connection."""

    def __init__(self, below: Any, timeout_s: float) -> None:
        self._below = below
        self._timeout_s = timeout_s
        self._stuck_since_s: float | None = None
        self._closed = False

    def send(self, data: bytes) -> int:
        """Raises `OSError` when nothing could be sent for the time that is allowed."""
        try:
            sent = int(self._below.send(data))
        except TimeoutError:
            now_s = time.monotonic()
            if self._stuck_since_s is None:
                self._stuck_since_s = now_s
            elif now_s - self._stuck_since_s > self._timeout_s:
                # ETIMEDOUT would be taken for one more reason to try again.
                raise OSError(errno.ECONNABORTED, "the server takes nothing more") from None
            raise
        self._stuck_since_s = None
        return sent

    def recv(self, size_bytes: int) -> bytes:
        return b"" if self._closed else bytes(self._below.recv(size_bytes))

    def settimeout(self, timeout_s: float | None) -> None:
        self._below.settimeout(timeout_s)

    def close(self) -> None:
        """Wake up who waits; the descriptor stays."""
        self._closed = True
        if isinstance(self._below, socket.socket):
            with suppress(OSError):
                self._below.shutdown(socket.SHUT_RDWR)


@contextmanager
def connected(host: str, port: int, timeout_s: float) -> Iterator[socket.socket]:
    """A TCP connection that does not wait for more before it sends.  Raises `OSError`."""
    with socket.create_connection((host, port), timeout=timeout_s) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        yield connection


@contextmanager
def commanded(command: str) -> Iterator[socket.socket]:
    """A socket whose other end is standard input and output of a command.  Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            end = theirs.fileno()
            process = subprocess.Popen(["/bin/sh", "-c", f"exec {command}"], stdin=end, stdout=end)
        try:
            yield ours
        finally:
            process.terminate()
            try:
                process.wait(_ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
