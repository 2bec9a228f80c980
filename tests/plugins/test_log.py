"""The notifier `log` writes every event as one line."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

from bitbacker.config import make_config
from bitbacker.errors import BitBackerError, ConfigError
from bitbacker.spi import (
    BackupFinished,
    CheckFinished,
    Event,
    Notifier,
    RunFailed,
    RunFinished,
    RunStarted,
    SourceProblem,
)
from bitbacker.testing.notifier import AWKWARD_TEXTS, EventOfTomorrow, NotifierContract, every_event
from bitbacker_plugins.log import LogConfig, LogNotifier, bitbacker_notifier

TIME_NS = 1_763_900_000_123_456_789
TIME = "2025-11-23T12:13:20.123Z"
PROBLEM = SourceProblem(TIME_NS, "home", "a b/ü", "permission denied")


class TestLogToAFile(NotifierContract):
    @pytest.fixture(params=["text", "json"])
    def notifier(self, request: pytest.FixtureRequest, tmp_path: Path) -> Notifier:
        return LogNotifier(LogConfig(str(tmp_path / "log"), request.param))


class TestLogToLogging(NotifierContract):
    @pytest.fixture(params=["text", "json"])
    def notifier(self, request: pytest.FixtureRequest) -> Notifier:
        return LogNotifier(LogConfig("", request.param))


def lines(path: Path, how: Any, *events: Event) -> list[str]:
    notifier = LogNotifier(LogConfig(str(path), how))
    for event in events:
        notifier.notify(event)
    notifier.close()
    return path.read_text().splitlines()


def test_text_is_time_name_and_values(tmp_path: Path) -> None:
    finished = BackupFinished(TIME_NS, "home", "0a1b", 2, 3, 0, 4096, 10, 2048, 1.5)
    sizes = "processed_bytes=4096 added_bytes=10 stored_bytes=2048"
    counts = "files_changed=2 files_unmodified=3 problems=0"
    assert lines(tmp_path / "log", "text", RunStarted(TIME_NS, "run"), PROBLEM, finished) == [
        f"{TIME} run_started command=run",
        f'{TIME} source_problem source=home path="a b/\\u00fc" problem="permission denied"',
        f"{TIME} backup_finished source=home snapshot=0a1b {counts} {sizes} duration_s=1.500",
    ]


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    found = [json.loads(line) for line in lines(tmp_path / "log", "json", PROBLEM, EventOfTomorrow(0, 42))]
    assert found == [
        {
            "event": "source_problem",
            "time": TIME,
            "source": "home",
            "path": "a b/ü",
            "problem": "permission denied",
        },
        {"event": "event_of_tomorrow", "time": "1970-01-01T00:00:00.000Z", "answer": 42},
    ]


@pytest.mark.parametrize("how", ["text", "json"])
def test_whatever_a_name_holds_an_event_is_one_line_of_ascii(tmp_path: Path, how: str) -> None:
    events = [event for text in AWKWARD_TEXTS for event in every_event(text)]
    lines(tmp_path / "log", how, *events)
    written = (tmp_path / "log").read_bytes()
    assert written.count(b"\n") == len(events)
    assert [byte for byte in set(written) if byte != 0x0A and not 0x20 <= byte < 0x7F] == []


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    assert lines(tmp_path / "log", "text", RunStarted(TIME_NS, "run"))[0] == "before"


def test_a_file_may_be_rotated_between_events(tmp_path: Path) -> None:
    notifier = LogNotifier(LogConfig(str(tmp_path / "log")))
    notifier.notify(RunStarted(TIME_NS, "one"))
    (tmp_path / "log").rename(tmp_path / "log.1")
    notifier.notify(RunStarted(TIME_NS, "two"))
    assert [(tmp_path / name).read_text().split("=")[1] for name in ("log.1", "log")] == ["one\n", "two\n"]


def test_a_new_file_is_private(tmp_path: Path) -> None:
    lines(tmp_path / "log", "text", PROBLEM)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    notifier = LogNotifier(LogConfig(str(tmp_path)))
    with pytest.raises(BitBackerError, match="cannot be written: Is a directory"):
        notifier.notify(PROBLEM)


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (RunStarted(0, "run"), logging.INFO),
        (PROBLEM, logging.WARNING),
        (CheckFinished(0, 0, read_data=True), logging.INFO),
        (CheckFinished(0, 2, read_data=True), logging.ERROR),
        (RunFailed(0, "run", "storage", "no route"), logging.ERROR),
        (RunFinished(0, "run", 0, 1.0), logging.INFO),
        (RunFinished(0, "run", 3, 1.0), logging.WARNING),
        (EventOfTomorrow(0, 42), logging.INFO),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else logging.getLevelName(value),
)
def test_without_a_file_lines_go_to_logging(
    caplog: pytest.LogCaptureFixture, event: Event, level: int
) -> None:
    with caplog.at_level(logging.INFO, "bitbacker"):
        LogNotifier(LogConfig()).notify(event)
    assert [(record.name, record.levelno) for record in caplog.records] == [("bitbacker", level)]
    assert caplog.records[0].getMessage().split()[1:2] != []


def test_a_percent_sign_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bitbacker"):
        LogNotifier(LogConfig()).notify(RunStarted(TIME_NS, "%s%d"))
    assert caplog.records[0].getMessage() == f"{TIME} run_started command=%s%d"


def test_a_format_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="'format' in here must be one of 'text', 'json'"):
        make_config(LogConfig, {"format": "xml"}, "here")


def test_it_answers_to_its_name_only() -> None:
    assert (bitbacker_notifier("log"), bitbacker_notifier("other")) == (LogNotifier, None)
