"""`toeplitz-aes`: content-defined chunks whose ends tell nothing about the key."""

from __future__ import annotations

from bitbacker.spi import hookimpl
from bitbacker_plugins.gear.toeplitz.chunker import ToeplitzAesChunker
from bitbacker_plugins.gear.toeplitz.rule import ToeplitzAesConfig

__all__ = ["ToeplitzAesChunker", "ToeplitzAesConfig", "bitbacker_chunker"]


@hookimpl
def bitbacker_chunker(name: str) -> type[ToeplitzAesChunker] | None:
    """Answer to `toeplitz-aes`."""
    return ToeplitzAesChunker if name == "toeplitz-aes" else None
