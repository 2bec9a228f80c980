"""The notifier contract: who is told what happened.

A notifier gets every event by `notify`.  It must return soon and must not raise; what it raises is
reported and forgotten, because a backup does not fail when the messenger does.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from bitbacker.spi.events import Event


class Notifier(Protocol):
    """Receives typed events, from one thread."""

    api_version: ClassVar[int]
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`."""

    def notify(self, event: Event) -> None:
        """Tell whoever should know."""

    def close(self) -> None:
        """Flush; called once at the end."""
