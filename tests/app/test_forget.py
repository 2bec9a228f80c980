"""What is forgotten: by name, by rules, by the policies of the configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bitbacker.app.forget import ForgetPlan, ForgetRequest, plan_forget, plan_source
from bitbacker.app.select import Filter, Snapshot
from bitbacker.config.read import config_of
from bitbacker.config.table import parse_toml
from bitbacker.errors import SnapshotUnknown, UsageError
from bitbacker.host import Host

DAY_NS = 86400 * 10**9
POLICY = '[sources.home]\npaths = ["/x"]\nhost = "box"\n[retention]\nkeep_last = 1\n'


def snapshot(number: int, host: str = "box", source: str = "home") -> Snapshot:
    return Snapshot(bytes([number]) * 16, number * DAY_NS, host, source, (), (), (), "test")


EVERY = (
    snapshot(1),
    snapshot(2),
    snapshot(3, host="other"),
    snapshot(4),
    snapshot(5, host="other"),
    snapshot(6, source="mail"),
)


def connection(toml: str = "") -> Any:
    """A repository that holds `EVERY`, and this configuration."""
    repository = SimpleNamespace(newest=lambda: None, catalog=lambda _: SimpleNamespace(snapshots=EVERY))
    wiring = SimpleNamespace(config=config_of(parse_toml(toml, "")), host=Host())
    return SimpleNamespace(repository=repository, wiring=wiring)


def numbers(plan: ForgetPlan) -> list[int]:
    """Which snapshots go."""
    return sorted(int(one[:2], 16) for one in plan.forgotten)


def test_snapshots_that_are_named_go_and_no_others() -> None:
    plan = plan_forget(connection(), ForgetRequest(names=("0101", "latest")))
    assert (numbers(plan), plan.kept) == ([1, 6], 0)


def test_a_name_that_is_unknown_forgets_nothing() -> None:
    with pytest.raises(SnapshotUnknown):
        plan_forget(connection(), ForgetRequest(names=("0101", "77")))


def test_rules_look_at_each_source_of_each_host_by_itself() -> None:
    plan = plan_forget(connection(), ForgetRequest(rules={"keep_last": 1}))
    assert numbers(plan) == [1, 2, 3]
    assert [(group.host, group.source) for group in plan.groups] == [
        ("box", "home"),
        ("box", "mail"),
        ("other", "home"),
    ]


def test_a_filter_narrows_what_rules_look_at() -> None:
    request = ForgetRequest(rules={"keep_last": 1}, wanted=Filter(hosts=("other",)))
    assert numbers(plan_forget(connection(), request)) == [3]


def test_a_policy_of_the_configuration_is_for_the_sources_of_this_host_only() -> None:
    plan = plan_forget(connection(POLICY), ForgetRequest())
    assert numbers(plan) == [1, 2]
    reasons = {verdict.reason for group in plan.groups if group.host == "other" for verdict in group.verdicts}
    assert reasons == {"the configuration has no policy for this host and source"}


def test_a_run_looks_at_one_source_and_leaves_the_others_alone() -> None:
    opened = connection(POLICY)
    plan = plan_source(opened, opened.wiring.config.sources[0])
    assert numbers(plan) == [1, 2]
    assert [(group.host, group.source) for group in plan.groups] == [("box", "home")]


def test_without_names_rules_and_policies_nothing_is_guessed() -> None:
    with pytest.raises(UsageError, match="nothing says what to forget"):
        plan_forget(connection(), ForgetRequest())


def test_names_and_rules_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        plan_forget(connection(), ForgetRequest(names=("latest",), rules={"keep_last": 1}))


def test_rules_that_keep_nothing_in_particular_keep_everything() -> None:
    """`--keep-last 0` is no rule; it must not empty a repository."""
    assert numbers(plan_forget(connection(), ForgetRequest(rules={"keep_last": 0}))) == []


def test_a_rule_that_makes_no_sense_is_the_command_lines_fault() -> None:
    with pytest.raises(UsageError, match="keep_last"):
        plan_forget(connection(), ForgetRequest(rules={"keep_last": -2}))
