"""The places that a repository may lie at in the tests, each with a real server behind it.

    places = Places(folder)
    remote = places.remote("sftp")
    places.close()

A server is started when the first remote on it is asked for; every remote is empty and nobody else's.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import s3_servers
from remote_machine import Option, Remote
from s3_servers import S3Server
from sshd import Sshd, running_sshd

ACCESS_KEY_VARIABLE = "FAR_ACCESS_KEY"
SECRET_KEY_VARIABLE = "FAR_SECRET_KEY"


class Places:
    """Servers that run, and remotes on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._numbers = itertools.count()

    def close(self) -> None:
        """End all servers."""
        self._stack.close()

    def remote(self, name: str) -> Remote:
        """A new remote at one of `PLACES`."""
        return PLACES[name](self)

    def name(self) -> str:
        """Of a directory that nobody else uses."""
        return f"repository-{next(self._numbers)}-{secrets.token_hex(4)}"

    @cached_property
    def sshd(self) -> Sshd:
        """An OpenSSH server."""
        return self._stack.enter_context(running_sshd(self.folder / "sshd"))

    @cached_property
    def moto(self) -> S3Server:
        """An S3 server that decides between two writers."""
        return self._stack.enter_context(s3_servers.moto_server())

    @cached_property
    def rclone(self) -> S3Server:
        """An S3 server that does not."""
        return self._stack.enter_context(s3_servers.rclone_server())

    def _file(self) -> Remote:
        return Remote(f"file://{self.folder}/{self.name()}")

    def _sftp(self) -> Remote:
        return on_sshd(self.sshd, self.folder / self.name())

    def _s3_moto(self) -> Remote:
        return on_s3(self.moto)

    def _s3_rclone(self) -> Remote:
        return on_s3(self.rclone)

    def _s3_given(self) -> Remote:
        server = s3_servers.environment_server()
        assert server is not None
        return on_s3(server)


def on_sshd(sshd: Sshd, path: Path) -> Remote:
    """A directory that is reached by SSH."""
    return Remote(sshd.url(path), {**sshd.options(), "agent": False, "ssh_config": ""})


def on_s3(server: S3Server) -> Remote:
    """A new place on an S3 server, with its keys in the environment."""
    options: dict[str, Option] = {"endpoint": server.endpoint, "region": server.region}
    environment = {}
    if server.access_key:
        options["access_key_id"] = {"env": ACCESS_KEY_VARIABLE}
        options["secret_access_key"] = {"env": SECRET_KEY_VARIABLE}
        environment = {ACCESS_KEY_VARIABLE: server.access_key, SECRET_KEY_VARIABLE: server.secret_key}
    return Remote(server.fresh_url(), options, environment, exclusive=server.decides)


PLACES: dict[str, Callable[[Places], Remote]] = {
    "file": Places._file,
    "sftp": Places._sftp,
    "s3-moto": Places._s3_moto,
    "s3-rclone": Places._s3_rclone,
}
"""How a remote is made at each place."""

_given = s3_servers.environment_server()
if _given is not None:
    PLACES["s3-given"] = Places._s3_given

EXCLUSIVE: Mapping[str, Callable[[Places], Remote]] = {
    name: make
    for name, make in PLACES.items()
    if name != "s3-rclone" and (name != "s3-given" or (_given is not None and _given.decides))
}
"""The places that decide between two writers."""
