"""Servers on the loopback address, for as long as a benchmark runs: sshd, `rclone serve s3`, and a delay.

Run as a program it is the delay: a proxy that hands everything on a fixed time later, in both directions.
It takes in as much as comes, so it adds latency and takes away no throughput.

    python contrib/bench/loopback.py PORT_OF_THE_SERVER DELAY_EACH_WAY_S OWN_PORT
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HOST = "127.0.0.1"
STARTING_S = 20.0
READ_BYTES = 1 << 20
SSHD = "/usr/sbin/sshd"
SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
)
S3_USER = "bench"
S3_PASSWORD = "the key of a benchmark is no secret"  # noqa: S105  # its server listens to this machine only


class ServerFailed(Exception):
    """A server of the benchmark did not start."""


@dataclass(frozen=True)
class Door:
    """Where an SSH server listens, and what lets a client in."""

    port: int
    key_file: Path
    known_hosts: Path
    user: str

    def behind(self, port: int) -> Door:
        """The same server behind a proxy at another port."""
        line = self.known_hosts.read_text().splitlines()[0]
        with self.known_hosts.open("a") as file:
            file.write(f"[{HOST}]:{port} {line.partition(' ')[2]}\n")
        return Door(port, self.key_file, self.known_hosts, self.user)


@contextmanager
def sshd(folder: Path) -> Iterator[Door]:
    """OpenSSH's server with its defaults, as the user who runs this.  Raises `ServerFailed`."""
    folder.mkdir(parents=True, mode=0o700)
    host_key, key_file = (_key(folder / name) for name in ("host_key", "client_key"))
    shutil.copy(f"{key_file}.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        # Started by root, the server wants this directory to be there.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    settings = folder / "sshd_config"
    settings.write_text(
        f"HostKey {host_key}\nAuthorizedKeysFile {folder / 'authorized_keys'}\n"
        f"Subsystem sftp {_sftp_server()}\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
    )
    port = free_port()
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[{HOST}]:{port} {' '.join(Path(f'{host_key}.pub').read_text().split()[:2])}\n")
    command = [SSHD, "-D", "-e", "-f", str(settings), "-o", f"ListenAddress={HOST}", "-p", str(port)]
    with running(command, port, folder / "log"):
        yield Door(port, key_file, known_hosts, getpass.getuser())


@contextmanager
def s3(folder: Path, log: Path, rclone: str) -> Iterator[str]:
    """`rclone serve s3` over a folder, whose own folders are the buckets; yields its URL."""
    port = free_port()
    command = [rclone, "serve", "s3", "--addr", f"{HOST}:{port}", str(folder), "--config", os.devnull]
    key = {"RCLONE_AUTH_KEY": f'"{S3_USER},{S3_PASSWORD}"'}
    with running(command, port, log, {"PATH": os.environ["PATH"], "HOME": str(folder), **key}):
        yield f"http://{HOST}:{port}"


@contextmanager
def delayed(port: int, round_trip_s: float, log: Path) -> Iterator[int]:
    """The port of a proxy that lets every round trip to the server at `port` last longer by so much."""
    command = [sys.executable, __file__, str(port), str(round_trip_s / 2)]
    own = free_port()
    with running([*command, str(own)], own, log):
        yield own


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """The command, from when it listens until the block ends.  Raises `ServerFailed`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _await_port(process, port, log)
        yield
    finally:
        process.terminate()
        process.wait()


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ending_s = time.monotonic() + STARTING_S
    while process.poll() is None and time.monotonic() < ending_s:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=STARTING_S):
            return
        time.sleep(0.02)
    raise ServerFailed(f"{process.args!r} does not listen at port {port}; its output is in {log}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _key(path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "benchmark", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def _sftp_server() -> str:
    found = [path for path in SFTP_SERVERS if os.path.exists(path)]
    if not found or not os.path.exists(SSHD):
        raise ServerFailed("there is no OpenSSH server on this machine: install openssh-server")
    return found[0]


class Delay(asyncio.Protocol):
    """One end of a proxied connection: what comes in here goes out at the other end a time later."""

    def __init__(self, delay_s: float, met: Callable[[Delay], None] | None = None) -> None:
        self._delay_s = delay_s
        self._met = met
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._out: asyncio.Transport | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # asyncio reads 256 KiB at most else
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        if self._met is not None:
            self._met(self)

    def leads_to(self, other: asyncio.Transport) -> None:
        """From now on `other` gets what comes in here, what has come in already included."""
        self._out = other
        self._plan()

    def data_received(self, data: bytes) -> None:
        self._put(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._put(b"")

    def _put(self, data: bytes) -> None:
        self._waiting.append((time.monotonic() + self._delay_s, data))
        if len(self._waiting) == 1:
            self._plan()

    def _plan(self) -> None:
        if self._waiting and self._out is not None:
            asyncio.get_running_loop().call_later(self._waiting[0][0] - time.monotonic(), self._hand_on)

    def _hand_on(self) -> None:
        assert self._out is not None
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, data = self._waiting.popleft()
            if data:
                self._out.write(data)
            else:
                self._out.close()
        self._plan()


async def delay(port: int, delay_s: float, own_port: int) -> None:
    """Be the proxy, until the process is ended."""
    loop = asyncio.get_running_loop()
    dialling: set[asyncio.Task[None]] = set()

    async def dial(near: Delay) -> None:
        try:
            _, far = await loop.create_connection(partial(Delay, delay_s), HOST, port)
        except OSError:
            near.transport.close()
            return
        near.leads_to(far.transport)
        far.leads_to(near.transport)

    def met(near: Delay) -> None:
        task = loop.create_task(dial(near))
        dialling.add(task)
        task.add_done_callback(dialling.discard)

    server = await loop.create_server(partial(Delay, delay_s, met), HOST, own_port)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(delay(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
