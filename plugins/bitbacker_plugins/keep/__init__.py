"""`keep`: the newest snapshot of each of the last hours, days, weeks, months and years stays.

The rules are those of restic's `forget`; docs/configuration.md explains every key with an example.
A snapshot stays when at least one rule keeps it.  Beyond the rules:

* Without any rule everything stays.
* With rules, the newest complete snapshot stays in any case.
* A partial snapshot stays until a later complete one exists, and no rule counts it.
* A snapshot dated in the future stays, and no rule counts it: a clock that once ran ahead must not
  make a snapshot that nothing later can ever displace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bitbacker.spi import RetentionPolicy, SnapshotInfo, Verdict, hookimpl
from bitbacker_plugins.keep.config import KeepConfig
from bitbacker_plugins.keep.rules import Reasons, count_buckets, keep_tagged, keep_within


class KeepPolicy:
    """Judges by calendar, by age and by tag."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[KeepConfig]] = KeepConfig

    def __init__(self, config: KeepConfig) -> None:
        self._config = config

    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        """One verdict per snapshot, in the order given; the order itself does not matter."""
        if not self._config.has_rules:
            return [Verdict(snapshot, keep=True, reason="the policy has no rule") for snapshot in snapshots]
        newest_first = sorted(snapshots, key=lambda one: (one.time_ns, one.id), reverse=True)
        countable = [one for one in newest_first if not one.partial and one.time_ns <= now_ns]
        reasons = self._reasons(countable)
        newest_ns = countable[0].time_ns if countable else None
        return [_verdict(snapshot, reasons, newest_ns, now_ns) for snapshot in snapshots]

    def _reasons(self, countable: Sequence[SnapshotInfo]) -> Reasons:
        """Why each snapshot that rules may count stays."""
        reasons = Reasons()
        if countable:
            reasons.add(countable[0], "newest snapshot")
        keep_tagged(countable, self._config.keep_tags, reasons)
        count_buckets(countable, self._config.counts, self._config.zone, reasons)
        if self._config.span is not None:
            keep_within(countable, self._config.span, self._config.zone, reasons)
        return reasons


def _verdict(snapshot: SnapshotInfo, reasons: Reasons, newest_ns: int | None, now_ns: int) -> Verdict:
    if snapshot.partial:
        superseded = newest_ns is not None and snapshot.time_ns < newest_ns
        reason = (
            "partial, and a later one is complete" if superseded else "partial, and no later one is complete"
        )
        return Verdict(snapshot, keep=not superseded, reason=reason)
    if snapshot.time_ns > now_ns:
        return Verdict(snapshot, keep=True, reason="dated in the future, so no rule counts it")
    found = reasons.of(snapshot)
    return Verdict(snapshot, keep=bool(found), reason=found or "no rule keeps it")


@hookimpl
def bitbacker_retention(name: str) -> type[RetentionPolicy] | None:
    return KeepPolicy if name == "keep" else None
