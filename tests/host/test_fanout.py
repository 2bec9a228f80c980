"""Every notifier hears every event, whatever the others do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.errors import PluginError
from bitbacker.host import Fanout, Host
from bitbacker.spi import Event, NoConfig, RunFinished, RunStarted

EVENTS = [RunStarted(1, "run"), RunFinished(2, "run", 0, 1.0)]


class Listener:
    """Remembers what it hears; raises what it is told to."""

    api_version = 1
    Config = NoConfig

    def __init__(self, raises: Exception | None = None) -> None:
        self.heard: list[Event] = []
        self.closed = 0
        self._raises = raises

    def notify(self, event: Event) -> None:
        self.heard.append(event)
        if self._raises:
            raise self._raises

    def close(self) -> None:
        self.closed += 1
        if self._raises:
            raise self._raises


@pytest.fixture
def troubles() -> list[PluginError]:
    return []


def sent(fanout: Fanout) -> None:
    for event in EVENTS:
        fanout.send(event)
    fanout.close()


def test_every_notifier_hears_every_event_and_is_closed(troubles: list[PluginError]) -> None:
    one, two = Listener(), Listener()
    sent(Host().fanout({"one": one, "two": two}, troubles.append))
    assert (one.heard, two.heard) == (EVENTS, EVENTS)
    assert (one.closed, two.closed, troubles) == (1, 1, [])


@pytest.mark.parametrize("order", [("bad", "good"), ("good", "bad")])
def test_one_that_raises_is_reported_once_and_stops_nobody(
    order: tuple[str, str], troubles: list[PluginError]
) -> None:
    listeners = {"bad": Listener(OSError("no route")), "good": Listener()}
    sent(Host().fanout({name: listeners[name] for name in order}, troubles.append))
    assert [str(trouble) for trouble in troubles] == ["notifier 'bad' failed: OSError: no route"]
    assert [listener.heard for listener in listeners.values()] == [EVENTS, EVENTS]
    assert [listener.closed for listener in listeners.values()] == [1, 1]


def test_the_report_keeps_its_cause(troubles: list[PluginError]) -> None:
    error = OSError("no route")
    sent(Host().fanout({"bad": Listener(error)}, troubles.append))
    assert troubles[0].__cause__ is error


def test_an_interruption_is_no_failure_of_a_notifier(troubles: list[PluginError]) -> None:
    class Interrupted(Listener):
        def notify(self, event: Event) -> None:
            super().notify(event)
            raise KeyboardInterrupt

    fanout = Host().fanout({"one": Interrupted()}, troubles.append)
    with pytest.raises(KeyboardInterrupt):
        fanout.send(EVENTS[0])
    assert troubles == []


def test_nobody_to_tell_is_fine(troubles: list[PluginError]) -> None:
    sent(Host().fanout({}, troubles.append))
    assert troubles == []


def test_a_single_file_may_observe_without_being_a_notifier(
    tmp_path: Path, troubles: list[PluginError]
) -> None:
    heard = tmp_path / "heard"
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "from bitbacker.spi import hookimpl\n\n"
        "@hookimpl\n"
        "def bitbacker_event(event):\n"
        f"    with Path({str(heard)!r}).open('a') as file:\n"
        "        print(type(event).__name__, file=file)\n"
        "    raise RuntimeError('boom')\n"
    )
    good = Listener()
    sent(Host([str(tmp_path / "mine.py")]).fanout({"good": good}, troubles.append))
    assert heard.read_text() == "RunStarted\nRunFinished\n"
    assert good.heard == EVENTS
    assert len(troubles) == 1
