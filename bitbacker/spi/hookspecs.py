"""The hooks by which plugins are found.

An entry point's value is a module that holds `@hookimpl` functions.  A making hook is asked for one
name and returns a class, or None when the name is not its own.
"""

from __future__ import annotations

import pluggy

from bitbacker.spi.chunker import Chunker
from bitbacker.spi.cipher import Cipher
from bitbacker.spi.events import Event
from bitbacker.spi.notifier import Notifier
from bitbacker.spi.retention import RetentionPolicy
from bitbacker.spi.source import Source
from bitbacker.spi.transport import Transport

PROJECT = "bitbacker"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def bitbacker_chunker(name: str) -> type[Chunker] | None:
    """Return the chunker class of this name."""


@hookspec(firstresult=True)
def bitbacker_cipher(name: str) -> type[Cipher] | None:
    """Return the cipher class of this name."""


@hookspec(firstresult=True)
def bitbacker_transport(name: str) -> type[Transport] | None:
    """Return the transport class for this URL scheme."""


@hookspec(firstresult=True)
def bitbacker_retention(name: str) -> type[RetentionPolicy] | None:
    """Return the retention policy class of this name."""


@hookspec(firstresult=True)
def bitbacker_source(name: str) -> type[Source] | None:
    """Return the source class of this name."""


@hookspec(firstresult=True)
def bitbacker_notifier(name: str) -> type[Notifier] | None:
    """Return the notifier class of this name."""


@hookspec
def bitbacker_event(event: Event) -> None:
    """Called for every event, on every notifier that the configuration names."""
