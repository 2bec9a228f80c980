"""Freeing what no snapshot needs."""

from __future__ import annotations

from bitbacker.app.access import Connection
from bitbacker.repo.sweep import PruneResult, execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, PrunePlan, plan_prune

__all__ = ["PrunePlan", "PruneResult", "plan", "prune"]

OPTIONS = PruneOptions()


def plan(connection: Connection) -> PrunePlan:
    """Work out what can be freed; nothing is changed.  Raises `DamageError`, `StorageError`."""
    return plan_prune(connection.repository, OPTIONS)


def prune(connection: Connection, planned: PrunePlan) -> PruneResult:
    """Do it.  Raises `RaceLost`, `StorageError`, `StorageDenied`."""
    return execute_prune(connection.repository, planned, OPTIONS)
