"""Searched completely, the commit rules lose nothing; without any one of them, something is lost."""

from __future__ import annotations

import pytest

from model.commit_rules import Kind, Rule, TooManyStates, explore

WRITER, PRUNER, FORGETTER = Kind.WRITER, Kind.PRUNER, Kind.FORGETTER
RULES = frozenset(Rule)


@pytest.mark.parametrize(
    ("kinds", "tries"),
    [
        ((WRITER, WRITER), 3),
        ((WRITER, PRUNER), 3),
        ((WRITER, PRUNER, FORGETTER), 2),
        ((WRITER, WRITER, WRITER), 1),
        ((WRITER, WRITER, PRUNER), 1),
        ((WRITER, PRUNER, PRUNER), 1),
        ((WRITER, WRITER, PRUNER, FORGETTER), 1),
    ],
    ids=lambda part: "+".join(part) if isinstance(part, tuple) else f"{part} tries",
)
def test_nothing_is_lost_as_designed(
    kinds: tuple[Kind, ...], tries: int, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = explore(kinds, RULES, tries=tries)
    with capsys.disabled():
        print(f"\n{'+'.join(kinds)}, at most {tries} tries each: {outcome.states:,} states, all searched")
    assert (outcome.loss, outcome.story) == ("", ())


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.name.lower())
def test_without_any_one_rule_something_is_lost(rule: Rule, capsys: pytest.CaptureFixture[str]) -> None:
    """The control: were a rule idle, or the search blind, one of these would find nothing."""
    others: dict[Rule, tuple[Kind, ...]] = {
        Rule.EXCLUSIVE: (WRITER,),
        Rule.POST_CHECK: (WRITER,),
        Rule.STILL_NEWEST: (PRUNER, PRUNER),
        Rule.KEEP_CONDEMNED: (PRUNER, PRUNER),
    }
    outcome = explore((WRITER, *others.get(rule, (PRUNER,))), RULES - {rule})
    with capsys.disabled():
        print(f"\nwithout {rule.name.lower()}: after {len(outcome.story)} steps {outcome.loss}")
    assert outcome.loss != "", f"nothing is lost although not: {rule.value}"


def test_a_search_that_is_cut_short_proves_nothing() -> None:
    with pytest.raises(TooManyStates):
        explore((WRITER, WRITER), RULES, limit=100)
