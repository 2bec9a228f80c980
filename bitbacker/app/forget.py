"""Removing snapshots: by name, by rules of the command line, or by the policies of the configuration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bitbacker.app.access import Connection
from bitbacker.app.backup import COMMAND_LINE, command_line_errors, this_host
from bitbacker.app.select import Filter, pick
from bitbacker.config import SourceSpec, make_config
from bitbacker.errors import UsageError
from bitbacker.format.catalog import Snapshot
from bitbacker.repo.forget import forget
from bitbacker.spi import RetentionPolicy, SnapshotInfo, Verdict

KEEP = "keep"
"""The policy whose rules can be given on the command line."""


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Snapshots by name (`names`), or rules by key (`rules`), or neither: what the configuration says.

    `wanted` narrows what is looked at.
    """

    names: tuple[str, ...] = ()
    rules: Mapping[str, object] = field(default_factory=dict)
    wanted: Filter = field(default_factory=Filter)


@dataclass(frozen=True, slots=True)
class Group:
    """The snapshots of one source of one host, oldest first, and what becomes of each."""

    host: str
    source: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """What would be forgotten, to be shown before it is."""

    groups: tuple[Group, ...]

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Ids of the snapshots that go."""
        return tuple(
            verdict.snapshot.id for group in self.groups for verdict in group.verdicts if not verdict.keep
        )

    @property
    def kept(self) -> int:
        """How many of the snapshots that were looked at stay."""
        return sum(verdict.keep for group in self.groups for verdict in group.verdicts)


def plan_forget(connection: Connection, request: ForgetRequest) -> ForgetPlan:
    """Decide, and change nothing.

    Raises `UsageError`, `SnapshotUnknown`, `PluginError`, `ConfigError`, `DamageError`.
    """
    if request.names and request.rules:
        raise UsageError("snapshots by name and --keep-... rules exclude each other")
    repository = connection.repository
    every = repository.catalog(repository.newest()).snapshots
    looked_at = [snapshot for snapshot in every if request.wanted.fits(snapshot)]
    if request.names:
        return _by_name(looked_at, request.names)
    if request.rules:
        with command_line_errors():
            policy = _policy(connection, KEEP, request.rules)
        return ForgetPlan(tuple(_judged(group, policy) for group in _grouped(looked_at)))
    return _by_configuration(connection, looked_at)


def plan_source(connection: Connection, spec: SourceSpec) -> ForgetPlan:
    """What the configuration says of one source on this host."""
    repository = connection.repository
    wanted = Filter((spec.host or this_host(),), (spec.name,))
    every = repository.catalog(repository.newest()).snapshots
    return _by_configuration(connection, [snapshot for snapshot in every if wanted.fits(snapshot)])


def execute_forget(connection: Connection, plan: ForgetPlan) -> None:
    """Do what the plan says.  Raises `RaceLost`, `StorageError`."""
    if plan.forgotten:
        forget(connection.repository, [bytes.fromhex(one) for one in plan.forgotten])


def _by_name(snapshots: Sequence[Snapshot], names: Iterable[str]) -> ForgetPlan:
    named = {pick(snapshots, name).identity for name in names}
    chosen = [snapshot for snapshot in snapshots if snapshot.identity in named]
    return ForgetPlan(
        tuple(
            Group(*key, tuple(Verdict(_info(one), keep=False, reason="named") for one in group))
            for key, group in _grouped(chosen)
        )
    )


def _by_configuration(connection: Connection, snapshots: Sequence[Snapshot]) -> ForgetPlan:
    """The policies of the sources of this host; what others have backed up stays."""
    specs = {
        (spec.host or this_host(), spec.name): spec.retention
        for spec in connection.wiring.config.sources
        if spec.retention is not None
    }
    if not specs:
        raise UsageError(
            "nothing says what to forget",
            hint="name snapshots, give --keep-... rules, or configure [retention]",
        )
    groups = []
    for key, group in _grouped(snapshots):
        retention = specs.get(key)
        if retention is None:
            reason = "the configuration has no policy for this host and source"
            verdicts = tuple(Verdict(_info(one), keep=True, reason=reason) for one in group)
            groups.append(Group(*key, verdicts))
        else:
            policy = _policy(connection, retention.plugin.name, retention.plugin.options)
            groups.append(_judged((key, group), policy))
    return ForgetPlan(tuple(groups))


def _policy(connection: Connection, name: str, options: Mapping[str, object]) -> RetentionPolicy:
    offered = connection.wiring.host.retention(name)
    return offered(make_config(offered.Config, options, COMMAND_LINE))


def _judged(group: tuple[tuple[str, str], list[Snapshot]], policy: RetentionPolicy) -> Group:
    (host, source), snapshots = group
    return Group(host, source, tuple(policy.judge([_info(one) for one in snapshots], time.time_ns())))


def _grouped(snapshots: Iterable[Snapshot]) -> list[tuple[tuple[str, str], list[Snapshot]]]:
    def key(snapshot: Snapshot) -> tuple[str, str]:
        return snapshot.host, snapshot.source

    return [(found, list(group)) for found, group in groupby(sorted(snapshots, key=key), key)]


def _info(snapshot: Snapshot) -> SnapshotInfo:
    return SnapshotInfo(
        snapshot.id, snapshot.time_ns, snapshot.host, snapshot.source, snapshot.tags, partial=snapshot.partial
    )
