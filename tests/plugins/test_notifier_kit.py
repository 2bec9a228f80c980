"""The conformance suite for notifiers fails a notifier for each promise that it breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from bitbacker.spi import Event, NoConfig, Notifier, RunStarted, SourceProblem
from bitbacker.testing import notifier as kit
from bitbacker.testing.contract import contract_tests
from bitbacker.testing.notifier import NotifierContract


class Deaf:
    """Hears everything and does nothing; the broken ones below are this one, but for one thing."""

    api_version = 1
    Config: type[Any] = NoConfig

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def notify(self, event: Event) -> Any:
        self.heard.append(event)

    def close(self) -> None:
        pass


class TestDeaf(NotifierContract):
    @pytest.fixture
    def notifier(self) -> Notifier:
        return Deaf()


class Undeclared(Deaf):
    Config = dict


class Talkative(Deaf):
    def notify(self, event: Event) -> Any:
        return f"got {event}"


class Surprised(Deaf):
    def notify(self, event: Event) -> Any:
        if not type(event).__module__.startswith("bitbacker.spi"):
            raise TypeError(f"what is {event}?")


class Encoding(Deaf):
    def notify(self, event: Event) -> Any:
        if isinstance(event, SourceProblem):
            event.path.encode()


class Slow(Deaf):
    def notify(self, event: Event) -> Any:
        if isinstance(event, RunStarted):
            time.sleep(0.05)


class Unopened(Deaf):
    def close(self) -> None:
        self.heard[0]


def awkward(suite: NotifierContract, notifier: Notifier) -> None:
    for text in kit.AWKWARD_TEXTS:
        suite.test_it_does_not_raise_for_awkward_names(notifier, text)


BREACHES: dict[str, tuple[type[Deaf], Callable[[NotifierContract, Notifier], None]]] = {
    "test_it_declares_what_it_is": (Undeclared, NotifierContract.test_it_declares_what_it_is),
    "test_it_takes_every_event_and_returns_nothing": (
        Talkative,
        NotifierContract.test_it_takes_every_event_and_returns_nothing,
    ),
    "test_it_does_not_raise_for_an_event_that_it_does_not_know": (
        Surprised,
        NotifierContract.test_it_does_not_raise_for_an_event_that_it_does_not_know,
    ),
    "test_it_does_not_raise_for_awkward_names": (Encoding, awkward),
    "test_it_returns_soon": (Slow, NotifierContract.test_it_returns_soon),
    "test_it_closes_when_it_was_told_nothing": (
        Unopened,
        NotifierContract.test_it_closes_when_it_was_told_nothing,
    ),
}


@pytest.mark.parametrize("test", BREACHES)
def test_a_broken_promise_is_noticed(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that the slow one need not take five seconds to be too slow.
    monkeypatch.setattr(kit, "SOON_S", 0.04)
    broken, promise = BREACHES[test]
    with pytest.raises((AssertionError, TypeError, UnicodeEncodeError, IndexError)):
        promise(NotifierContract(), broken())


def test_every_test_of_the_suite_has_a_notifier_that_fails_it() -> None:
    assert set(BREACHES) == contract_tests(TestDeaf).keys() - contract_tests(NotifierContract).keys()
