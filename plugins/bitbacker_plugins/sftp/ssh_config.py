"""What the configuration of the ssh client says of a host: that of the user, then that of the system.

What the URL says comes first, then the files in their own order, then the usual values.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitbacker.errors import ConfigError
from bitbacker_plugins.sftp.place import Place
from bitbacker_plugins.sftp.ssh_settings import Files, HostSettings, expanded

USER_CONFIG = "~/.ssh/config"
SYSTEM_CONFIG = "/etc/ssh/ssh_config"
_SSH_PORT = 22
_PORT_MAX = 65535
_USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_GLOBAL_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<address>.+)\]|(?P<name>[^\[\]]+?))(?::(?P<port>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A server to connect to.  `name` is what its key is known by; no `identity_files` are the usual ones."""

    host: str
    port: int
    user: str
    name: str
    identity_files: tuple[str, ...] | None
    identities_only: bool
    known_hosts: tuple[str, ...]
    jumps: tuple[Place, ...]
    proxy_command: str | None


def target_of(place: Place, path: str) -> Target:
    """Resolve `place` with the configuration in `path`.  Raises `ConfigError`."""
    try:
        return _target_of(place, path)
    except ValueError as error:
        raise ConfigError(f"the configuration of ssh, {path!r}, for {place.host!r}: {error}") from error


def _target_of(place: Place, path: str) -> Target:
    said = _settings(place, _files(path))
    host = _host(said)
    user = said.first("user") or said.local_user
    port = _port(said.first("port") or str(_SSH_PORT))
    alias = said.first("hostkeyalias")
    jump = said.first("proxyjump") or "none"
    tokens = _tokens(said, host, port, user, "" if jump.lower() == "none" else jump)

    def paths(keyword: str, usual: Sequence[str]) -> tuple[str, ...]:
        found = said.values.get(keyword, usual)
        return tuple(os.path.expanduser(expanded(each, tokens)) for each in found if each.lower() != "none")

    command = said.first("proxycommand") or "none"
    return Target(
        host=host,
        port=port,
        user=user,
        name=alias.lower() if alias else host,
        identity_files=paths("identityfile", ()) if "identityfile" in said.values else None,
        identities_only=(said.first("identitiesonly") or "no").lower() in {"yes", "true"},
        known_hosts=paths("userknownhostsfile", _USER_KNOWN_HOSTS)
        + paths("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS),
        jumps=() if jump.lower() == "none" else _jumps(expanded(jump, tokens)),
        proxy_command=None if command.lower() == "none" else expanded(command, tokens),
    )


def is_usual(path: str) -> bool:
    """Whether it is the file that ssh reads when it is told of none."""
    return os.path.expanduser(path) == os.path.expanduser(USER_CONFIG)


def _files(path: str) -> Sequence[Files]:
    """The files to read; as with ssh, a file that is named otherwise than usual is the only one."""
    if not path:
        return ()
    user_directory = os.path.expanduser("~/.ssh")
    user = os.path.expanduser(path)
    if not is_usual(path):
        return (Files(user, user_directory, required=True),)
    return Files(user, user_directory), Files(SYSTEM_CONFIG, os.path.dirname(SYSTEM_CONFIG))


def _settings(place: Place, files: Sequence[Files]) -> HostSettings:
    given: dict[str, Sequence[str]] = {}
    if place.user:
        given["user"] = [place.user]
    if place.port:
        given["port"] = [str(place.port)]
    said = HostSettings(place.host, place.host, pwd.getpwuid(os.getuid()).pw_name, given)
    said.read(files)
    canonical = _canonical(said)
    if canonical or said.final_wanted:
        # Both ask for a second reading, in which the host goes by the name that was found.
        said.host = canonical or _host(said)
        said.values["hostname"] = [said.host.replace("%", "%%")]
        said.final = True
        said.read(files)
    return said


def _host(said: HostSettings) -> str:
    name = said.first("hostname")
    host = said.original if name is None else expanded(name, {"h": said.host})
    # The interface behind an address has capital letters of its own.
    return host if "%" in host else host.lower()


def _canonical(said: HostSettings) -> str | None:
    """The full name of the host, when the configuration asks for one and the network knows it."""
    wanted = (said.first("canonicalizehostname") or "no").lower()
    host = _host(said)
    direct = not {"proxyjump", "proxycommand"} & said.values.keys()
    dots_max = int(said.first("canonicalizemaxdots") or "1")
    asked = wanted == "always" or (wanted in {"yes", "true"} and direct)
    if not asked or host.count(".") > dots_max:
        return None
    for domain in said.values.get("canonicaldomains", ()):
        try:
            socket.getaddrinfo(f"{host}.{domain}", None)
        except OSError:
            continue
        return f"{host}.{domain}"
    return None


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _PORT_MAX:
        raise ValueError(f"{text!r} is no port: write one from 1 to {_PORT_MAX}")
    return int(text)


def _tokens(said: HostSettings, host: str, port: int, user: str, jump: str) -> Mapping[str, str]:
    """What stands for `%h` and its like."""
    here = socket.gethostname()
    # ssh makes a name of a socket from this; nothing rests on the strength of SHA-1.
    digest = hashlib.sha1(f"{here}{host}{port}{user}{jump}".encode(), usedforsecurity=False).hexdigest()
    return {
        "C": digest,
        "d": os.path.expanduser("~"),
        "h": host,
        "i": str(os.getuid()),
        "j": jump,
        "k": (said.first("hostkeyalias") or said.original).lower(),
        "L": here.partition(".")[0],
        "l": here,
        "n": said.original,
        "p": str(port),
        "r": user,
        "u": said.local_user,
    }


def _jumps(text: str) -> tuple[Place, ...]:
    found = [_JUMP.fullmatch(each.strip()) for each in text.split(",")]
    if None in found:
        raise ValueError(f"{text!r} is no list of hosts to jump through")
    return tuple(
        Place(jump["address"] or jump["name"], "", jump["user"], int(jump["port"]) if jump["port"] else None)
        for jump in found
        if jump
    )
