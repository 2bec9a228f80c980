"""Spans of the calendar: `2y5m7d3h` is two years, five months, seven days and three hours."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import MINYEAR, datetime, timedelta, timezone

from bitbacker.errors import ConfigError

_SPAN = re.compile(r"(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)d)?(?:(\d+)h)?")
_MONTHS = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time in the units of the calendar."""

    months: int
    days: int
    hours: int

    def before_ns(self, moment: datetime) -> int | None:
        """When this span before `moment` was, from the epoch; None when that is before all calendars.

        A day that the earlier month does not have becomes its last day.  Years, months and days are
        counted on the wall clock of the moment's zone, hours are elapsed time.
        """
        month = moment.year * _MONTHS + moment.month - 1 - self.months
        year, month = divmod(month, _MONTHS)
        try:
            day = min(moment.day, calendar.monthrange(max(year, MINYEAR), month + 1)[1])
            shifted = moment.replace(year=year, month=month + 1, day=day) - timedelta(days=self.days)
            since = shifted - _EPOCH - timedelta(hours=self.hours)
        except (ValueError, OverflowError):
            return None
        return since // timedelta(microseconds=1) * 1000


def parse_span(text: str) -> Span:
    """Raises `ConfigError`."""
    found = _SPAN.fullmatch(text)
    if found is None or not text:
        raise ConfigError(f"'keep_within' is {text!r}, but a span looks like '2y5m7d3h'")
    years, months, days, hours = (int(part or 0) for part in found.groups())
    return Span(years * _MONTHS + months, days, hours)
