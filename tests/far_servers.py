"""Real servers on loopback that can be frozen, killed and started again, and transports that lead to them.

A transport may lead through a proxy: then it is given the proxy's address instead of the server's.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import s3_servers
import sshd as openssh
from bitbacker.repo import storage
from bitbacker.spi import Transport
from bitbacker_plugins.s3 import S3Transport
from bitbacker_plugins.sftp import SftpTransport
from remote_machine import Remote
from tcp_proxy import Address

# A busy machine starts and ends things late; for ever it does not take.
ENDING_S = 60.0


class FarServer(Protocol):
    """A server with room for many repositories, each at a place of its own.

    `exclusive`: it decides which of two writers came first.
    """

    name: str
    exclusive: bool
    address: Address

    def remote(self, place: str, address: Address, **options: Any) -> Remote:
        """A remote, as a configuration file has it."""

    def transport(self, place: str, address: Address, **options: Any) -> Transport:
        """A transport of its own."""

    def freeze(self) -> None:
        """Stop it: connections stay open, nothing answers."""

    def thaw(self) -> None:
        """Let it go on."""

    def kill(self) -> None:
        """End it at once, with all connections."""

    def start(self) -> None:
        """Start it again after `kill`, on the same port."""


class SftpServer:
    """OpenSSH; a place is a directory."""

    name = "sftp"
    exclusive = True

    def __init__(self, server: openssh.Sshd, places: Path) -> None:
        self._server = server
        self._places = places
        self._known = {server.port}
        self.address: Address = (server.host, server.port)

    def remote(self, place: str, address: Address, **options: Any) -> Remote:
        self._know(address)
        url = self._server.url(self._places / place, port=address[1])
        return Remote(url, {**self._server.options(), "ssh_config": "", "agent": False, **options})

    def transport(self, place: str, address: Address, **options: Any) -> Transport:
        self._know(address)
        url = self._server.url(self._places / place, port=address[1])
        config = self._server.config(ssh_config="", agent=False, **options)
        return SftpTransport(url, config)

    def freeze(self) -> None:
        self._server.freeze()

    def thaw(self) -> None:
        self._server.thaw()

    def kill(self) -> None:
        self._server.stop()

    def start(self) -> None:
        until = time.monotonic() + ENDING_S
        while (process := openssh._started(self._server.directory, self._server.port)) is None:
            assert time.monotonic() < until, self._server.log
            time.sleep(0.1)
        self._server.process = process

    def _know(self, address: Address) -> None:
        if address[1] not in self._known:
            self._known.add(address[1])
            self._server.know(address[1])


class S3Server:
    """A server that speaks S3; a place is a bucket."""

    def __init__(self, server: s3_servers.S3Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._client = stack.enter_context(server.client())
        self._places: set[str] = set()
        self.name = server.name
        self.exclusive = server.decides
        self.address: Address = ("127.0.0.1", int(server.endpoint.rpartition(":")[2]))

    def remote(self, place: str, address: Address, **options: Any) -> Remote:
        keys = {"access_key_id": self._server.access_key, "secret_access_key": self._server.secret_key}
        environment = {f"TEST_{name.upper()}": value for name, value in keys.items()}
        secrets = {name: {"env": f"TEST_{name.upper()}"} for name in keys}
        table = {"endpoint": _endpoint(address), "region": self._server.region, **secrets, **options}
        return Remote(self._url(place), table, environment, exclusive=self.exclusive)

    def transport(self, place: str, address: Address, **options: Any) -> Transport:
        config = self._server.config(endpoint=_endpoint(address), **options)
        return S3Transport(self._url(place), config)

    def freeze(self) -> None:
        self._server.freeze()

    def thaw(self) -> None:
        self._server.thaw()

    def kill(self) -> None:
        self._server.stop()

    def start(self) -> None:
        assert self._server.process is not None
        port = f"127.0.0.1:{self.address[1]}"
        words = self._server.process.args
        assert isinstance(words, list)
        given = [port if word == "127.0.0.1:0" else str(word) for word in words]
        assert port in given, "the server cannot be told its port"
        self._server.process = subprocess.Popen(
            given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        self._stack.callback(self._server.stop)
        until = time.monotonic() + ENDING_S
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(self.address, ENDING_S):
                return
            time.sleep(0.02)
        raise AssertionError(f"{self.name} does not start again")

    def _url(self, place: str) -> str:
        if place not in self._places:
            self._places.add(place)
            self._client.create_bucket(Bucket=place)
        return self._server.url(place, "a/prefix")


def _endpoint(address: Address) -> str:
    return f"http://{address[0]}:{address[1]}"


@contextmanager
def running(name: str, folder: Path) -> Iterator[FarServer]:
    """One of `SERVERS`, with its files below `folder`."""
    with ExitStack() as stack:
        if name == "sftp":
            yield SftpServer(stack.enter_context(openssh.running_sshd(folder / "sshd")), folder / "places")
        elif name == "rclone":
            (folder / "buckets").mkdir(parents=True)
            yield S3Server(stack.enter_context(s3_servers.rclone_server(folder / "buckets")), stack)
        else:
            yield S3Server(stack.enter_context(s3_servers.moto_server()), stack)


SERVERS = ("sftp", "moto", "rclone")


@contextmanager
def no_retries() -> Iterator[None]:
    """The control of every fault: what fails is not tried again."""
    before = storage.ATTEMPTS_MAX
    storage.ATTEMPTS_MAX = 1
    try:
        yield
    finally:
        storage.ATTEMPTS_MAX = before


def threads_that_stay(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """Those that were not there `before` and have not ended in a while."""
    until = time.monotonic() + ENDING_S
    while (more := [each for each in threading.enumerate() if each not in before]) and (
        time.monotonic() < until
    ):
        time.sleep(0.02)
    return more
