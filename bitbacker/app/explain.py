"""Why a path is backed up or not."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bitbacker.app.access import Access, Wiring
from bitbacker.errors import ConfigError, UsageError
from bitbacker.spi import Explains, Explanation


@dataclass(frozen=True, slots=True)
class Explained:
    """What one source says of a path."""

    source: str
    explanation: Explanation


def explain(access: Access, path: str, source: str = "") -> tuple[Explained, ...]:
    """Ask the sources of the configuration, or the one that is named.

    Raises `UsageError`, `ConfigError`, `PluginError`.
    """
    wiring = Wiring(access)
    specs = [wiring.named_source(source)] if source else list(wiring.config.sources)
    if not specs:
        raise ConfigError(
            "there is no source to ask", hint="name a file with [sources.NAME] by --config FILE"
        )
    found = []
    for spec in specs:
        made = wiring.source(spec)
        try:
            if isinstance(made, Explains):
                # A slash at the end says that a path which does not exist is meant as a directory.
                slash = "/" if path.endswith("/") else ""
                found.append(Explained(spec.name, made.explain(os.path.abspath(path) + slash)))
        finally:
            made.close()
    if not found:
        names = ", ".join(spec.name for spec in specs)
        raise UsageError(f"no source can say why it leaves something out: {names}", hint="ask another source")
    return tuple(found)
