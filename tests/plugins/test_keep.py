"""Which snapshots `keep` keeps: restic's rules, and what they leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitbacker.config import make_config
from bitbacker.errors import ConfigError
from bitbacker.spi import RetentionPolicy, SnapshotInfo, Verdict
from bitbacker.testing.retention import NOW_NS, RetentionContract, histories
from bitbacker_plugins.keep import KeepConfig, KeepPolicy, bitbacker_retention

HOUR_NS = 3_600_000_000_000


class TestKeepWithEveryRule(RetentionContract):
    @pytest.fixture
    def policy(self) -> RetentionPolicy:
        return KeepPolicy(KeepConfig(2, 5, 4, 3, 6, -1, "3d", ("a",), "Europe/Berlin"))


class TestKeepWithOneRule(RetentionContract):
    @pytest.fixture(
        params=[
            {"keep_last": 1},
            {"keep_daily": 7},
            {"keep_monthly": -1},
            {"keep_within": "1m12h"},
        ],
        ids=lambda keys: next(iter(keys)),
    )
    def policy(self, request: pytest.FixtureRequest) -> RetentionPolicy:
        return KeepPolicy(KeepConfig(**request.param))


class TestKeepWithoutRules(RetentionContract):
    @pytest.fixture
    def policy(self) -> RetentionPolicy:
        return KeepPolicy(KeepConfig())


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()) * 10**9


def snapshots(*times: str, **fields: Any) -> list[SnapshotInfo]:
    """Snapshots that are called by their times."""
    return [SnapshotInfo(time, ns(time), "host", "home", **fields) for time in times]


def judged(
    history: Sequence[SnapshotInfo], now: str = "2027-01-15T08:00", **rules: Any
) -> dict[str, Verdict]:
    verdicts = KeepPolicy(KeepConfig(**rules)).judge(history, ns(now))
    return {verdict.snapshot.id: verdict for verdict in verdicts}


def kept(history: Sequence[SnapshotInfo], now: str = "2027-01-15T08:00", **rules: Any) -> list[str]:
    return [id_ for id_, verdict in judged(history, now, **rules).items() if verdict.keep]


DAILY = snapshots(*(f"2026-{month:02}-{day:02}T03:00" for month in range(1, 13) for day in range(1, 29)))
"""One year, one snapshot a night on the first 28 days of each month."""


class TestExamples:
    def test_last_keeps_the_newest(self) -> None:
        assert kept(DAILY, keep_last=3) == ["2026-12-26T03:00", "2026-12-27T03:00", "2026-12-28T03:00"]

    def test_hourly_keeps_the_last_of_each_hour(self) -> None:
        history = snapshots(
            "2026-05-01T10:00", "2026-05-01T10:59", "2026-05-01T11:00", "2026-05-01T13:30", "2026-05-01T13:45"
        )
        assert kept(history, keep_hourly=3) == ["2026-05-01T10:59", "2026-05-01T11:00", "2026-05-01T13:45"]

    def test_daily_keeps_the_last_of_each_day_that_has_one(self) -> None:
        history = snapshots("2026-05-01T23:59", "2026-05-02T00:00", "2026-05-07T08:00", "2026-05-07T20:00")
        assert kept(history, keep_daily=2) == ["2026-05-02T00:00", "2026-05-07T20:00"]

    def test_weekly_weeks_begin_on_monday(self) -> None:
        sunday, monday = "2026-05-03T12:00", "2026-05-04T12:00"
        assert kept(snapshots("2026-04-01T12:00", sunday, monday), keep_weekly=2) == [sunday, monday]

    def test_weekly_the_days_around_new_year_are_one_week(self) -> None:
        history = snapshots("2026-12-20T12:00", "2026-12-31T12:00", "2027-01-01T12:00")
        assert kept(history, keep_weekly=2) == ["2026-12-20T12:00", "2027-01-01T12:00"]

    def test_monthly_and_yearly(self) -> None:
        history = snapshots("2024-03-01T12:00", "2025-07-01T12:00", "2026-01-31T12:00", "2026-02-01T12:00")
        assert kept(history, keep_monthly=2) == ["2026-01-31T12:00", "2026-02-01T12:00"]
        assert kept(history, keep_yearly=2) == ["2025-07-01T12:00", "2026-02-01T12:00"]

    def test_a_usual_policy_after_a_year(self) -> None:
        months = [f"2026-{month:02}-28T03:00" for month in range(1, 12)]
        weeks_and_days = [f"2026-12-{day:02}T03:00" for day in (6, 13, 20, *range(22, 29))]
        assert kept(DAILY, keep_daily=7, keep_weekly=5, keep_monthly=12) == [*months, *weeks_and_days]

    def test_minus_one_keeps_one_of_each_period(self) -> None:
        assert kept(DAILY, keep_monthly=-1) == [
            "2026-01-01T03:00",
            *(f"2026-{m:02}-28T03:00" for m in range(1, 13)),
        ]

    def test_a_rule_that_is_not_full_keeps_the_oldest(self) -> None:
        """As restic does: the first year of a history must not end with only its newest snapshot."""
        history = snapshots("2026-01-02T13:00", "2026-01-03T13:00", "2026-01-04T13:00")
        assert kept(history, keep_monthly=4) == ["2026-01-02T13:00", "2026-01-04T13:00"]
        assert kept(history, keep_monthly=1) == ["2026-01-04T13:00"]

    def test_within_is_counted_back_from_the_newest_snapshot(self) -> None:
        history = snapshots("2026-05-01T12:00", "2026-05-01T13:00", "2026-05-02T12:30")
        assert kept(history, keep_within="1d") == ["2026-05-01T13:00", "2026-05-02T12:30"]

    @pytest.mark.parametrize(
        ("span", "newest", "just_inside", "just_outside"),
        [
            ("1m", "2026-03-31T12:00", "2026-02-28T12:01", "2026-02-28T12:00"),
            ("1y", "2024-02-29T12:00", "2023-02-28T12:01", "2023-02-28T12:00"),
            ("2y5m7d3h", "2026-12-31T12:00", "2024-07-24T09:01", "2024-07-24T09:00"),
            ("30h", "2026-05-02T12:00", "2026-05-01T06:01", "2026-05-01T06:00"),
        ],
    )
    def test_within_follows_the_calendar(
        self, span: str, newest: str, just_inside: str, just_outside: str
    ) -> None:
        history = snapshots("2000-01-01T00:00", just_outside, just_inside, newest)
        assert kept(history, keep_within=span) == [just_inside, newest]

    def test_within_more_than_the_calendar_has_keeps_all(self) -> None:
        assert kept(DAILY, keep_within="9999y") == [one.id for one in DAILY]

    def test_tags_keep_whoever_wears_one(self) -> None:
        history = [
            *snapshots("2026-05-01T12:00", tags=("a", "x")),
            *snapshots("2026-05-02T12:00", tags=("b",)),
            *snapshots("2026-05-03T12:00", "2026-05-04T12:00"),
        ]
        assert kept(history, keep_tags=("x", "y"), keep_last=1) == ["2026-05-01T12:00", "2026-05-04T12:00"]

    def test_a_tag_that_nobody_wears_does_not_forget_everything(self) -> None:
        assert kept(DAILY, keep_tags=("absent",)) == ["2026-12-28T03:00"]


class TestTimezone:
    HISTORY = snapshots("2026-05-01T21:30", "2026-05-01T22:30", "2026-05-02T10:00")
    """In Berlin the second is on the second of May, at half past midnight."""

    def test_days_are_those_of_utc_unless_set(self) -> None:
        assert kept(self.HISTORY, keep_daily=2) == ["2026-05-01T22:30", "2026-05-02T10:00"]

    def test_days_are_those_of_the_zone(self) -> None:
        berlin = {"timezone": "Europe/Berlin"}
        assert kept(self.HISTORY, keep_daily=2, **berlin) == ["2026-05-01T21:30", "2026-05-02T10:00"]

    def test_the_hour_that_comes_twice_in_autumn_is_two_hours(self) -> None:
        history = snapshots("2026-10-24T00:00", "2026-10-25T00:30", "2026-10-25T01:30")
        expected = ["2026-10-25T00:30", "2026-10-25T01:30"]
        assert kept(history, keep_hourly=2, timezone="Europe/Berlin") == expected

    def test_a_day_that_is_left_and_entered_again_is_one_day(self) -> None:
        """In St. John's clocks went back from 00:01 to 23:01 until 2011."""
        history = snapshots("2010-10-01T12:00", "2010-11-07T02:30:30", "2010-11-07T02:45", "2010-11-07T14:00")
        assert kept(history, keep_daily=2, timezone="America/St_Johns") == [
            "2010-11-07T02:45",
            "2010-11-07T14:00",
        ]

    def test_the_machine_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = kept(self.HISTORY, keep_daily=2)
        monkeypatch.setenv("TZ", "Pacific/Kiritimati")
        assert kept(self.HISTORY, keep_daily=2) == expected


class TestPartial:
    def test_a_partial_snapshot_stays_until_a_later_one_is_complete(self) -> None:
        partial = snapshots("2026-05-01T12:00", "2026-05-03T12:00", partial=True)
        complete = snapshots("2026-05-02T12:00")
        assert kept([*partial, *complete], keep_last=5) == ["2026-05-03T12:00", "2026-05-02T12:00"]

    def test_a_partial_snapshot_is_never_counted(self) -> None:
        partial = snapshots("2026-05-03T12:00", partial=True)
        complete = snapshots("2026-05-01T12:00", "2026-05-02T12:00")
        verdicts = judged([*partial, *complete], keep_last=2)
        assert [verdict.keep for verdict in verdicts.values()] == [True, True, True]
        assert verdicts["2026-05-03T12:00"].reason == "partial, and no later one is complete"

    def test_a_complete_one_of_the_same_moment_is_not_later(self) -> None:
        partial = SnapshotInfo("partial", ns("2026-05-01T12:00"), "host", "home", partial=True)
        assert kept([partial, *snapshots("2026-05-01T12:00")], keep_last=1) == ["partial", "2026-05-01T12:00"]

    def test_without_a_complete_one_all_partial_ones_stay(self) -> None:
        partial = snapshots("2026-05-01T12:00", "2026-05-02T12:00", partial=True)
        assert kept(partial, keep_last=1) == ["2026-05-01T12:00", "2026-05-02T12:00"]

    def test_a_tag_does_not_save_a_partial_snapshot(self) -> None:
        history = [*snapshots("2026-05-01T12:00", partial=True, tags=("a",)), *snapshots("2026-05-02T12:00")]
        assert kept(history, keep_tags=("a",)) == ["2026-05-02T12:00"]


class TestFuture:
    NOW = "2026-05-03T12:00"

    def test_a_snapshot_from_the_future_stays_and_pushes_none_out(self) -> None:
        history = snapshots("2026-05-01T12:00", "2026-05-02T12:00", "2099-01-01T00:00")
        verdicts = judged(history, self.NOW, keep_last=2)
        assert [verdict.keep for verdict in verdicts.values()] == [True, True, True]
        assert verdicts["2099-01-01T00:00"].reason == "dated in the future, so no rule counts it"

    def test_within_is_not_counted_from_the_future(self) -> None:
        history = snapshots("2026-04-01T12:00", "2026-05-02T12:00", "2099-01-01T00:00")
        assert kept(history, self.NOW, keep_within="1d") == ["2026-05-02T12:00", "2099-01-01T00:00"]

    def test_a_partial_snapshot_does_not_go_because_of_the_future(self) -> None:
        history = [*snapshots("2026-05-01T12:00", partial=True), *snapshots("2099-01-01T00:00")]
        assert kept(history, self.NOW, keep_last=1) == ["2026-05-01T12:00", "2099-01-01T00:00"]

    def test_now_is_not_the_future(self) -> None:
        history = snapshots("2026-05-02T12:00", self.NOW)
        assert kept(history, self.NOW, keep_last=1) == [self.NOW]


class TestReasons:
    def test_every_rule_that_keeps_a_snapshot_is_named(self) -> None:
        verdicts = judged(DAILY, keep_daily=7, keep_weekly=5, keep_monthly=-1)
        assert verdicts["2026-12-26T03:00"].reason == "daily snapshot (3 of 7)"
        assert verdicts["2026-12-28T03:00"].reason == (
            "newest snapshot, daily snapshot (1 of 7), weekly snapshot (1 of 5), monthly snapshot (1)"
        )
        assert verdicts["2026-01-01T03:00"].reason == "oldest snapshot, as the monthly rule is not full"
        assert verdicts["2026-05-01T03:00"].reason == "no rule keeps it"

    def test_tags_and_spans_are_reasons(self) -> None:
        history = snapshots("2026-05-01T12:00", "2026-05-02T12:00", tags=("a",))
        verdicts = judged(history, keep_tags=("a",), keep_within="2d")
        assert verdicts["2026-05-01T12:00"].reason == "tag a, within the span of the newest"

    def test_no_rule_keeps_everything_and_says_so(self) -> None:
        assert {(one.keep, one.reason) for one in judged(DAILY).values()} == {
            (True, "the policy has no rule")
        }


RULES = st.fixed_dictionaries(
    {},
    optional={
        "keep_last": st.integers(-1, 4),
        "keep_hourly": st.integers(-1, 4),
        "keep_daily": st.integers(-1, 4),
        "keep_weekly": st.integers(-1, 4),
        "keep_monthly": st.integers(-1, 4),
        "keep_yearly": st.integers(-1, 4),
        "keep_within": st.sampled_from(["", "5h", "3d", "2m", "1y"]),
        "keep_tags": st.sampled_from([(), ("a",), ("b", "c")]),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]),
    },
).map(lambda rules: KeepConfig(**rules))


def keeps(config: KeepConfig, history: list[SnapshotInfo]) -> set[str]:
    return {one.snapshot.id for one in KeepPolicy(config).judge(history, NOW_NS) if one.keep}


@given(config=RULES, more=RULES, history=histories())
def test_another_rule_never_removes_a_kept_snapshot(
    config: KeepConfig, more: KeepConfig, history: list[SnapshotInfo]
) -> None:
    assume(config.has_rules)
    both = KeepConfig(
        *(larger(one.number, other.number) for one, other in zip(config.counts, more.counts, strict=True)),
        config.keep_within or more.keep_within,
        (*config.keep_tags, *more.keep_tags),
        config.timezone,
    )
    assert keeps(config, history) - keeps(both, history) == set()


def larger(one: int, other: int) -> int:
    return -1 if -1 in (one, other) else max(one, other)


@given(config=RULES, history=histories())
def test_judging_again_what_was_kept_keeps_it(config: KeepConfig, history: list[SnapshotInfo]) -> None:
    first = keeps(config, history)
    assert keeps(config, [one for one in history if one.id in first]) == first


@given(config=RULES, history=histories(ahead_hours=0), number=st.integers(1, 5))
def test_the_newest_complete_snapshots_are_always_kept(
    config: KeepConfig, history: list[SnapshotInfo], number: int
) -> None:
    complete = sorted((one for one in history if not one.partial), key=lambda one: (one.time_ns, one.id))
    newest = {one.id for one in complete[-number:]}
    assert newest - keeps(replace(config, keep_last=number), history) == set()


@given(config=RULES, history=histories(ahead_hours=0))
def test_something_of_a_history_is_always_kept(config: KeepConfig, history: list[SnapshotInfo]) -> None:
    assert bool(keeps(config, history)) == bool(history)


@given(config=RULES, history=histories(), hours=st.integers(1, 100))
def test_a_snapshot_from_the_future_stays_and_changes_no_other_verdict(
    config: KeepConfig, history: list[SnapshotInfo], hours: int
) -> None:
    stranger = SnapshotInfo("f" * 32, NOW_NS + hours * HOUR_NS, "host", "home")
    assert keeps(config, [*history, stranger]) == keeps(config, history) | {stranger.id}


@given(config=RULES, history=histories())
def test_no_rule_keeps_more_than_it_says(config: KeepConfig, history: list[SnapshotInfo]) -> None:
    """Reasons are what was counted: the numbers in them are 1, 2, 3 ... up to the limit."""
    reasons = [one.reason for one in KeepPolicy(config).judge(history, NOW_NS)]
    for count in config.counts:
        if count.number > 0:
            wording = f"{count.period} snapshot ({{}} of {count.number})"
            numbers = [number for number in range(1, 99) if said(reasons, wording.format(number))]
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) <= count.number


def said(reasons: list[str], words: str) -> bool:
    return any(words in reason for reason in reasons)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"keep_last": -2}, "'keep_last' is -2, but -1 (all) is the least"),
        ({"keep_within": "3w"}, "'keep_within' is '3w', but a span looks like '2y5m7d3h'"),
        ({"keep_within": "1d1y"}, "'keep_within' is '1d1y', but a span looks like '2y5m7d3h'"),
        ({"timezone": "Mars/Base"}, "'timezone' is 'Mars/Base', which this machine does not know"),
        ({"timezone": "../x"}, "'timezone' is '../x', which this machine does not know"),
        ({"timezone": ""}, "'timezone' is '', which this machine does not know"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(KeepConfig, keys, "[retention]")
    assert str(caught.value) == f"[retention]: {expected}"


def test_it_answers_to_its_name_only() -> None:
    assert (bitbacker_retention("keep"), bitbacker_retention("other")) == (KeepPolicy, None)
