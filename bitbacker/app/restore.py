"""Getting files back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from bitbacker.app.access import Connection
from bitbacker.app.ls import path_in_snapshot
from bitbacker.engine.dump import dump
from bitbacker.engine.observe import Observer, Progress
from bitbacker.engine.restore import RestoreResult, execute_restore
from bitbacker.engine.restore_plan import RestoreOptions, RestorePlan, plan_restore
from bitbacker.errors import DamageError
from bitbacker.format.catalog import Snapshot
from bitbacker.repo.oblivious import ObliviousRepository, Tell, read_everything
from bitbacker.repo.open import Repository

__all__ = ["RestorePlan", "RestoreRequest", "RestoreResult", "dump_file", "plan", "restore", "unseen"]

PASSES_MAX = 4
MOVED = "a prune moved data meanwhile; the restore goes on from where it is now"


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore (everything when there are no paths), and where to."""

    target: Path
    paths: Sequence[str] = ()
    resume: bool = False


def unseen(connection: Connection, observer: Observer) -> Connection:
    """The connection, as one whose restores do not show what is restored; reads everything once.

    Progress counts segments.  Raises `StorageError`, `DamageError`, `SpoolFull`.
    """
    everything = read_everything(connection.repository, _telling(observer))
    return replace(connection, repository=everything)


def _telling(observer: Observer) -> Tell:
    return lambda done, every: observer.progress(Progress(files=done, current=f"of {every} segments"))


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
    if isinstance(repository, ObliviousRepository):
        return _restore_unseen(connection, snapshot, request, planned, observer)
    for _ in range(PASSES_MAX):
        try:
            return execute_restore(repository, planned, observer)
        except DamageError:
            found = _again(repository, snapshot)
            if repository.newest().prunes == planned.prunes or found is None:
                raise
        observer.note(MOVED)
        planned = plan(connection, found, replace(request, resume=True))
    return execute_restore(repository, planned, observer)


def _restore_unseen(
    connection: Connection,
    snapshot: Snapshot,
    request: RestoreRequest,
    planned: RestorePlan,
    observer: Observer,
) -> RestoreResult:
    """The same; whether it goes over everything again does not depend on what was missing."""
    repository = cast("ObliviousRepository", connection.repository)
    result, damage = _attempt(repository, planned, observer)
    for _ in range(PASSES_MAX):
        if not repository.overtaken():
            break
        repository.refresh(_telling(observer))
        found = _again(repository, snapshot)
        if found is None:
            break
        observer.note(MOVED)
        planned = plan(connection, found, replace(request, resume=True))
        later, damage = _attempt(repository, planned, observer)
        result = result or later
    if damage is not None:
        raise damage
    if result is None:
        raise AssertionError("a restore that neither ended nor failed")
    return result


def _attempt(
    repository: Repository, planned: RestorePlan, observer: Observer
) -> tuple[RestoreResult | None, DamageError | None]:
    try:
        return execute_restore(repository, planned, observer), None
    except DamageError as error:
        return None, error


def _again(repository: Repository, snapshot: Snapshot) -> Snapshot | None:
    """The same snapshot in the newest head, where it may have moved; None when it is forgotten."""
    catalog = repository.catalog(repository.newest())
    return next((item for item in catalog.snapshots if item.identity == snapshot.identity), None)


def dump_file(connection: Connection, snapshot: Snapshot, path: str, out: BinaryIO) -> None:
    """Write one file to a stream.  Raises `PathUnknown`, `DamageError`, `StorageError`."""
    dump(connection.repository, snapshot, path_in_snapshot(path), out)
