"""Telling notifiers what a run does."""

from __future__ import annotations

import os
import time

from bitbacker.app.access import Wiring
from bitbacker.config import make_config
from bitbacker.engine.observe import Observer, Progress
from bitbacker.errors import PluginError
from bitbacker.host import Fanout
from bitbacker.spi import Notifier, SourceProblem


def fanout_of(wiring: Wiring, observer: Observer) -> Fanout:
    """One door to all notifiers of the configuration; the observer hears of those that fail.

    Raises `PluginError`, `ConfigError`, `SecretError`.
    """

    def on_trouble(trouble: PluginError) -> None:
        observer.note(trouble.message)

    notifiers: dict[str, Notifier] = {}
    for spec in wiring.config.notifiers:
        offered = wiring.host.notifier(spec.plugin.name)
        notifiers[spec.name] = offered(make_config(offered.Config, spec.plugin.options))
    return wiring.host.fanout(notifiers, on_trouble)


class TellingObserver:
    """Passes everything on, and tells notifiers of the problems of one source."""

    def __init__(self, observer: Observer, fanout: Fanout, source: str) -> None:
        self._observer = observer
        self._fanout = fanout
        self._source = source

    def expected(self, files: int, size_bytes: int) -> None:
        """Passed on."""
        self._observer.expected(files, size_bytes)

    def progress(self, progress: Progress) -> None:
        """Passed on."""
        self._observer.progress(progress)

    def problem(self, path: bytes, text: str) -> None:
        """Passed on, and told."""
        self._observer.problem(path, text)
        self._fanout.send(SourceProblem(time.time_ns(), self._source, os.fsdecode(path), text))

    def note(self, text: str) -> None:
        """Passed on."""
        self._observer.note(text)
