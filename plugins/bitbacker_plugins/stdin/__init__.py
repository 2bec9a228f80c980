"""The source `stdin`: one file, made of what is piped into BitBacker.

docs/sources.md is its manual.
"""

from __future__ import annotations

from bitbacker.spi import Source, hookimpl
from bitbacker_plugins.stdin.source import StdinConfig, StdinSource

__all__ = ["StdinConfig", "StdinSource", "bitbacker_source"]


@hookimpl
def bitbacker_source(name: str) -> type[Source] | None:
    """Offer the source `stdin`."""
    return StdinSource if name == "stdin" else None
