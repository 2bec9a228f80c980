"""Forgetting snapshots: from the moment of the commit they are no longer promised."""

from __future__ import annotations

from collections.abc import Iterable

from bitbacker.errors import RaceLost, SnapshotUnknown
from bitbacker.format.catalog import SNAPSHOT_KEY, CatalogRecord
from bitbacker.format.head import Head
from bitbacker.repo.changes import RemoveSnapshots
from bitbacker.repo.commit import Superseded, commit
from bitbacker.repo.open import Repository
from bitbacker.repo.session import Coming, Session, size_of

PASSES_MAX = 5


def forget(repository: Repository, identities: Iterable[bytes]) -> None:
    """Remove snapshots; their data stays until a prune.

    Raises `SnapshotUnknown` when one is not there, `RaceLost`, `StorageError`, `DamageError`.
    """
    wanted = frozenset(identities)
    for _ in range(PASSES_MAX):
        head = repository.newest()
        known = {snapshot.identity for snapshot in repository.catalog(head).snapshots}
        if not wanted <= known:
            raise SnapshotUnknown(f"there is no snapshot {min(wanted - known).hex()[:8]}")
        try:
            _forget(repository, head, wanted)
        except Superseded:
            continue
        return
    raise RaceLost(f"prunes interfered {PASSES_MAX} times in a row")


def _forget(repository: Repository, head: Head, identities: frozenset[bytes]) -> None:
    with Session(repository) as session:
        records = [CatalogRecord(SNAPSHOT_KEY + identity, None) for identity in sorted(identities)]
        session.settle(Coming(size_of(records)))
        written = session.finish(records, head.number + 1)
        commit(repository, head, RemoveSnapshots(repository, identities, written))
