"""The live display on a terminal: how far, how fast, how long still.

Observers are called for every directory, so they only keep what they are told; Rich asks for the
picture five times a second.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from bitbacker.cli.escape import escaped, problem_text
from bitbacker.cli.output import duration, size
from bitbacker.engine.observe import Progress

UPDATES_PER_S = 5
SPEED_WINDOW_S = 10.0


@contextmanager
def live_observer(noun: str) -> Iterator[LiveObserver]:
    """A display that vanishes when the work is done."""
    console = Console(stderr=True, highlight=False)
    observer = LiveObserver(console, noun)
    with Live(observer, console=console, refresh_per_second=UPDATES_PER_S, transient=True):
        yield observer


class LiveObserver:
    """What Rich draws."""

    def __init__(self, console: Console, noun: str = "files") -> None:
        self._console = console
        self._noun = noun
        self._started = time.monotonic()
        self._progress = Progress()
        self._expected_bytes = 0
        self._samples: deque[tuple[float, int]] = deque()

    def expected(self, files: int, size_bytes: int) -> None:
        """What the rest is estimated by."""
        del files
        self._expected_bytes = size_bytes

    def progress(self, progress: Progress) -> None:
        """Kept until Rich asks."""
        self._progress = progress

    def problem(self, path: bytes, text: str) -> None:
        """A line above the display."""
        self._console.print(Text(f"bitbacker: warning: {problem_text(path, text)}"), soft_wrap=True)

    def note(self, text: str) -> None:
        """A line above the display."""
        self._console.print(Text(f"bitbacker: {escaped(text)}"), soft_wrap=True)

    def __rich__(self) -> Group:
        now = time.monotonic()
        current = Text(escaped(self._progress.current), no_wrap=True, overflow="ellipsis", style="dim")
        return Group(Text(self.line(now), no_wrap=True, overflow="ellipsis"), current)

    def line(self, now: float) -> str:
        """The picture at a moment, in one line."""
        done = self._progress
        speed = self._speed(now, done.bytes)
        parts = [f"[{duration(now - self._started)}]"]
        total = self._expected_bytes
        if total and done.bytes <= total:
            parts.append(f"{100 * done.bytes / total:.1f}%")
            parts.append(f"{done.files} {self._noun}, {size(done.bytes)} of about {size(total)}")
        else:
            parts.append(f"{done.files} {self._noun}" + (f", {size(done.bytes)}" if done.bytes else ""))
        if done.bytes:
            parts.append(f"{size(round(speed))}/s")
        if total > done.bytes and speed > 0:
            parts.append(f"about {duration((total - done.bytes) / speed)} left")
        return "  ".join(parts)

    def _speed(self, now: float, count: int) -> float:
        """Bytes per second over the last seconds."""
        self._samples.append((now, count))
        while len(self._samples) > 1 and now - self._samples[0][0] > SPEED_WINDOW_S:
            self._samples.popleft()
        then, before = self._samples[0]
        return (count - before) / (now - then) if now > then else 0.0
