"""The one line that is shown while a command runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bitbacker.cli import live
from bitbacker.cli.live import LiveObserver
from bitbacker.engine.observe import Progress

MIB = 1024**2


@pytest.fixture
def observer(monkeypatch: pytest.MonkeyPatch) -> LiveObserver:
    """One that was started at second 100."""
    monkeypatch.setattr(live.time, "monotonic", lambda: 100.0)
    return LiveObserver(Console(file=io.StringIO()))


def test_with_an_expectation_it_estimates(observer: LiveObserver) -> None:
    observer.expected(1000, 100 * MIB)
    observer.line(100.0)
    observer.progress(Progress(files=250, bytes=25 * MIB))
    expected = "[0:05]  25.0%  250 files, 25.000 MiB of about 100.000 MiB  5.000 MiB/s  about 0:15 left"
    assert observer.line(105.0) == expected


def test_without_an_expectation_it_counts(observer: LiveObserver) -> None:
    observer.line(100.0)
    observer.progress(Progress(files=1, bytes=2 * MIB))
    assert observer.line(102.0) == "[0:02]  1 files, 2.000 MiB  1.000 MiB/s"


def test_more_than_expected_is_no_longer_estimated(observer: LiveObserver) -> None:
    observer.expected(1, MIB)
    observer.line(100.0)
    observer.progress(Progress(files=1, bytes=2 * MIB))
    assert "left" not in observer.line(101.0)
    assert "%" not in observer.line(101.0)


def test_the_speed_is_that_of_the_last_seconds(observer: LiveObserver) -> None:
    observer.progress(Progress(bytes=100 * MIB))
    observer.line(100.0)
    for second in range(1, 30):
        observer.progress(Progress(bytes=100 * MIB + second * MIB))
        line = observer.line(100.0 + second)
    assert line.endswith("1.000 MiB/s")


def test_what_has_no_size_is_only_counted(observer: LiveObserver) -> None:
    observer.progress(Progress(files=7))
    assert observer.line(101.0) == "[0:01]  7 files"
