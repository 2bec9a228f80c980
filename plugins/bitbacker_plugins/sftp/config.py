"""The options of a remote whose URL begins with `sftp:`."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.errors import ConfigError
from bitbacker.spi import Secret, path, secret

_CONNECTIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class SftpConfig:
    """What the URL does not say; each option counts before what `ssh_config` says.

    `connections`: how many calls are under way at once, each on a connection of its own.
    `key_file`: the private key; without it those of `ssh_config`, the agent's and the usual ones are tried.
    `key_passphrase`: opens the private key.
    `login_password`: for a server that takes no key; `password` is that of the repository.
    `known_hosts`: the only file of known host keys, instead of the user's and the system's.
    `ssh_config`: the configuration of the ssh client, behind which that of the system counts; another
        file than the usual one counts alone; empty for none.
    `agent`: whether keys of a running ssh agent are tried.
    `timeout_s`: how long nothing may move before a connection counts as dead.
    """

    connections: int = 4
    key_file: str = path(default="")
    key_passphrase: Secret | None = secret()  # noqa: RUF009  # it makes a field, as field() does
    login_password: Secret | None = secret()  # noqa: RUF009  # it makes a field, as field() does
    known_hosts: str = path(default="")
    ssh_config: str = path(default="~/.ssh/config")
    agent: bool = True
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        if not 1 <= self.connections <= _CONNECTIONS_MAX:
            raise ConfigError(f"'connections' must be from 1 to {_CONNECTIONS_MAX}")
        if not self.timeout_s > 0:
            raise ConfigError("'timeout_s' must be more than 0")
