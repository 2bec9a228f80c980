"""Telling every notifier what happened, whatever one of them does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pluggy

from bitbacker.errors import PluginError
from bitbacker.spi import PROJECT, Event, Notifier, hookimpl, hookspecs

OnTrouble = Callable[[PluginError], None]
"""Told about each notifier that fails, once a notifier."""


class Fanout:
    """Calls `bitbacker_event` for every notifier and every loaded module that observes.

    A notifier that raises is reported once and called again for the next event: a backup does not
    fail when the messenger does.
    """

    def __init__(
        self, notifiers: Mapping[str, Notifier], on_trouble: OnTrouble, observers: Sequence[object] = ()
    ) -> None:
        self._notifiers = dict(notifiers)
        self._on_trouble = on_trouble
        self._reported: set[str] = set()
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        for observer in observers:
            self._manager.register(observer)
        for name, notifier in self._notifiers.items():
            self._manager.register(_Notified(notifier), name=name)

    def send(self, event: Event) -> None:
        """Tell all of them, one after the other, from this thread."""
        # pluggy's own call would end at the first one that raises.
        for implementation in self._manager.hook.bitbacker_event.get_hookimpls():
            arguments = [event for _ in implementation.argnames]
            self._contained(implementation.plugin_name, partial(implementation.function, *arguments))

    def close(self) -> None:
        """Close every notifier."""
        for name, notifier in self._notifiers.items():
            self._contained(name, notifier.close)

    def _contained(self, name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # nothing that a notifier does may stop a backup
            if name not in self._reported:
                self._reported.add(name)
                trouble = PluginError(f"notifier {name!r} failed: {type(error).__name__}: {error}")
                trouble.__cause__ = error
                self._on_trouble(trouble)


class _Notified:
    """Makes a notifier a plugin in the sense of pluggy."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    @hookimpl
    def bitbacker_event(self, event: Event) -> None:
        self._notifier.notify(event)
