"""The source `files`: directories and files of this machine.

docs/sources.md is its manual.  It needs Linux: it walks by directory descriptors, asks for holes with
SEEK_DATA and reads extended attributes through /proc.
"""

from __future__ import annotations

from bitbacker.spi import Source, hookimpl
from bitbacker_plugins.files.config import FilesConfig
from bitbacker_plugins.files.source import FilesSource

__all__ = ["FilesConfig", "FilesSource", "bitbacker_source"]


@hookimpl
def bitbacker_source(name: str) -> type[Source] | None:
    """Offer the source `files`."""
    return FilesSource if name == "files" else None
