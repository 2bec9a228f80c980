"""`bitbacker leaks` as a process: what it loads, and the trace that commands leave."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from cli.command import Home
from cli.test_lazy_loading import modules_after


def messages(text: str, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    return [message for message in found if message["message_type"] == kind]


def test_only_a_picture_loads_what_draws_it(backed_up: Home) -> None:
    assert "matplotlib" not in modules_after(backed_up, "leaks")
    assert "matplotlib" in modules_after(backed_up, "leaks", "--plot", str(backed_up.top / "leaks.png"))


def test_without_matplotlib_the_picture_is_refused_and_the_text_is_not(
    backed_up: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = backed_up.inside("leaks", "--plot", "leaks.png")
    assert (2, "") == (done.code, done.out)
    assert "needs the Python package matplotlib" in done.error
    assert "pip install 'bitbacker[plot]'" in done.err
    assert 0 == backed_up.inside("leaks").code


def test_commands_are_told_by_their_names(backed_up: Home) -> None:
    for arguments in (["snapshots"], ["--json", "key", "list"], ["ls", "latest"], ["snapshots", "-q"]):
        assert 0 == backed_up.inside(*arguments).code
    done = backed_up.inside("leaks", "--json")
    runs = {message["command"]: message["runs"] for message in messages(done.out, "access")}
    assert {"init": 1, "backup": 1, "snapshots": 2, "key list": 1, "ls": 1} == runs


def test_a_command_whose_trace_cannot_be_written_does_not_care(backed_up: Home) -> None:
    (trace,) = (backed_up.top / "state").rglob("trace.jsonl")
    trace.unlink()
    trace.mkdir()
    done = backed_up.inside("snapshots")
    assert (0, "") == (done.code, done.err)
    assert "trace.jsonl cannot be read" in backed_up.inside("leaks").error


def test_the_last_sessions_are_shown_and_all_are_counted(backed_up: Home) -> None:
    one = backed_up.inside("leaks", "--last", "1", "--json").out
    everything = backed_up.inside("leaks", "--last", "0", "--json").out
    assert [2] == [message["number"] for message in messages(one, "session")]
    assert [1, 2] == [message["number"] for message in messages(everything, "session")]
    assert [2, 2] == [messages(text, "summary")[0]["sessions"] for text in (one, everything)]
