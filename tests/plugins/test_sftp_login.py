"""The transport `sftp` and passwords, on a server of paramiko's own that asks for one."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import paramiko
import pytest

from bitbacker.errors import BitBackerError, CredentialRefused, StorageDenied, StorageError
from bitbacker.spi import Secret
from bitbacker_plugins.sftp import SftpTransport
from bitbacker_plugins.sftp.config import SftpConfig
from sshd import HOST, make_key

PASSWORD = "correct horse"


class Guard(paramiko.ServerInterface):
    """Takes one password and no key, and offers no SFTP."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "publickey,password"

    def check_auth_password(self, username: str, password: str) -> int:
        self.asked.append(f"{username} {password}")
        return paramiko.AUTH_SUCCESSFUL if password == PASSWORD else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del kind, chanid
        return paramiko.OPEN_SUCCEEDED


class Gate:
    """The server: where it is, and what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.guard = Guard()
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.known_hosts = directory / "known_hosts"
        path = make_key(directory / "host_key")
        self._key = paramiko.Ed25519Key.from_private_key_file(str(path))
        public = " ".join(Path(f"{path}.pub").read_text().split()[:2])
        self.known_hosts.write_text(f"[{HOST}]:{self.port} {public}\n")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def transport(self, password: str | None) -> SftpTransport:
        secret = None if password is None else Secret(password)
        config = SftpConfig(
            known_hosts=str(self.known_hosts), ssh_config="", agent=False, login_password=secret
        )
        return SftpTransport(f"sftp://me@{HOST}:{self.port}/srv", config)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self.listener.close()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with closing(connection), closing(paramiko.Transport(connection)) as transport:
            transport.add_server_key(self._key)
            transport.start_server(event=threading.Event(), server=self.guard)
            self._ending.wait()
        transport.join()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with closing(Gate(tmp_path)) as gate:
        yield gate


def error_of(transport: SftpTransport) -> BitBackerError:
    try:
        with pytest.raises(StorageError) as caught:
            transport.get("keyslots")
    finally:
        transport.close()
    return caught.value


def test_the_right_password_lets_in(gate: Gate) -> None:
    error = error_of(gate.transport(PASSWORD))
    assert isinstance(error, StorageDenied)
    assert "no SFTP" in str(error)
    assert gate.guard.asked == [f"me {PASSWORD}"]


def test_a_wrong_password_is_refused_once_and_never_shown(gate: Gate) -> None:
    error = error_of(gate.transport("battery staple"))
    assert isinstance(error, CredentialRefused)
    assert "battery" not in f"{error} {error.hint} {error.__cause__}"
    assert gate.guard.asked == ["me battery staple"]


def test_without_a_password_none_is_sent(gate: Gate) -> None:
    assert isinstance(error_of(gate.transport(None)), CredentialRefused)
    assert gate.guard.asked == []


@pytest.mark.parametrize("module", ["bitbacker_plugins.sftp", "bitbacker_plugins.sftp.connect"])
def test_naming_the_transport_does_not_import_paramiko(module: str) -> None:
    """The second module is the control: the first call imports it, and it needs paramiko."""
    code = f"import sys, {module}; print('paramiko' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(module.endswith("connect"))
