"""Freeing what no snapshot needs."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from bitbacker.app.access import Connection
from bitbacker.engine.observe import Observer, Progress, SilentObserver
from bitbacker.repo.sweep import PruneResult, execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, PrunePlan, plan_prune

__all__ = ["PrunePlan", "PruneResult", "free_at_ns", "plan", "prune"]

_YEAR_MAX_S = datetime(9999, 1, 1, tzinfo=timezone.utc).timestamp()


def plan(connection: Connection, observer: Observer | None = None, *, strict: bool = False) -> PrunePlan:
    """Work out what can be freed; nothing is changed.

    With `strict` everything is read already, and progress counts segments.  Raises `DamageError`,
    `StorageError`, `SpoolFull`.
    """
    seen = observer or SilentObserver()

    def tell(done: int, every: int) -> None:
        seen.progress(Progress(files=done, current=f"of {every} segments"))

    return plan_prune(connection.repository, PruneOptions(strict=strict), tell)


def prune(connection: Connection, planned: PrunePlan) -> PruneResult:
    """Do it.  Raises `RaceLost`, `StorageError`, `StorageDenied`, `SpoolFull`."""
    return execute_prune(connection.repository, planned, PruneOptions(strict=planned.strict))


def free_at_ns(result: PruneResult) -> int | None:
    """From when on a prune can delete what the storage has kept, as far as it said so."""
    until_s = result.locked_until_s
    # A storage may keep something for ever, or for longer than calendars go.
    if until_s is None or not 0 < until_s < _YEAR_MAX_S:
        return None
    return math.ceil(until_s) * 10**9
