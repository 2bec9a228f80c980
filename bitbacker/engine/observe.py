"""What pipelines tell while they run.

An observer is called from the thread that runs the pipeline, often (per directory or segment); it
throttles by itself, and it does not raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a session has come.

    `bytes` counts bytes of files, `stored_bytes` what went to or came from the storage; `current` is
    the path that is worked on, for display.
    """

    files: int = 0
    bytes: int = 0
    current: str = ""
    stored_bytes: int = 0


class Observer(Protocol):
    """Who wants to know."""

    def expected(self, files: int, size_bytes: int) -> None:
        """How much there will be, as far as one can tell; 0 when unknown."""

    def progress(self, progress: Progress) -> None:
        """The state after another piece of work."""

    def problem(self, path: bytes, text: str) -> None:
        """Something is wrong with one entry; the session goes on, and ends with a problem counted."""

    def note(self, text: str) -> None:
        """Something worth knowing that is no problem."""


class SilentObserver:
    """Hears everything and does nothing."""

    def expected(self, files: int, size_bytes: int) -> None:
        """Nothing is shown."""

    def progress(self, progress: Progress) -> None:
        """Nothing is shown."""

    def problem(self, path: bytes, text: str) -> None:
        """The result counts it."""

    def note(self, text: str) -> None:
        """Nothing is shown."""
