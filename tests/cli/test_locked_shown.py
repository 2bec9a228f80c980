"""What a prune tells of a storage that keeps objects locked."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from typing import Any

import pytest

from bitbacker.app.prune import free_at_ns
from bitbacker.repo.sweep import PruneResult
from cli.command import Home

DAY_S = 86_400
LOCK_S = 30 * DAY_S
KEEPING = f"""
import os
import time

from bitbacker.errors import ObjectsLocked
from bitbacker.spi import hookimpl
from bitbacker_plugins.local import LocalTransport


class Keeping(LocalTransport):
    def __init__(self, url, config):
        super().__init__(url.replace("keeping:", "file:", 1), config)

    def delete(self, names):
        free_at_s = {{name: os.stat(f"{{self.path}}/{{name}}").st_mtime + {LOCK_S} for name in names}}
        locked = {{name for name, free_s in free_at_s.items() if free_s > time.time()}}
        super().delete(free_at_s.keys() - locked)
        if locked:
            raise ObjectsLocked(frozenset(locked), max(free_at_s[name] for name in locked))


@hookimpl
def bitbacker_transport(name):
    return Keeping if name == "keeping" else None
"""
RETENTION = '[sources.home]\npaths = ["data"]\n[retention]\nkeep_last = 1\n[check]\nevery = "never"\n'


@pytest.fixture
def locked(backed_up: Home) -> Home:
    """A storage that keeps everything for 30 days, and two snapshots of a file that changes."""
    (backed_up.top / "keeping.py").write_text(KEEPING)
    url = backed_up.repository.as_uri().replace("file:", "keeping:")
    (backed_up.top / "bitbacker.toml").write_text(
        f'plugins = ["./keeping.py"]\n[remotes.here]\nurl = "{url}"\n{RETENTION}'
    )
    for _ in range(2):
        (backed_up.data / "big").write_bytes(os.urandom(1_000_000))
        inside(backed_up, "backup", "-q", "--source", "home")
    return backed_up


def inside(home: Home, *arguments: str) -> str:
    done = home.inside(*arguments, "-r", "here")
    assert (done.code, done.err) == (0, ""), arguments
    return done.out


def records(home: Home, *arguments: str) -> dict[str, dict[str, Any]]:
    """The last record of each type."""
    lines = [json.loads(line) for line in inside(home, *arguments, "--json").splitlines()]
    return {line["message_type"]: line for line in lines}


def segments(home: Home) -> dict[str, int]:
    """Sizes by name."""
    found = (home.repository / "segments").rglob("*")
    return {path.name: path.stat().st_size for path in found if path.is_file()}


def pass_days(home: Home, days: int) -> None:
    """Let everything in the storage be so much older."""
    for path in home.repository.rglob("*"):
        stored = path.stat().st_mtime - days * DAY_S
        os.utime(path, (stored, stored))


def newest_of(home: Home) -> float:
    return max(path.stat().st_mtime for path in (home.repository / "segments").rglob("*") if path.is_file())


def forget(home: Home) -> None:
    inside(home, "forget", "--keep-last", "1", "--yes")


def test_a_prune_says_how_much_is_locked_and_until_when(locked: Home) -> None:
    forget(locked)
    before = segments(locked)
    until = newest_of(locked) + LOCK_S
    out = inside(locked, "prune", "--yes")
    told = re.search(
        r"^(\d+) segments \((.+)\) are locked until (.+); a later prune removes them$", out, re.MULTILINE
    )
    assert told is not None, out
    assert "removed 0 segments" in out
    assert before.keys() <= segments(locked).keys()
    assert int(told[1]) > 0
    day = datetime.strptime(f"{told[3]} +0000", "%Y-%m-%d %H:%M:%S %z")
    assert 0 <= until - day.timestamp() + 1 < LOCK_S


def test_a_later_prune_removes_them_and_stores_nothing(locked: Home) -> None:
    forget(locked)
    first = records(locked, "prune", "--yes")["summary"]
    assert (first["deleted_segments"], first["freed_bytes"]) == (0, 0)
    assert first["locked_segments"] > 0
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.000000000Z", first["locked_until"])
    before = segments(locked)
    again = records(locked, "prune", "--yes")
    assert (again["plan"]["condemned_segments"], again["plan"]["orphan_segments"]) == (
        first["locked_segments"],
        0,
    )
    fields = ("locked_segments", "locked_bytes", "locked_until")
    assert [first[field] for field in fields] == [again["summary"][field] for field in fields]
    assert again["summary"]["stored_bytes"] == 0
    assert "an earlier prune could not delete" in inside(locked, "prune", "--dry-run")
    pass_days(locked, 31)
    last = records(locked, "prune", "--yes")["summary"]
    assert (last["deleted_segments"], last["freed_bytes"]) == (
        first["locked_segments"],
        first["locked_bytes"],
    )
    assert (last["stored_bytes"], last["locked_segments"], last["locked_until"]) == (0, 0, None)
    after = segments(locked)
    assert after.items() <= before.items()
    assert sum(before.values()) - sum(after.values()) == last["freed_bytes"]
    assert "nothing to prune" in inside(locked, "prune", "--yes")


def test_forget_with_prune_tells_it_too(locked: Home) -> None:
    assert "are locked until" in inside(locked, "forget", "--keep-last", "1", "--yes", "--prune")


def test_run_tells_it_in_its_step_and_does_not_fail(locked: Home) -> None:
    out = inside(locked, "run")
    assert re.search(
        r"^here: prune: removed 0 segments, \d+ are locked until 20\S+ \S+ UTC$", out, re.MULTILINE
    ), out


def test_stats_count_what_is_condemned(locked: Home) -> None:
    forget(locked)
    pruned = records(locked, "prune", "--yes")["summary"]
    counted = records(locked, "stats")["stats"]
    assert (counted["condemned_segments"], counted["condemned_bytes"]) == (
        pruned["locked_segments"],
        pruned["locked_bytes"],
    )


@pytest.mark.parametrize(
    ("until_s", "expected"),
    [
        (None, None),
        (1.5, 2 * 10**9),
        (0.0, None),
        (float("inf"), None),
        (float("nan"), None),
        (1e15, None),
    ],
)
def test_a_time_that_no_calendar_has_is_left_out(until_s: float | None, expected: int | None) -> None:
    assert free_at_ns(PruneResult(0, 0, 0, 1, 1, until_s)) == expected
