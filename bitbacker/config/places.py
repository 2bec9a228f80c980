"""Where files lie on this machine: the configuration, the cache, the state."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs

from bitbacker.errors import ConfigError

FILE_NAME = "bitbacker.toml"
CONFIG_VARIABLE = "BITBACKER_CONFIG"
CACHE_VARIABLE = "BITBACKER_CACHE_DIR"
STATE_VARIABLE = "BITBACKER_STATE_DIR"


def config_paths() -> tuple[str, ...]:
    """Where a configuration is looked for, in this order, when none is named."""
    user = platformdirs.user_config_path("bitbacker", appauthor=False) / FILE_NAME
    return (FILE_NAME, str(user), f"/etc/bitbacker/{FILE_NAME}")


def find_config(given: str = "") -> str:
    """The path of the configuration: `given`, else the environment's, else the first that exists.

    Empty when there is none.  Raises `ConfigError` when a named one does not exist, and when one that
    nobody named could be somebody else's: it may say which commands and plugins are run.
    """
    named = given or os.environ.get(CONFIG_VARIABLE, "")
    if named:
        if not os.path.isfile(named):
            by = "--config" if given else CONFIG_VARIABLE
            raise ConfigError(f"{named}: there is no such file; {by} names it", hint="")
        return named
    found = next((path for path in config_paths() if os.path.isfile(path)), "")
    if found and not _is_ours(found):
        raise ConfigError(
            f"{found}: other users own this file or may write to it",
            hint="if you trust it, name it by --config",
        )
    return found


def cache_directory() -> Path:
    """Disposable files; not made here."""
    return _override(CACHE_VARIABLE) or platformdirs.user_cache_path("bitbacker", appauthor=False)


def state_directory() -> Path:
    """Files that detect a rollback and continue a session; not made here."""
    return _override(STATE_VARIABLE) or platformdirs.user_state_path("bitbacker", appauthor=False)


def _is_ours(path: str) -> bool:
    """Whether nobody but root and this user could have written it."""
    status = os.stat(path)
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & stat.S_IWOTH


def _override(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value).expanduser().absolute() if value else None
