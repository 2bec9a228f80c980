"""The conformance suite for retention fails a policy for each promise that it breaks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bitbacker.spi import NoConfig, RetentionPolicy, SnapshotInfo, Verdict
from bitbacker.testing.contract import contract_tests
from bitbacker.testing.retention import RetentionContract


class Newest:
    """Keeps the newest three; the broken ones below are this one, but for one thing."""

    api_version = 1
    Config: type[Any] = NoConfig

    def __init__(self, config: Any = None) -> None:
        self._config = config

    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        del now_ns
        newest = sorted(snapshots, key=lambda one: (one.time_ns, one.id), reverse=True)[:3]
        return [Verdict(one, one in newest, "new" if one in newest else "old") for one in snapshots]


class TestNewest(RetentionContract):
    @pytest.fixture
    def policy(self) -> RetentionPolicy:
        return Newest()


class Undeclared(Newest):
    api_version = 0


class Inventive(Newest):
    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        stranger = SnapshotInfo("f" * 32, now_ns, "host", "home")
        return [*super().judge(snapshots, now_ns), Verdict(stranger, keep=True, reason="why not")]


class Sorting(Newest):
    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        return sorted(super().judge(snapshots, now_ns), key=lambda one: one.snapshot.time_ns)


class Silent(Newest):
    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        return [replace(one, reason=" ") for one in super().judge(snapshots, now_ns)]


class ByPlace(Newest):
    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        del now_ns
        return [Verdict(one, index < 3, "by place") for index, one in enumerate(snapshots)]


class Moody(Newest):
    calls = 0

    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        self.calls += 1
        mood = f"mood {self.calls}"
        return [replace(one, reason=mood) for one in super().judge(snapshots, now_ns)]


class Halving(Newest):
    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        del now_ns
        oldest = sorted(snapshots, key=lambda one: (one.time_ns, one.id))[: len(snapshots) // 2]
        return [Verdict(one, one not in oldest, "half of them") for one in snapshots]


class Emptying(Newest):
    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        verdicts = super().judge(snapshots, now_ns)
        if isinstance(snapshots, list):
            snapshots.clear()
        return verdicts


class ByTheClock(Newest):
    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        del now_ns
        year_ns = 365 * 86400 * 10**9
        return [Verdict(one, time.time_ns() - one.time_ns < year_ns, "by age") for one in snapshots]


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken policy, and the test that must notice."""

    policy: type[Newest]
    test: str


BREACHES = [
    Breach(Undeclared, "test_it_declares_what_it_is"),
    Breach(Inventive, "test_nothing_is_judged_as_nothing"),
    Breach(Sorting, "test_every_snapshot_has_its_verdict_in_the_order_given"),
    Breach(Silent, "test_every_verdict_has_a_reason_in_words"),
    Breach(ByPlace, "test_the_order_of_the_snapshots_does_not_matter"),
    Breach(Moody, "test_the_same_question_has_the_same_answer"),
    Breach(Halving, "test_judging_again_what_was_kept_forgets_nothing_more"),
    Breach(Emptying, "test_the_list_that_it_was_given_stays_as_it_was"),
    Breach(ByTheClock, "test_it_looks_at_no_clock_but_the_one_that_it_is_given"),
]


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.policy.__name__)
def test_a_broken_promise_is_noticed(breach: Breach) -> None:
    with pytest.raises(AssertionError):
        getattr(RetentionContract(), breach.test)(policy=breach.policy())


def test_every_test_of_the_suite_has_a_policy_that_fails_it() -> None:
    assert {breach.test for breach in BREACHES} == (
        contract_tests(TestNewest).keys() - contract_tests(RetentionContract).keys()
    )
