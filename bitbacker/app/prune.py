"""Freeing what no snapshot needs."""

from __future__ import annotations

from bitbacker.app.access import Connection
from bitbacker.engine.observe import Observer, Progress, SilentObserver
from bitbacker.repo.sweep import PruneResult, execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, PrunePlan, plan_prune

__all__ = ["PrunePlan", "PruneResult", "plan", "prune"]


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
