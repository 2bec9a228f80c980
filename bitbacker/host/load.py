"""From a kind and a name to a class that has been checked.

The single files that the configuration names are asked first, then the one entry point of that name;
two that answer are an error, because which of them wins should not depend on luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, cast

import pluggy

from bitbacker.errors import PluginError, PluginMissing
from bitbacker.host.catalog import Installed, Kind, Plugin, catalog, installed
from bitbacker.host.check import complaint
from bitbacker.host.fanout import Fanout, OnTrouble
from bitbacker.host.singlefile import import_file
from bitbacker.spi import (
    PROJECT,
    Chunker,
    Cipher,
    Notifier,
    RetentionPolicy,
    Source,
    Transport,
    hookspecs,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A class that passed the checks, and where it came from."""

    plugin: Plugin
    offered: type[Any]


class Host:
    """Loads plugins by name; `files` are the single-file plugins that the configuration names.

    Every loading method raises `PluginMissing` when nothing answers to the name, and `PluginError`
    when what answers cannot be used.  `requirement` is what a repository recorded beside the name
    (see `Plugin.requirement`), for the hint to install it.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        self._paths = tuple(files)
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: dict[tuple[Kind, str], Loaded] = {}

    def chunker(self, name: str, requirement: str = "") -> type[Chunker]:
        """The chunker class of this name."""
        return cast("type[Chunker]", self._load(Kind.CHUNKER, name, requirement).offered)

    def cipher(self, name: str, requirement: str = "") -> type[Cipher]:
        """The cipher class of this name."""
        return cast("type[Cipher]", self._load(Kind.CIPHER, name, requirement).offered)

    def transport(self, scheme: str) -> type[Transport]:
        """The transport class for this URL scheme."""
        return cast("type[Transport]", self._load(Kind.TRANSPORT, scheme).offered)

    def retention(self, name: str) -> type[RetentionPolicy]:
        """The retention policy class of this name."""
        return cast("type[RetentionPolicy]", self._load(Kind.RETENTION, name).offered)

    def source(self, name: str) -> type[Source]:
        """The source class of this name."""
        return cast("type[Source]", self._load(Kind.SOURCE, name).offered)

    def notifier(self, name: str) -> type[Notifier]:
        """The notifier class of this name."""
        return cast("type[Notifier]", self._load(Kind.NOTIFIER, name).offered)

    def origin(self, kind: Kind, name: str) -> Plugin:
        """Load it, and say where it came from."""
        return self._load(kind, name).plugin

    def catalog(self) -> tuple[Plugin, ...]:
        """What could be loaded; imports nothing."""
        return catalog(self._paths)

    def fanout(self, notifiers: Mapping[str, Notifier], on_trouble: OnTrouble) -> Fanout:
        """One door to all of these notifiers, and to the single files that observe events."""
        return Fanout(notifiers, on_trouble, [module for _, module in self._files])

    @cached_property
    def _files(self) -> tuple[tuple[str, object], ...]:
        """The single files by path, imported when the first plugin is wanted."""
        loaded = tuple((path, import_file(path)) for path in self._paths)
        for path, module in loaded:
            _registered(self._manager, module, f"the plugin file {path}")
        return loaded

    @cached_property
    def _installed(self) -> tuple[Installed, ...]:
        return installed()

    def _load(self, kind: Kind, name: str, requirement: str = "") -> Loaded:
        known = self._loaded.get((kind, name))
        if known is None:
            known = self._loaded[kind, name] = self._find(kind, name, requirement)
        return known

    def _find(self, kind: Kind, name: str, requirement: str) -> Loaded:
        in_files = self._asked_files(kind, name)
        in_distributions = [
            one for one in self._installed if (one.plugin.kind, one.plugin.name) == (kind, name)
        ]
        answers = [loaded.plugin for loaded in in_files] + [one.plugin for one in in_distributions]
        if not answers:
            raise self._missing(kind, name, requirement)
        if len(answers) > 1:
            both = " and ".join(str(plugin) for plugin in answers)
            raise PluginError(
                f"{len(answers)} {kind.value} plugins are called {name!r}: {both}",
                hint="remove all but one of them",
            )
        return in_files[0] if in_files else self._load_installed(in_distributions[0])

    def _asked_files(self, kind: Kind, name: str) -> list[Loaded]:
        plugins = [(Plugin(kind, name, "", "", path), module) for path, module in self._files]
        answers = [(plugin, self._ask(plugin, module)) for plugin, module in plugins]
        return [_checked(plugin, offered) for plugin, offered in answers if offered is not None]

    def _load_installed(self, found: Installed) -> Loaded:
        plugin = found.plugin
        try:
            module = found.entry_point.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{_called(plugin)} cannot be loaded: {type(error).__name__}: {error}",
                hint=_import_hint(found, error),
            ) from error
        _registered(self._manager, module, _called(plugin))
        offered = self._ask(plugin, module)
        if offered is None:
            raise PluginError(f"{_called(plugin)}: its hook {plugin.kind.hook} is absent or returned nothing")
        return _checked(plugin, offered)

    def _ask(self, plugin: Plugin, module: object) -> object:
        """Call the making hook of this one module."""
        others = [other for other in self._manager.get_plugins() if other is not module]
        hook: Callable[..., object] = self._manager.subset_hook_caller(plugin.kind.hook, others)
        try:
            return hook(name=plugin.name)
        except Exception as error:
            raise PluginError(
                f"{_called(plugin)}: its hook {plugin.kind.hook} failed: {type(error).__name__}: {error}"
            ) from error

    def _missing(self, kind: Kind, name: str, requirement: str) -> PluginMissing:
        names = sorted({one.plugin.name for one in self._installed if one.plugin.kind is kind})
        close = get_close_matches(name, names, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        hint = f"installed are: {', '.join(names)}" if names else None
        if requirement:
            hint = f"install {requirement}"
        elif not self._installed:
            hint = "BitBacker itself is not installed; in its checkout run: pip install -e ."
        return PluginMissing(f"no {kind.value} plugin is called {name!r}{guess}", hint=hint)


def _called(plugin: Plugin) -> str:
    return f"{plugin.kind.value} plugin {plugin.name!r} ({plugin})"


def _registered(manager: pluggy.PluginManager, module: object, called: str) -> None:
    """Register the module, unless it is already; a hook that BitBacker does not have is an error."""
    if manager.is_registered(module):
        return
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        # Some versions of pluggy have registered it by now, some have not.
        if manager.is_registered(module):
            manager.unregister(module)
        reason = " ".join(str(error).split())
        raise PluginError(
            f"{called} is wrong: {reason}", hint="the hooks are in bitbacker/spi/hookspecs.py"
        ) from error


def _checked(plugin: Plugin, offered: object) -> Loaded:
    wrong = complaint(plugin.kind, offered)
    if wrong:
        raise PluginError(
            f"{_called(plugin)} cannot be used: {wrong}", hint="install a release that fits this BitBacker"
        )
    return Loaded(plugin, cast("type[Any]", offered))


def _import_hint(found: Installed, error: BaseException) -> str | None:
    """A missing library is often an extra that is called like the plugin."""
    distribution = found.entry_point.dist
    extras = (distribution.metadata.get_all("Provides-Extra") or []) if distribution else []
    if isinstance(error, ImportError) and found.plugin.name in extras:
        return f"pip install '{found.plugin.distribution}[{found.plugin.name}]'"
    return None
