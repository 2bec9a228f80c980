"""The table `[retention]` of the plugin `keep`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bitbacker.errors import ConfigError
from bitbacker_plugins.keep.span import Span, parse_span

UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Count:
    """One counting rule: `period` is its word in reasons, `number` how many to keep, -1 for all."""

    period: str
    number: int


@dataclass(frozen=True, slots=True)
class KeepConfig:
    """How many of each period stay: 0 is no rule, -1 is all of them.

    `keep_within` is a calendar span such as `"2y5m7d3h"` (years, months, days, hours) before the newest
    snapshot.  `keep_tags` keeps what wears any of these tags.  Days begin at midnight of `timezone`; it
    is UTC unless set, so that every machine which judges a repository comes to the same verdict.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: str = ""
    keep_tags: tuple[str, ...] = ()
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        for count in self.counts:
            if count.number < UNLIMITED:
                raise ConfigError(f"'keep_{count.period}' is {count.number}, but -1 (all) is the least")
        _ = self.span, self.zone

    @property
    def counts(self) -> tuple[Count, ...]:
        """The counting rules, also those of number 0."""
        return (
            Count("last", self.keep_last),
            Count("hourly", self.keep_hourly),
            Count("daily", self.keep_daily),
            Count("weekly", self.keep_weekly),
            Count("monthly", self.keep_monthly),
            Count("yearly", self.keep_yearly),
        )

    @property
    def span(self) -> Span | None:
        """`keep_within` in parts.  Raises `ConfigError`."""
        return parse_span(self.keep_within) if self.keep_within else None

    @property
    def zone(self) -> tzinfo:
        """Where days begin.  Raises `ConfigError`."""
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(f"'timezone' is {self.timezone!r}, which this machine does not know") from error

    @property
    def has_rules(self) -> bool:
        """Whether anything can be forgotten."""
        return bool(self.keep_within or self.keep_tags or any(count.number for count in self.counts))
