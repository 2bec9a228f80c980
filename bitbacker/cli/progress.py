"""What is shown while something runs: a live display, JSON lines, or nothing but problems."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from bitbacker.cli.escape import escaped, problem_text
from bitbacker.cli.options import Globals
from bitbacker.cli.output import Output, json_path, json_text
from bitbacker.engine.observe import Observer, Progress

STATUS_INTERVAL_S = 1.0


@contextmanager
def observing(chosen: Globals, noun: str = "files") -> Iterator[Observer]:
    """An observer that fits the terminal and the options; `noun` is what it counts."""
    if chosen.json:
        yield JsonObserver(Output(chosen), status=not chosen.quiet)
    elif chosen.quiet or not sys.stderr.isatty():
        yield LineObserver(sys.stderr, notes=not chosen.quiet)
    else:
        # Rich is slow to load, and most runs have no terminal.
        from bitbacker.cli.live import live_observer

        with live_observer(noun) as observer:
            yield observer


class LineObserver:
    """Writes problems and notes, one a line."""

    def __init__(self, stream: TextIO, *, notes: bool) -> None:
        self._stream = stream
        self._notes = notes

    def expected(self, files: int, size_bytes: int) -> None:
        """Nothing is shown."""

    def progress(self, progress: Progress) -> None:
        """Nothing is shown."""

    def problem(self, path: bytes, text: str) -> None:
        """A warning."""
        self._stream.write(f"bitbacker: warning: {problem_text(path, text)}\n")

    def note(self, text: str) -> None:
        """A line that -q leaves out."""
        if self._notes:
            self._stream.write(f"bitbacker: {escaped(text)}\n")


class JsonObserver:
    """Writes lines of type `status`, `problem` and `note`."""

    def __init__(self, out: Output, *, status: bool) -> None:
        self._out = out
        self._status = status
        self._due = time.monotonic() + STATUS_INTERVAL_S
        self._expected = (0, 0)

    def expected(self, files: int, size_bytes: int) -> None:
        """Remembered for the next status."""
        self._expected = (files, size_bytes)

    def progress(self, progress: Progress) -> None:
        """A status, at most one a second."""
        now = time.monotonic()
        if not self._status or now < self._due:
            return
        self._due = now + STATUS_INTERVAL_S
        files, size_bytes = self._expected
        self._out.record(
            "status",
            files=progress.files,
            bytes=progress.bytes,
            stored_bytes=progress.stored_bytes,
            expected_files=files,
            expected_bytes=size_bytes,
            **json_text(progress.current, "current"),
        )

    def problem(self, path: bytes, text: str) -> None:
        """One line a problem."""
        self._out.record("problem", **json_path(path), problem=escaped(text))

    def note(self, text: str) -> None:
        """One line a note."""
        self._out.record("note", text=escaped(text))
