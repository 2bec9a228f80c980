"""`gear`: content-defined chunks by a keyed rolling hash."""

from __future__ import annotations

from bitbacker.spi import hookimpl
from bitbacker_plugins.gear.chunker import GearChunker
from bitbacker_plugins.gear.rule import GearConfig

__all__ = ["GearChunker", "GearConfig", "bitbacker_chunker"]


@hookimpl
def bitbacker_chunker(name: str) -> type[GearChunker] | None:
    """Answer to `gear`."""
    return GearChunker if name == "gear" else None
