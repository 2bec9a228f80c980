"""The place that a URL names: `sftp://user@host:port/absolute/path`, or `/~/path` from the home directory."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import unquote

from bitbacker.errors import ConfigError
from bitbacker.spi import Located

_AUTHORITY = re.compile(
    r"(?:(?P<user>[^@:\[\]]+)(?P<password>:[^@]*)?@)?"
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+(?:%25[^\]]+)?)\]|(?P<name>[^@:\[\]]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_HOST = re.compile(r"[\w:][\w:.%-]*")
_USER = re.compile(r"(?!-)[^\s'`\"$;&<>|(){}*?!#\x00-\x1f\x7f]+")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Place:
    """Where the repository lies.

    `host` may be an alias of ssh_config.  `root` is absolute, or relative to the home directory.
    """

    host: str
    root: str
    user: str | None = None
    port: int | None = None


def place_of(url: str) -> Place:
    """Raises `ConfigError` for a URL that names no place, or holds a password."""
    where = f"{url.file}:{url.line}: " if isinstance(url, Located) and url.file else ""
    rest = url.removeprefix("sftp://")
    authority, slash, path = rest.partition("/")
    found = _AUTHORITY.fullmatch(authority)
    if found is not None and found["password"]:
        raise ConfigError(
            f"{where}a password does not belong into a URL, where logs and process lists show it: "
            "write it as the option 'login_password' of the remote"
        )
    root = _root_of(path)
    if rest == url or found is None or not slash or not root or "%00" in rest or "\0" in rest:
        raise ConfigError(
            f"{where}a repository on an SFTP server needs a host and a path: write "
            "sftp://user@host/srv/backup, or sftp://user@host/~/backup for one in the home directory"
        )
    if "?" in rest or "#" in rest or _LONE_PERCENT.search(rest):
        raise ConfigError(f"{where}in a URL, write ? as %3F, # as %23 and % as %25")
    host = unquote(found["address"] or found["name"])
    user = unquote(found["user"]) if found["user"] else None
    # Both go into the text of ssh_config, and may go from there to a shell.
    if not _HOST.fullmatch(host):
        raise ConfigError(f"{where}{host!r} is no name of a host")
    if user is not None and not _USER.fullmatch(user):
        raise ConfigError(f"{where}{user!r} is no name of a user")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= _PORT_MAX:
        raise ConfigError(f"{where}{port} is no port: write one from 1 to {_PORT_MAX}")
    return Place(host, root, user, port)


def _root_of(path: str) -> str:
    """The directory as the server is told; empty when the path names none."""
    first, _, below = path.partition("/")
    if first == "~":
        return posixpath.normpath(unquote(below, errors="surrogateescape").lstrip("/") or ".")
    if not path.strip("/"):
        return ""
    return posixpath.normpath("/" + unquote(path, errors="surrogateescape").lstrip("/"))
