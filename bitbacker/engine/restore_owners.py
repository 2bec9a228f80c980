"""Owners by name: a restore gives files to the users and groups of this machine."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Sequence

import numpy as np

from bitbacker.format.catalog import Owner, Snapshot
from bitbacker.format.rows import Rows


def give_to_local_owners(rows: Rows, snapshot: Snapshot) -> None:
    """Replace the numbers of owners by those that their names have here, where they have one."""
    _replace(rows, "uid", snapshot.users, lambda name: pwd.getpwnam(name).pw_uid)
    _replace(rows, "gid", snapshot.groups, lambda name: grp.getgrnam(name).gr_gid)


def _replace(rows: Rows, column: str, owners: Sequence[Owner], number_of: Callable[[str], int]) -> None:
    here: dict[int, int] = {}
    for owner in owners:
        try:
            here[owner.number] = number_of(owner.name)
        except (KeyError, ValueError):
            continue
    moved = {there: number for there, number in here.items() if there != number}
    if not moved or not len(rows):
        return
    known = np.array(sorted(moved), dtype=np.uint32)
    numbers = np.array([moved[number] for number in known.tolist()], dtype=np.uint32)
    at = np.minimum(np.searchsorted(known, rows[column]), len(known) - 1)
    rows[column] = np.where(known[at] == rows[column], numbers[at], rows[column])
