"""Counting what a session saw, in batches of rows."""

from __future__ import annotations

import grp
import pwd
import stat
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from bitbacker.format.catalog import Owner
from bitbacker.format.rows import ROW_SIZE_BYTES, as_rows

_BATCH_BYTES = 64 * 1024 * ROW_SIZE_BYTES


class Tally:
    """Numbers of files, directories and others, bytes of files, and who owns them."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._files = self._directories = self._others = self._size_bytes = 0
        self._users: Counter[int] = Counter()
        self._groups: Counter[int] = Counter()

    def add(self, rows: bytes) -> None:
        """The rows of one directory."""
        self._waiting.append(rows)
        self._waiting_bytes += len(rows)
        if self._waiting_bytes > _BATCH_BYTES:
            self._count()

    def remove(self, rows: bytes) -> None:
        """Rows that were added and are not to be counted after all."""
        self._count_rows(rows, -1)

    def _count(self) -> None:
        rows = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        self._count_rows(rows, 1)

    def _count_rows(self, packed: bytes, sign: int) -> None:
        rows = as_rows(packed)
        kinds = rows["mode"] & 0o170000
        regular = kinds == stat.S_IFREG
        files, directories = int(regular.sum()), int((kinds == stat.S_IFDIR).sum())
        self._files += sign * files
        self._directories += sign * directories
        self._others += sign * (len(rows) - files - directories)
        self._size_bytes += sign * int(rows["size_bytes"][regular].sum())
        for owners, column in ((self._users, "uid"), (self._groups, "gid")):
            numbers, counts = np.unique(rows[column], return_counts=True)
            owners.update(dict(zip(numbers.tolist(), (sign * counts).tolist(), strict=True)))

    @property
    def files(self) -> int:
        self._count()
        return self._files

    @property
    def directories(self) -> int:
        self._count()
        return self._directories

    @property
    def others(self) -> int:
        self._count()
        return self._others

    @property
    def size_bytes(self) -> int:
        self._count()
        return self._size_bytes

    def users(self) -> tuple[Owner, ...]:
        """Owners by number and name, as this machine knows them."""
        self._count()
        return _named(+self._users, lambda number: pwd.getpwuid(number).pw_name)

    def groups(self) -> tuple[Owner, ...]:
        """Groups by number and name, as this machine knows them."""
        self._count()
        return _named(+self._groups, lambda number: grp.getgrgid(number).gr_name)


def _named(numbers: Iterable[int], lookup: Callable[[int], str]) -> tuple[Owner, ...]:
    owners: list[Owner] = []
    for number in sorted(numbers):
        try:
            owners.append(Owner(number, lookup(number)))
        except KeyError:
            # A number without a name is restored as a number.
            continue
    return tuple(owners)
