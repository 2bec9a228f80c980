"""The conformance suite of retention policies: every sentence of `bitbacker.spi.retention` as a test.

::

    class TestMyPolicy(RetentionContract):
        @pytest.fixture
        def policy(self) -> RetentionPolicy:
            return MyPolicy(MyPolicy.Config(keep=3))
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.spi import RetentionPolicy, SnapshotInfo, Verdict
from bitbacker.testing.contract import Contract, assert_declared, promise_settings

HOUR_NS = 3_600_000_000_000
NOW_NS = 1_800_000_000_000_000_000
"""January 2027, the time at which the suite judges."""

SPAN_HOURS = 24 * 366 * 4


def histories(*, ahead_hours: int = 48) -> st.SearchStrategy[list[SnapshotInfo]]:
    """Up to 30 snapshots of one host and source, of the last years and `ahead_hours` of the future."""
    ages = st.one_of(st.integers(-ahead_hours, 24 * 14), st.integers(-ahead_hours, SPAN_HOURS))
    one = st.tuples(ages, st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True), _rarely())
    return st.lists(one, max_size=30).map(
        lambda rows: [
            _snapshot(number, age_hours, tags, partial=partial)
            for number, (age_hours, tags, partial) in enumerate(rows)
        ]
    )


def _snapshot(number: int, age_hours: int, tags: Sequence[str], *, partial: bool) -> SnapshotInfo:
    time_ns = NOW_NS - age_hours * HOUR_NS
    return SnapshotInfo(f"{number:032x}", time_ns, "host", "home", tuple(tags), partial)


def _rarely() -> st.SearchStrategy[bool]:
    return st.integers(0, 7).map(lambda number: number == 0)


class RetentionContract(Contract, kit=True):
    """Override `policy`; one suite per configuration that matters."""

    @pytest.fixture
    def policy(self) -> RetentionPolicy:
        """The policy under test."""
        raise NotImplementedError

    def test_it_declares_what_it_is(self, policy: RetentionPolicy) -> None:
        assert_declared(policy)

    def test_nothing_is_judged_as_nothing(self, policy: RetentionPolicy) -> None:
        assert list(policy.judge([], NOW_NS)) == []

    @given(history=histories())
    @promise_settings
    def test_every_snapshot_has_its_verdict_in_the_order_given(
        self, policy: RetentionPolicy, history: list[SnapshotInfo]
    ) -> None:
        assert [verdict.snapshot for verdict in policy.judge(history, NOW_NS)] == history

    @given(history=histories())
    @promise_settings
    def test_every_verdict_has_a_reason_in_words(
        self, policy: RetentionPolicy, history: list[SnapshotInfo]
    ) -> None:
        verdicts = policy.judge(history, NOW_NS)
        assert [verdict for verdict in verdicts if not verdict.reason.strip()] == []

    @given(history=histories(), seed=st.integers(0, 2**32))
    @promise_settings
    def test_the_order_of_the_snapshots_does_not_matter(
        self, policy: RetentionPolicy, history: list[SnapshotInfo], seed: int
    ) -> None:
        shuffled = random.Random(seed).sample(history, len(history))  # noqa: S311  # test data, not a secret
        expected = _by_id(policy.judge(history, NOW_NS))
        assert _by_id(policy.judge(shuffled, NOW_NS)) == expected

    @given(history=histories())
    @promise_settings
    def test_the_same_question_has_the_same_answer(
        self, policy: RetentionPolicy, history: list[SnapshotInfo]
    ) -> None:
        first = list(policy.judge(tuple(history), NOW_NS))
        assert list(policy.judge(tuple(history), NOW_NS)) == first

    @given(history=histories())
    @promise_settings
    def test_judging_again_what_was_kept_forgets_nothing_more(
        self, policy: RetentionPolicy, history: list[SnapshotInfo]
    ) -> None:
        kept = [verdict.snapshot for verdict in policy.judge(history, NOW_NS) if verdict.keep]
        again = [verdict.snapshot for verdict in policy.judge(kept, NOW_NS) if verdict.keep]
        assert again == kept

    @given(history=histories())
    @promise_settings
    def test_the_list_that_it_was_given_stays_as_it_was(
        self, policy: RetentionPolicy, history: list[SnapshotInfo]
    ) -> None:
        before = list(history)
        policy.judge(history, NOW_NS)
        assert history == before

    def test_it_looks_at_no_clock_but_the_one_that_it_is_given(self, policy: RetentionPolicy) -> None:
        """Sees through `time.time` and `time.time_ns` only."""
        history = [_snapshot(number, number * 7, [], partial=False) for number in range(20)]
        with _no_clock():
            policy.judge(history, NOW_NS)


def _by_id(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    return {verdict.snapshot.id: verdict for verdict in verdicts}


@contextmanager
def _no_clock() -> Iterator[None]:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a policy may not look at the clock: it is given the time")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", refuse)
        patch.setattr(time, "time_ns", refuse)
        yield
