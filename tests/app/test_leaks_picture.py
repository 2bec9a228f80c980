"""The picture of `bitbacker leaks` shows the numbers that the text shows."""

from __future__ import annotations

import struct
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from bitbacker.app.leaks import Leaks, SeenAccess, SeenSession, StoredObjects, TrueChange
from bitbacker.app.leaks_picture import DOTS_PER_INCH, SIZE_INCHES, draw, figure_of, placed_sessions, writable
from bitbacker.errors import BitBackerError, UsageError

DAY_NS = 86_400 * 10**9
START_NS = 20_000 * DAY_NS
PNG = b"\x89PNG\r\n\x1a\n"


def session(number: int, day: float | None, large: int = 0, small: int = 1) -> SeenSession:
    time_ns = None if day is None else START_NS + round(day * DAY_NS)
    return SeenSession(number, time_ns, large, small, complete=True)


def leaks(*sessions: SeenSession) -> Leaks:
    """These sessions, and one snapshot for each whose time is known."""
    changes = tuple(
        TrueChange("id", one.time_ns, one.number + 2, 100 * one.number, 1000)
        for one in sessions
        if one.time_ns is not None
    )
    access = SeenAccess(None, (), 0, 0, 0)
    return Leaks(sessions, StoredObjects(1, len(sessions), 1, 1, 0, 1), access, 0, changes)


FOUND = leaks(session(1, 0, 0, 0), session(2, 1, 3, 2), session(3, None), session(4, 3))


def points(figure: Any, gid: str) -> list[tuple[int, float]]:
    """What a set of markers shows: time in days since the start, and the value."""
    (line,) = [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]
    start = datetime.fromtimestamp(START_NS / 10**9, tz=timezone.utc)
    return [
        (round((x - start).total_seconds() / 86_400), y)
        for x, y in zip(line.get_xdata(orig=True), line.get_ydata(orig=True), strict=True)
    ]


def test_the_panels_show_what_was_found() -> None:
    figure = figure_of(FOUND)
    volumes = [0, 3 * 4 * 2**20 + 2 * 256 * 2**10, 256 * 2**10, 256 * 2**10]
    assert [*zip([0, 1, 2, 3], volumes, strict=True)] == points(figure, "volume")
    assert [(2, 256 * 2**10)] == points(figure, "guessed")
    assert [(0, 100), (1, 200), (3, 400)] == points(figure, "added")
    assert [(0, 3), (1, 4), (3, 6)] == points(figure, "files")


def test_the_panels_have_one_axis_of_time_and_one_scale() -> None:
    above, below, _ = figure_of(FOUND).axes
    assert above.get_xlim() == below.get_xlim()
    assert above.get_ylim() == below.get_ylim()
    assert above.get_ylim()[1] > max(one.volume_bytes for one in FOUND.sessions)


def test_the_picture_is_a_png_of_the_size_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "leaks.png"
    path.write_text("an older one")
    draw(FOUND, path)
    data = path.read_bytes()
    assert PNG == data[: len(PNG)]
    expected = tuple(round(inches * DOTS_PER_INCH) for inches in SIZE_INCHES)
    assert expected == struct.unpack(">II", data[16:24])
    assert [path] == [*tmp_path.iterdir()]


@pytest.mark.parametrize("found", [leaks(session(1, 0, 0, 0)), leaks(session(1, None)), leaks()])
def test_a_repository_with_next_to_nothing_in_it_is_drawn(tmp_path: Path, found: Leaks) -> None:
    draw(found, tmp_path / "leaks.png")
    assert (tmp_path / "leaks.png").stat().st_size > 1000


def test_a_session_without_a_time_lies_between_its_neighbours() -> None:
    sessions = [session(1, None), session(2, 1), session(3, None), session(4, None), session(5, 4)]
    placed = [((time_ns - START_NS) / DAY_NS, one.number) for time_ns, one in placed_sessions(sessions)]
    assert [(1, 2), (2, 3), (3, 4), (4, 5)] == placed


def test_a_picture_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "leaks.png"
    (target / "something").mkdir(parents=True)
    with pytest.raises(BitBackerError, match=r"leaks\.png cannot be written"):
        draw(FOUND, target)
    assert [target] == [*tmp_path.iterdir()]


def test_what_keeps_a_picture_from_being_written_is_said_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writable(tmp_path / "leaks.png")
    with pytest.raises(UsageError, match="is a directory"):
        writable(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        writable(tmp_path / "nowhere" / "leaks.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="needs the Python package matplotlib") as caught:
        writable(tmp_path / "leaks.png")
    assert "pip install 'bitbacker[plot]'" == caught.value.hint
