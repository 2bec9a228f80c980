"""Why a path is backed up or not."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bitbacker.app.access import Access, Wiring
from bitbacker.errors import UsageError
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
        raise UsageError(
            "no source can explain that",
            hint="the configuration has no source of this name that reads files"
            if specs
            else "there is none",
        )
    return tuple(found)
