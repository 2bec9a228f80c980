"""Which plugins there are."""

from __future__ import annotations

from bitbacker.config import find_config, no_config, read_config
from bitbacker.errors import UsageError
from bitbacker.host import Kind, Plugin, catalog

__all__ = ["Plugin", "list_plugins"]


def list_plugins(config: str = "", kind: str = "") -> tuple[Plugin, ...]:
    """Installed plugins and those in files that the configuration names; imports none of them.

    Raises `ConfigError`, and `UsageError` for a kind that does not exist.
    """
    kinds = [one.value for one in Kind]
    if kind and kind not in kinds:
        raise UsageError(f"there is no kind of plugin {kind!r}", hint=f"the kinds are {', '.join(kinds)}")
    path = find_config(config)
    files = (read_config(path) if path else no_config()).plugins
    found = catalog([str(file) for file in files])
    return tuple(plugin for plugin in found if kind in ("", plugin.kind.value))
