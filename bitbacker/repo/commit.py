"""The commit: optimistic, without locks and clocks.  docs/format.md section 12.

1. read the newest head `n`;
2. check that what the change relies on is still there;
3. create head `n + 1` exclusively; if another client was first, go to 1;
4. look at the newest head again; only if it holds the change is the commit acknowledged.

`tests/model` searches these rules exhaustively.
"""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import replace
from typing import Protocol

from bitbacker.errors import ObjectExists, RaceLost
from bitbacker.format.head import ANCESTOR_SIZE_BYTES, ANCESTORS_MAX, Head
from bitbacker.repo.heads import SeenHead
from bitbacker.repo.open import Repository

ATTEMPTS_MAX = 30
_DELAY_S = 0.05


class Superseded(Exception):
    """A prune took away what a change relies on; the work is done again on the newest head."""


class Change(Protocol):
    """What a verb wants to be true in the next head."""

    def check(self, base: Head, newest: Head) -> None:
        """Raise `Superseded` when the change cannot be made on `newest` any more."""

    def apply(self, newest: Head) -> Head:
        """The head that follows `newest`; number, hash, time and writer are filled in by the commit."""

    def holds(self, newest: Head) -> bool:
        """Whether `newest` has this change in it."""


def commit(repository: Repository, base: Head, change: Change) -> Head:
    """Make a change part of the repository.

    Returns the head that holds it.  Raises `Superseded`, `RaceLost`, `StorageError`, `DamageError`.
    """
    writer = secrets.token_bytes(16)
    for attempt in range(ATTEMPTS_MAX):
        newest = repository.heads.newest()
        change.check(base, newest.head)
        seen = _create(repository, newest, change, writer)
        if seen is not None:
            after = repository.heads.newest()
            if after.hash == seen.hash or change.holds(after.head):
                repository.heads.acknowledge(after)
                return after.head
        time.sleep(random.uniform(0, _DELAY_S * (attempt + 1)))  # noqa: S311  # jitter needs no secrecy
    raise RaceLost(f"other clients committed first, {ATTEMPTS_MAX} times in a row")


def _create(repository: Repository, newest: SeenHead, change: Change, writer: bytes) -> SeenHead | None:
    head = replace(
        change.apply(newest.head),
        number=newest.head.number + 1,
        previous_hash=newest.hash,
        ancestors=_ancestors(newest.head),
        time_ns=time.time_ns(),
        writer=writer,
    )
    try:
        return repository.heads.put(head)
    except ObjectExists:
        return None


def _ancestors(previous: Head) -> tuple[bytes, ...]:
    """What the head after `previous` says of the heads before it."""
    if previous.number == 1:
        return ()
    return (previous.previous_hash[:ANCESTOR_SIZE_BYTES], *previous.ancestors)[:ANCESTORS_MAX]
