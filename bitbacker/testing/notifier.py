"""The conformance suite of notifiers: every sentence of `bitbacker.spi.notifier` as a test.

::

    class TestMyNotifier(NotifierContract):
        @pytest.fixture
        def notifier(self) -> Notifier:
            return MyNotifier(MyNotifier.Config())

The suite cannot know where a message arrives: test that it does beside it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from bitbacker.spi import (
    BackupFinished,
    CheckFinished,
    Event,
    Notifier,
    RetentionApplied,
    RunFailed,
    RunFinished,
    RunStarted,
    SourceProblem,
)
from bitbacker.testing.contract import Contract, assert_declared

SOON_S = 5.0
"""How long one call may take."""

NOW_NS = 1_800_000_000_000_000_000
BYTE_OF_NO_UTF8 = "\udcff"
"""How a byte that is not UTF-8 looks in the name of a file."""

AWKWARD_TEXTS = (
    "",
    "a\nb",
    "a\x00b",
    f"caf{BYTE_OF_NO_UTF8}",
    "\u202egnp.exe",
    '"quoted" \\ {braces} %s',
    "x" * 100_000,
)


@dataclass(frozen=True, slots=True)
class EventOfTomorrow(Event):
    """An event class that no plugin knows yet."""

    answer: int


def every_event(text: str = "home") -> list[Event]:
    """One event of each class, with `text` wherever words go."""
    return [
        RunStarted(NOW_NS, text),
        SourceProblem(NOW_NS, text, text, text),
        BackupFinished(NOW_NS, text, text, 3, 3, 0, 10**15, 10**12, 10**11, 0.25),
        RetentionApplied(NOW_NS, 10, 2),
        CheckFinished(NOW_NS, 0, read_data=True),
        CheckFinished(NOW_NS, 1, read_data=False),
        RunFailed(NOW_NS, text, "storage", text),
        RunFinished(NOW_NS, text, 0, 1.5),
    ]


class NotifierContract(Contract, kit=True):
    """Override `notifier`."""

    @pytest.fixture
    def notifier(self) -> Notifier:
        """The notifier under test, new for each test."""
        raise NotImplementedError

    def test_it_declares_what_it_is(self, notifier: Notifier) -> None:
        assert_declared(notifier)

    def test_it_takes_every_event_and_returns_nothing(self, notifier: Notifier) -> None:
        notify: Any = notifier.notify
        answers = [notify(event) for event in every_event()]
        notifier.close()
        assert answers == [None] * len(answers)

    def test_it_does_not_raise_for_an_event_that_it_does_not_know(self, notifier: Notifier) -> None:
        notifier.notify(EventOfTomorrow(NOW_NS, 42))
        notifier.close()

    @pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=lambda text: ascii(text[:12]))
    def test_it_does_not_raise_for_awkward_names(self, notifier: Notifier, text: str) -> None:
        for event in every_event(text):
            notifier.notify(event)
        notifier.close()

    def test_it_returns_soon(self, notifier: Notifier) -> None:
        slowest_s = 0.0
        for event in every_event():
            begin = time.perf_counter()
            notifier.notify(event)
            slowest_s = max(slowest_s, time.perf_counter() - begin)
        notifier.close()
        assert slowest_s < SOON_S

    def test_it_closes_when_it_was_told_nothing(self, notifier: Notifier) -> None:
        notifier.close()
