"""What the storage saw, drawn above what truly happened."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib import import_module
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from bitbacker.app.leaks import Leaks, SeenSession
from bitbacker.errors import BitBackerError, UsageError

# matplotlib is optional, and its types are there only where it is.
Figure = Any
Axes = Any

SIZE_INCHES = (11.0, 6.6)
DOTS_PER_INCH = 150
STORAGE_COLOUR = "#33658a"
TRUTH_COLOUR = "#bc4b51"
FILES_COLOUR = "#8a817c"
KIB = 1024
HALF_DAY_NS = 12 * 3600 * 10**9
# Markers of nothing lie on the axis and are not cut off there; no markers at all would upset the layout.
_WHOLE: dict[str, Any] = {"clip_on": False, "in_layout": False}
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def writable(path: Path) -> None:
    """Find out early what would keep `draw` from its work.  Raises `UsageError`."""
    try:
        # It says on standard error that it builds a cache of fonts, which nobody asked for.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        import_module("matplotlib.figure")
    except ImportError as error:
        raise UsageError(
            "a picture needs the Python package matplotlib", hint="pip install 'bitbacker[plot]'"
        ) from error
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint="name a file, for example leaks.png")
    if not path.parent.is_dir():
        raise UsageError(f"the directory {path.parent} does not exist", hint="make it first")


def draw(found: Leaks, path: Path) -> None:
    """Write the picture as PNG; what was there is replaced as a whole.  Raises `BitBackerError`."""
    picture = BytesIO()
    figure_of(found).savefig(picture, format="png", dpi=DOTS_PER_INCH)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(picture.getvalue())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise BitBackerError(f"{path} cannot be written: {error.strerror}") from error


def figure_of(found: Leaks) -> Figure:
    """Two panels over one axis of time and with one scale of bytes."""
    figure = import_module("matplotlib.figure").Figure(figsize=SIZE_INCHES, layout="constrained")
    import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, sharey=True)
    _draw_storage(above, found)
    _draw_truth(below, found)
    sizes = [session.volume_bytes for session in found.sessions]
    sizes += [change.added_bytes for change in found.changes]
    _scale_bytes(above, max(sizes, default=0))
    times = [session.time_ns for session in found.sessions if session.time_ns is not None]
    times += [change.time_ns for change in found.changes]
    _scale_time(below, times or [time.time_ns()])
    for axes in (above, below):
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_storage(axes: Axes, found: Leaks) -> None:
    placed = placed_sessions(found.sessions)
    _stems(axes, [(time_ns, session.volume_bytes) for time_ns, session in placed], STORAGE_COLOUR, "volume")
    guessed = [
        (_date(time_ns), session.volume_bytes) for time_ns, session in placed if session.time_ns is None
    ]
    if guessed:
        # Hollow: the storage knows when it was, this machine only about when.
        axes.plot(*zip(*guessed, strict=True), "o", color="white", markersize=3, zorder=4, gid="guessed")
    title = "What the storage saw: the volume of each session"
    axes.set_title(title + (" (hollow: about when)" if guessed else ""), loc="left", fontsize=11)
    axes.set_ylabel("volume of the session")


def _draw_truth(axes: Axes, found: Leaks) -> None:
    added = [(change.time_ns, change.added_bytes) for change in found.changes]
    _stems(axes, added, TRUTH_COLOUR, "added")
    axes.set_title("What truly changed: new content and files, snapshot by snapshot", loc="left", fontsize=11)
    axes.set_ylabel("content added", color=TRUTH_COLOUR)
    files = axes.twinx()
    counts = [change.files_changed for change in found.changes]
    times = [_date(change.time_ns) for change in found.changes]
    files.plot(times, counts, "D", color=FILES_COLOUR, markersize=4, alpha=0.8, gid="files", **_WHOLE)
    files.set_yscale("symlog", linthresh=1)
    files.set_ylim(0, max([10, *counts]) * 2)
    files.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    files.set_ylabel("files new or changed", color=FILES_COLOUR)
    files.spines[["top", "left"]].set_visible(False)


def _stems(axes: Axes, points: Sequence[tuple[int, int]], colour: str, gid: str) -> None:
    times = [_date(time_ns) for time_ns, _ in points]
    sizes = [size for _, size in points]
    axes.vlines(times, 0, sizes, color=colour, linewidth=1.6, alpha=0.55)
    axes.plot(times, sizes, "o", color=colour, markersize=5, zorder=3, gid=gid, **_WHOLE)


def _scale_bytes(axes: Axes, largest: int) -> None:
    """Linear up to 1 KiB, so that nothing has a place, and logarithmic from there."""
    axes.set_yscale("symlog", base=2, linthresh=KIB)
    axes.set_ylim(0, max(largest, KIB**2) * 4)
    ticks = [0, *(KIB * 2**power for power in range(0, 60, 5) if KIB * 2**power <= max(largest, KIB**2) * 4)]
    axes.set_yticks(ticks, [_size_label(tick) for tick in ticks])
    axes.minorticks_off()


def _size_label(size: int) -> str:
    unit = 0
    while size >= KIB**2:
        size, unit = size // KIB, unit + 1
    return f"{size // KIB} {_UNITS[unit]}" if size else "0"


def _scale_time(axes: Axes, times: Sequence[int]) -> None:
    dates = import_module("matplotlib.dates")
    zone = datetime.now(tz=timezone.utc).astimezone().tzinfo
    locator = dates.AutoDateLocator(tz=zone)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
    early, late = min(times), max(times)
    room = (late - early) // 32 or HALF_DAY_NS
    axes.set_xlim(_date(early - room), _date(late + room))


def placed_sessions(sessions: Sequence[SeenSession]) -> list[tuple[int, SeenSession]]:
    """Sessions with their times; one whose time is unknown lies between its neighbours, evenly.

    Those before the first time that is known have no place and are left out.
    """
    known = [(at, session.time_ns) for at, session in enumerate(sessions) if session.time_ns is not None]
    placed = [(time_ns, sessions[at]) for at, time_ns in known]
    for (first, early_ns), (second, late_ns) in pairwise(known):
        for at in range(first + 1, second):
            time_ns = early_ns + (late_ns - early_ns) * (at - first) // (second - first)
            placed.append((time_ns, sessions[at]))
    return sorted(placed, key=lambda one: one[1].number)


def _date(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / 10**9, tz=timezone.utc)
