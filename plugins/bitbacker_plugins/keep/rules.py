"""The rules: which snapshots they keep, and what they say about it.

Every rule is given complete snapshots that are not dated in the future, newest first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from bitbacker.spi import SnapshotInfo
from bitbacker_plugins.keep.config import UNLIMITED, Count
from bitbacker_plugins.keep.span import Span

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# Equal values are one period.  The hour knows its offset, because one of them comes twice in autumn.
_PERIODS: dict[str, Callable[[datetime], Any]] = {
    "hourly": lambda moment: (moment.date(), moment.hour, moment.utcoffset()),
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
    "yearly": lambda moment: moment.year,
}


class Reasons:
    """Why snapshots stay; one that has no reason does not."""

    def __init__(self) -> None:
        self._by_snapshot: dict[SnapshotInfo, list[str]] = {}

    def add(self, snapshot: SnapshotInfo, reason: str) -> None:
        """One more reason to keep it."""
        self._by_snapshot.setdefault(snapshot, []).append(reason)

    def of(self, snapshot: SnapshotInfo) -> str:
        """All of them, in words; empty when there is none."""
        return ", ".join(self._by_snapshot.get(snapshot, ()))


def keep_tagged(snapshots: Iterable[SnapshotInfo], tags: Sequence[str], reasons: Reasons) -> None:
    """Keep what wears any of the tags."""
    for snapshot in snapshots:
        worn = [tag for tag in snapshot.tags if tag in tags]
        if worn:
            reasons.add(snapshot, f"tag {worn[0]}")


def keep_within(snapshots: Sequence[SnapshotInfo], span: Span, zone: tzinfo, reasons: Reasons) -> None:
    """Keep what is not older than the span, counted back from the newest snapshot."""
    if not snapshots:
        return
    start_ns = span.before_ns(_moment(snapshots[0], zone))
    for snapshot in snapshots:
        if start_ns is None or snapshot.time_ns > start_ns:
            reasons.add(snapshot, "within the span of the newest")


def count_buckets(
    snapshots: Sequence[SnapshotInfo], counts: Iterable[Count], zone: tzinfo, reasons: Reasons
) -> None:
    """Keep the newest snapshot of each period, as many as each rule says.

    A rule of the calendar that is not full keeps the oldest snapshot as well: while a history is short,
    its beginning is what a yearly rule will need.
    """
    moments = [_moment(snapshot, zone) for snapshot in snapshots]
    for count in counts:
        if count.number == 0:
            continue
        newest = _newest_of_each(_periods(count, moments))
        kept = newest if count.number == UNLIMITED else newest[: count.number]
        for number, index in enumerate(kept, 1):
            reasons.add(snapshots[index], _wording(count, number))
        is_full = count.number != UNLIMITED and len(kept) == count.number
        if snapshots and not is_full and kept[-1] != len(snapshots) - 1:
            reasons.add(snapshots[-1], f"oldest snapshot, as the {count.period} rule is not full")


def _periods(count: Count, moments: Sequence[datetime]) -> list[Any]:
    if count.period == "last":
        return list(range(len(moments)))
    return [_PERIODS[count.period](moment) for moment in moments]


def _newest_of_each(periods: Sequence[Any]) -> list[int]:
    """Where each period is met first; a clock that is put back at midnight makes a date come twice."""
    first: dict[Any, int] = {}
    for index, period in enumerate(periods):
        first.setdefault(period, index)
    return list(first.values())


def _wording(count: Count, number: int) -> str:
    of = "" if count.number == UNLIMITED else f" of {count.number}"
    return f"{count.period} snapshot ({number}{of})"


def _moment(snapshot: SnapshotInfo, zone: tzinfo) -> datetime:
    """Exact to the microsecond, which is finer than any period."""
    return (_EPOCH + timedelta(microseconds=snapshot.time_ns // 1000)).astimezone(zone)
