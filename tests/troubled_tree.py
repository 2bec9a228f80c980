"""A source of real files in which names say what goes wrong, the same way however often it is read.

Files called `gone...` vanish before they are read, and belong to somebody else while they are there;
files called `torn...` change while they are read; directories called `closed...` cannot be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bitbacker.errors import SourceUnreadable
from bitbacker.format.rows import as_rows
from bitbacker.spi import Listing, Located, OnProblem, OpenFile, SmallRead
from bitbacker_plugins.files import FilesConfig, FilesSource

SOMEBODY_ELSE = 1
GONE, TORN, CLOSED = b"gone", b"torn", b"closed"
VANISHED = "it vanished before it could be read"
CHANGED = "changed while it was read"


class TroubledTree(FilesSource):
    """A root whose parents, in which others work meanwhile, always look the same."""

    def __init__(self, root: Path) -> None:
        super().__init__(FilesConfig(paths=(Located(str(root)),)))

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        return self._readable(super().walk(on_problem), on_problem)

    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        return self._readable(super().revisit(paths, on_problem), on_problem)

    def _readable(self, listings: Iterator[Listing], on_problem: OnProblem) -> Iterator[Listing]:
        for listing in listings:
            *above, last = listing.path.split(b"/")
            if last.startswith(CLOSED):
                on_problem(listing.path, "this directory cannot be read: Permission denied")
            if not any(name.startswith(CLOSED) for name in (*above, last)):
                yield self._as_told(listing)

    def _as_told(self, listing: Listing) -> Listing:
        rows = as_rows(listing.rows).copy()
        if not listing.path.startswith(os.fsencode(self.roots()[0])[1:]):
            rows["mtime_ns"] = rows["ctime_ns"] = 0
        rows["uid"][[name.startswith(GONE) for name in listing.names]] = SOMEBODY_ELSE
        return Listing(listing.path, listing.names, rows.tobytes())

    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        answers: list[SmallRead] = []
        used = 0
        for index in indexes:
            if used > len(into) - limit_bytes:
                break
            answers.append(self._read_one(listing, index, limit_bytes, into[used:]))
            used += max(answers[-1].size_bytes, 0)
        return answers

    def _read_one(self, listing: Listing, index: int, limit_bytes: int, into: memoryview) -> SmallRead:
        name = listing.names[index]
        if name.startswith(GONE):
            return SmallRead(-1, b"", VANISHED)
        (answer,) = super().read_small(listing, [index], limit_bytes, into)
        torn = name.startswith(TORN) and answer.size_bytes >= 0
        return SmallRead(answer.size_bytes, answer.row, CHANGED) if torn else answer

    def open(self, listing: Listing, index: int) -> OpenFile:
        name = listing.names[index]
        if name.startswith(GONE):
            raise SourceUnreadable(VANISHED)
        file = super().open(listing, index)
        if name.startswith(TORN):
            file.problem = lambda: CHANGED  # type: ignore[method-assign]  # only this one is torn
        return file
