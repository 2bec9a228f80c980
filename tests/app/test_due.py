"""When a check is due."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitbacker.app.due import CHECKED, NS_PER_S, READ_DATA, CheckTimes

DAY_S = 86400
BORN_NS = 1000 * DAY_S * NS_PER_S


def times(folder: Path, day: float, *, empty: bool = False) -> CheckTimes:
    """What is known `day` days after the first snapshot."""
    snapshots = [] if empty else [SimpleNamespace(time_ns=BORN_NS)]
    repository = SimpleNamespace(
        state_folder=folder, newest=lambda: None, catalog=lambda _: SimpleNamespace(snapshots=snapshots)
    )
    connection: Any = SimpleNamespace(repository=repository)
    return CheckTimes(connection, BORN_NS + round(day * DAY_S * NS_PER_S))


@pytest.mark.parametrize(("day", "due"), [(0, False), (6.9, False), (7, True), (100, True)])
def test_a_repository_that_was_never_checked_counts_from_its_first_snapshot(
    tmp_path: Path, day: float, due: bool
) -> None:
    assert times(tmp_path, day).due(CHECKED, 7 * DAY_S) == due


def test_an_empty_repository_has_nothing_to_check(tmp_path: Path) -> None:
    assert not times(tmp_path, 100, empty=True).due(CHECKED, 7 * DAY_S)


def test_never_is_never(tmp_path: Path) -> None:
    assert not times(tmp_path, 1e5).due(READ_DATA, None)


def test_what_was_done_is_remembered_each_by_itself(tmp_path: Path) -> None:
    times(tmp_path / "state", 10).done(CHECKED)
    assert not times(tmp_path / "state", 16.9).due(CHECKED, 7 * DAY_S)
    assert times(tmp_path / "state", 17).due(CHECKED, 7 * DAY_S)
    assert times(tmp_path / "state", 10).due(READ_DATA, 7 * DAY_S)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"check": "soon"}'])
def test_a_memory_that_is_damaged_costs_a_check_and_no_more(tmp_path: Path, text: str) -> None:
    (tmp_path / "checks.json").write_text(text)
    assert times(tmp_path, 7).due(CHECKED, 7 * DAY_S)
    times(tmp_path, 7).done(CHECKED)
    assert not times(tmp_path, 8).due(CHECKED, 7 * DAY_S)
