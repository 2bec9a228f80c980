"""What the configuration of the ssh client says of a host: `~/.ssh/config` and the files that it includes.

What the URL says comes first, then the file in its own order, then the usual values.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
from collections.abc import Sequence
from dataclasses import dataclass

import paramiko

from bitbacker.errors import ConfigError
from bitbacker_plugins.sftp.place import Place

_SSH_PORT = 22
_NESTING_MAX = 16
_INCLUDE = re.compile(r"\s*include(?:\s+|\s*=\s*)(.+?)\s*", re.IGNORECASE)
_BLOCK = re.compile(r"\s*(host|match)\b", re.IGNORECASE)
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<address>.+)\]|(?P<name>[^\[\]]+?))(?::(?P<port>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A server to connect to.  `name` is what its key is known by."""

    host: str
    port: int
    user: str
    name: str
    identity_files: tuple[str, ...]
    identities_only: bool
    known_hosts: tuple[str, ...]
    jumps: tuple[Place, ...]
    proxy_command: str | None


def target_of(place: Place, path: str) -> Target:
    """Resolve `place` with the configuration in `path`.  Raises `ConfigError`."""
    text = _first_block(place) + (_read(os.path.expanduser(path), 0) if path else "")
    try:
        found = paramiko.SSHConfig.from_text(text).lookup(place.host)
        jump = found.get("proxyjump", "none")
        return Target(
            host=found["hostname"],
            port=int(found.get("port", _SSH_PORT)),
            user=found.get("user") or pwd.getpwuid(os.getuid()).pw_name,
            name=found.get("hostkeyalias") or found["hostname"],
            identity_files=tuple(found.get("identityfile", ())),
            identities_only=found.get("identitiesonly", "no").lower() == "yes",
            known_hosts=_known_hosts(found),
            jumps=() if jump.lower() == "none" else tuple(map(_jump, jump.split(","))),
            proxy_command=found.get("proxycommand"),
        )
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"cannot make use of {path!r} for {place.host!r}: {error}") from error


def _first_block(place: Place) -> str:
    """What the URL says, as the block that counts first."""
    lines = [f"Host {place.host}"]
    lines += [f"User {place.user}"] if place.user else []
    lines += [f"Port {place.port}"] if place.port else []
    return "\n".join([*lines, "Host *", ""])


def _known_hosts(found: paramiko.SSHConfigDict) -> tuple[str, ...]:
    paths = found.get("userknownhostsfile", _USER_KNOWN_HOSTS).split()
    paths += found.get("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS).split()
    return tuple(path for path in paths if path != "none")


def _jump(text: str) -> Place:
    found = _JUMP.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is no host to jump through")
    port = int(found["port"]) if found["port"] else None
    return Place(found["address"] or found["name"], "", found["user"], port)


def _read(path: str, nesting: int) -> str:
    """The text of a file and of those that it includes before its first block.

    An Include inside a block is left out: it would count for some hosts only, which pasting its text
    in cannot say.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error.strerror}") from error
    if nesting > _NESTING_MAX:
        raise ConfigError(f"{path!r} is included too deeply")
    text = []
    in_block = False
    for line in lines:
        in_block = in_block or _BLOCK.match(line) is not None
        include = _INCLUDE.fullmatch(line)
        if include is None:
            text.append(line)
        elif not in_block:
            text += [_read(each, nesting + 1) for each in _included(include[1], os.path.dirname(path))]
            text.append("Host *")
    return "\n".join([*text, ""])


def _included(patterns: str, directory: str) -> Sequence[str]:
    return [
        path
        for pattern in patterns.split()
        for path in sorted(glob.glob(os.path.join(directory, os.path.expanduser(pattern.strip('"')))))
    ]
