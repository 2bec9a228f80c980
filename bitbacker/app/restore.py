"""Getting files back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from bitbacker.app.access import Connection
from bitbacker.app.ls import path_in_snapshot
from bitbacker.engine.dump import dump
from bitbacker.engine.observe import Observer
from bitbacker.engine.restore import RestoreResult, execute_restore
from bitbacker.engine.restore_plan import RestoreOptions, RestorePlan, plan_restore
from bitbacker.errors import DamageError
from bitbacker.format.catalog import Snapshot

__all__ = ["RestorePlan", "RestoreRequest", "RestoreResult", "dump_file", "plan", "restore"]

PASSES_MAX = 4


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore (everything when there are no paths), and where to."""

    target: Path
    paths: Sequence[str] = ()
    resume: bool = False


def plan(connection: Connection, snapshot: Snapshot, request: RestoreRequest) -> RestorePlan:
    """Work out what a restore takes; nothing is written.

    Raises `PathUnknown`, `TargetNotEmpty`, `TargetError`, `DamageError`.
    """
    paths = [path for path in map(path_in_snapshot, request.paths) if path]
    options = RestoreOptions(resume=request.resume)
    return plan_restore(connection.repository, snapshot, paths, request.target.absolute(), options)


def restore(
    connection: Connection,
    snapshot: Snapshot,
    request: RestoreRequest,
    planned: RestorePlan,
    observer: Observer,
) -> RestoreResult:
    """Write the files that were planned; when a prune moves data meanwhile, go on where it lies now.

    Raises `TargetError`, `DamageError`, `StorageError`.
    """
    repository = connection.repository
    for _ in range(PASSES_MAX):
        try:
            return execute_restore(repository, planned, observer)
        except DamageError:
            head = repository.newest()
            found = [
                item for item in repository.catalog(head).snapshots if item.identity == snapshot.identity
            ]
            if head.prunes == planned.prunes or not found:
                raise
        observer.note("a prune moved data meanwhile; the restore goes on from where it is now")
        planned = plan(connection, found[0], replace(request, resume=True))
    return execute_restore(repository, planned, observer)


def dump_file(connection: Connection, snapshot: Snapshot, path: str, out: BinaryIO) -> None:
    """Write one file to a stream.  Raises `PathUnknown`, `DamageError`, `StorageError`."""
    dump(connection.repository, snapshot, path_in_snapshot(path), out)
