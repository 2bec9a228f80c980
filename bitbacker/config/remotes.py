"""Which remotes a command means, and by which password they open."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from bitbacker.config.given import beside
from bitbacker.config.schema import Config, Remote
from bitbacker.config.secrets import SecretSource
from bitbacker.config.table import Table
from bitbacker.errors import UsageError

REMOTE_VARIABLE = "BITBACKER_REMOTE"

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def normal_url(text: str) -> str:
    """A URL as it is; a path as a `file://` URL, relative to the file in which it stands."""
    return str(text) if _SCHEME.match(text) else Path(beside(text)).as_uri()


def shown_url(url: str) -> str:
    """The URL without a password that may be in it."""
    return _PASSWORD_IN_URL.sub(r"\1:***@", url)


def choose_remotes(config: Config, given: Sequence[str] = ()) -> tuple[Remote, ...]:
    """The remotes that `-r` names, or the environment, or else all of the file.

    Each is a name from the file, a URL, or a path.  Raises `UsageError` when there is none.
    """
    wanted = list(given) or [name for name in [os.environ.get(REMOTE_VARIABLE, "")] if name]
    remotes = tuple(_remote(config, one) for one in dict.fromkeys(wanted)) or config.remotes
    if not remotes:
        raise UsageError("no remote is named", hint="name one by -r URL, or in bitbacker.toml")
    return remotes


def choose_remote(config: Config, given: str = "") -> Remote:
    """The one remote that a command works on.  Raises `UsageError` when several could be meant."""
    remotes = choose_remotes(config, [given] if given else [])
    if len(remotes) > 1:
        names = ", ".join(remote.name for remote in remotes)
        raise UsageError(f"there are several remotes: {names}", hint="name one by -r")
    return remotes[0]


def password_source(remote: Remote, outside: SecretSource | None = None) -> SecretSource:
    """What the command line or environment names (`outside`), else what the file says, else a prompt."""
    asked = SecretSource("prompt", (), f"password of {remote.name or shown_url(remote.url)}")
    return outside or remote.password or asked


def _remote(config: Config, text: str) -> Remote:
    known = {remote.name: remote for remote in config.remotes}
    if text in known:
        return known[text]
    if not _SCHEME.match(text) and "/" not in text:
        close = get_close_matches(text, known, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"no remote is called {text!r}{guess}", hint="give a name from the file, or a URL")
    url = normal_url(text)
    same = [remote for remote in config.remotes if remote.url == url]
    if same:
        return same[0]
    return Remote("", url, None, create=False, single_writer=False, options=Table("the URL"))
