"""A real OpenSSH server on a loopback port, with keys of its own, as the user who runs the tests.

    with running_sshd(tmp_path / "sshd") as sshd:
        transport = SftpTransport(sshd.url(tmp_path / "repository"), sshd.config())

Whoever runs the tests logs in to the own account, so a session sees the same files as the test.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bitbacker_plugins.sftp import SftpTransport
from bitbacker_plugins.sftp.config import SftpConfig

HOST = "127.0.0.1"
SSHD = "/usr/sbin/sshd"
STARTING_S = 20.0
ATTEMPTS = 5


@dataclass
class Sshd:
    """A server that runs, and what a client needs to know of it."""

    directory: Path
    port: int
    key_file: Path
    known_hosts_file: Path
    process: subprocess.Popen[bytes]
    host: str = HOST
    user: str = field(default_factory=getpass.getuser)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return (self.directory / "log").read_text(errors="replace")

    def url(self, path: Path | str, *, port: int | None = None) -> str:
        """The URL of a directory on this server; another `port` leads through a proxy."""
        return f"sftp://{self.user}@{self.host}:{port or self.port}{quote(os.fsencode(path))}"

    def options(self) -> dict[str, str]:
        """The keys of a remote's table that let a client in."""
        return {"key_file": str(self.key_file), "known_hosts": str(self.known_hosts_file)}

    def config(self, **options: Any) -> SftpConfig:
        """The transport's options that let a client in, and `options` of the test's own."""
        return SftpConfig(**{**self.options(), **options})

    def transport(self, path: Path | str, **options: Any) -> SftpTransport:
        """A transport of its own to a directory on this server."""
        return SftpTransport(self.url(path), self.config(**options))

    def know(self, port: int) -> None:
        """Let clients know the host key at another port, which belongs to a proxy before this server."""
        key = self.known_hosts_file.read_text().splitlines()[0].split(" ", 1)[1]
        with self.known_hosts_file.open("a") as file:
            file.write(f"[{self.host}]:{port} {key}\n")

    def sessions(self) -> Sequence[int]:
        """The processes that serve connections now, parents before children."""
        return [pid for pid in _tree(self.pid) if pid != self.pid]

    def freeze(self) -> None:
        """Stop the server and all sessions: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server and its sessions go on."""
        self._signal(signal.SIGCONT)

    def kill_sessions(self) -> None:
        """End all connections; the server goes on to take new ones."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the server and its sessions; may be called twice."""
        if self.process.poll() is None:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: int) -> None:
        for pid in _tree(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@contextmanager
def running_sshd(
    directory: Path,
    *,
    sftp_server_options: Sequence[str] = (),
    directives: Sequence[str] = (),
    host_key_types: Sequence[str] = ("ed25519",),
    mode: int = 0o700,
) -> Iterator[Sshd]:
    """A server whose files lie in `directory`; the first of its host keys is the one that is known.

    `sftp_server_options` go to sftp-server: `-P hardlink` takes an extension away, `-R` allows no
    writing.  `mode` is that of the directory, which an account that is not the tests' own must be able
    to reach.  `directives` are lines of sshd_config, which come first and so count.
    """
    sshd = start_sshd(
        directory,
        sftp_server_options=sftp_server_options,
        directives=directives,
        host_key_types=host_key_types,
        mode=mode,
    )
    try:
        yield sshd
    finally:
        sshd.stop()


def start_sshd(
    directory: Path,
    *,
    sftp_server_options: Sequence[str] = (),
    directives: Sequence[str] = (),
    host_key_types: Sequence[str] = ("ed25519",),
    mode: int = 0o700,
) -> Sshd:
    """As `running_sshd`, for whoever calls `stop` himself."""
    _require_server()
    directory.mkdir(mode=mode, parents=True)
    key_file = make_key(directory / "client_key")
    shutil.copy(f"{key_file}.pub", directory / "authorized_keys")
    host_keys = [make_key(directory / f"host_key_{kind}", kind) for kind in host_key_types]
    lines = [
        *directives,
        *(f"HostKey {path}" for path in host_keys),
        f"AuthorizedKeysFile {directory / 'authorized_keys'}",
        # Without the user's shell: its start-up files may do anything, and be killed while they do it.
        f"Subsystem sftp {' '.join(['internal-sftp', *sftp_server_options])}",
        "SetEnv SHLVL=2",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "UseDNS no",
        "PermitRootLogin yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "MaxStartups 1000",
        "MaxSessions 100",
        "LogLevel VERBOSE",
    ]
    (directory / "sshd_config").write_text("".join(f"{line}\n" for line in lines))
    if os.geteuid() == 0:
        # Started by root, the server wants this directory to be there.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    known_hosts_file = directory / "known_hosts"
    for _ in range(ATTEMPTS):
        port = _free_port()
        kind, key = Path(f"{host_keys[0]}.pub").read_text().split()[:2]
        known_hosts_file.write_text(f"[{HOST}]:{port} {kind} {key}\n")
        process = _started(directory, port)
        if process is not None:
            return Sshd(directory, port, key_file, known_hosts_file, process)
    raise AssertionError(f"sshd does not start:\n{(directory / 'log').read_text(errors='replace')}")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new key pair: `path`, and `path` with `.pub`."""
    arguments = ["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(["ssh-keygen", *arguments], check=True, stdin=subprocess.DEVNULL)
    return path


def _require_server() -> None:
    if not os.path.exists(SSHD):
        pytest.skip("there is no OpenSSH server on this machine: install openssh-server")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _started(directory: Path, port: int) -> subprocess.Popen[bytes] | None:
    """The server, when it greets; None when somebody else has taken the port."""
    command = [SSHD, "-D", "-e", "-f", str(directory / "sshd_config")]
    command += ["-o", f"ListenAddress={HOST}", "-p", str(port)]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ending_s = time.monotonic() + STARTING_S
    while process.poll() is None:
        if time.monotonic() > ending_s:
            process.kill()
            break
        with suppress(OSError), socket.create_connection((HOST, port), timeout=STARTING_S) as connection:
            if connection.recv(4) == b"SSH-":
                return process
        time.sleep(0.02)
    process.wait()
    return None


def _tree(pid: int) -> Sequence[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
            found.extend(int(child) for child in children.split())
    return found
