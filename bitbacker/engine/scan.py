"""A pass over a source by one whose cache has the last snapshot: compare, read what changed, write it.

What is written goes on top of the tables of the last snapshot: entries that are new or changed, and
the fingerprints of those that they replace and of those that are gone.  A source without a snapshot
is compared with nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bitbacker.engine.assemble import Assembler, compare, drops, positions_by_name
from bitbacker.engine.content import ContentReader, row_of
from bitbacker.engine.diff import meet
from bitbacker.engine.observe import Observer, Progress
from bitbacker.engine.tally import Tally
from bitbacker.format.entries import Directory
from bitbacker.repo.session import EntryWriter
from bitbacker.repo.tree import TreeDirectory
from bitbacker.spi import Listing, Source

_REPORT_S = 0.1
_REGULAR = 0o100000
_KIND = 0o170000


@dataclass(slots=True)
class Counts:
    """How many regular files were read because they are new or changed, and what could not be read."""

    changed: int = 0
    problems: int = 0


class Scan:
    """Reads what changed of directories, counts what a pass saw, and tells the observer."""

    def __init__(
        self, source: Source, reader: ContentReader, assembler: Assembler, observer: Observer
    ) -> None:
        self.source = source
        self._reader = reader
        self._assembler = assembler
        self._observer = observer
        self._last_report_s = 0.0
        self._ahead_bytes = 0
        self._told: set[tuple[bytes, str]] = set()
        self.tally = Tally()
        self.counts = Counts()

    def problem(self, path: bytes, text: str) -> None:
        """One entry is not backed up as it is; said once, however often a pass meets it."""
        if (path, text) not in self._told:
            self._told.add((path, text))
            self.counts.problems += 1
            self._observer.problem(b"/" + path, text)

    def read(self, listing: Listing, changed: Sequence[int]) -> Directory:
        """The entries of a listing at `changed`, which are new or changed, read."""
        contents = self._reader.read(listing, changed)
        descriptions = self.source.describe(listing, changed)
        for index in contents:
            if int.from_bytes(row_of(listing, index)[:4], "little") & _KIND == _REGULAR:
                self.counts.changed += 1
        self._ahead_bytes = 0
        return self._assembler.fresh(listing, contents, descriptions, changed)

    def tick(self, path: bytes, read_bytes: int) -> None:
        """A part of a large file was read, whose directory is not counted yet."""
        self._ahead_bytes += read_bytes
        self.report(path)

    def report(self, path: bytes) -> None:
        """Tell the observer how far it has come, not too often."""
        now_s = time.monotonic()
        if now_s - self._last_report_s >= _REPORT_S:
            self._last_report_s = now_s
            size = self.tally.size_bytes + self._ahead_bytes
            self._observer.progress(Progress(self.tally.files, size, os.fsdecode(path)))


class WarmPass:
    """Compares directory by directory with the tables of the last snapshot."""

    def __init__(self, scan: Scan, stored: Iterator[TreeDirectory], *, read_all: bool) -> None:
        self._scan = scan
        self._stored = stored
        self._read_all = read_all

    def run(self, entries: Callable[[], EntryWriter], between: Callable[[], None]) -> None:
        """`entries` gives the writer of the moment; `between` is called after every directory."""
        scan = self._scan
        for meeting in meet(scan.source.walk(scan.problem), self._stored):
            if meeting.listing is not None:
                self._directory(meeting.listing, meeting.stored, entries())
                scan.report(meeting.listing.path)
                between()
            elif meeting.stored is not None:
                gone = meeting.stored.load()
                entries().drops += drops(gone, positions_by_name(gone).values())
                entries().drops += meeting.stored.overruled()

    def _directory(self, listing: Listing, stored: TreeDirectory | None, entries: EntryWriter) -> None:
        names = b"\0".join(listing.names)
        if stored is not None:
            entries.drops += stored.overruled()
        if stored is not None and not self._read_all and stored.equals(names, listing.rows):
            self._scan.tally.add(listing.rows)
            return
        old = None if stored is None else stored.load()
        comparison = compare(listing, old, read_all=self._read_all)
        fresh = self._scan.read(listing, comparison.changed)
        for index in comparison.kept:
            self._scan.tally.add(row_of(listing, index))
        self._scan.tally.add(fresh.rows)
        if fresh.entries:
            entries.add(fresh)
        if old is not None:
            entries.drops += drops(old, comparison.replaced)
