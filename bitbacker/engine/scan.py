"""One pass over a source: compare with what is stored, read what changed, write what follows from it.

A pass writes either everything (`full`) or, on top of the parent's tables, a delta: entries that are
new or changed, and the fingerprints of those that are gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bitbacker.engine.assemble import Assembler, Comparison, compare, drops, merged
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
    """What became of regular files and of entries that could not be read."""

    new: int = 0
    changed: int = 0
    problems: int = 0


class Scan:
    """Walks a source once and feeds an entry writer and a chunk sink."""

    def __init__(
        self,
        source: Source,
        reader: ContentReader,
        assembler: Assembler,
        observer: Observer,
        *,
        full: bool,
        read_all: bool,
    ) -> None:
        self._source = source
        self._reader = reader
        self._assembler = assembler
        self._observer = observer
        self._full = full
        self._read_all = read_all
        self._last_report_s = 0.0
        self._ahead_bytes = 0
        self.tally = Tally()
        self.fresh = Tally()
        self.counts = Counts()

    def problem(self, path: bytes, text: str) -> None:
        """One entry is not backed up as it is."""
        self.counts.problems += 1
        self._observer.problem(b"/" + path, text)

    def run(
        self, stored: Iterator[TreeDirectory], entries: Callable[[], EntryWriter], between: Callable[[], None]
    ) -> None:
        """`entries` gives the writer of the moment; `between` is called after every directory."""
        for meeting in meet(self._source.walk(self.problem), stored):
            if meeting.listing is None:
                if meeting.stored is not None and not self._full:
                    gone = meeting.stored.load()
                    entries().drops += drops(gone, range(gone.entries))
                continue
            self._directory(meeting.listing, meeting.stored, entries())
            self._ahead_bytes = 0
            self._report(meeting.listing.path)
            between()

    def _directory(self, listing: Listing, stored: TreeDirectory | None, entries: EntryWriter) -> None:
        if (
            stored is not None
            and not self._read_all
            and stored.equals(b"\0".join(listing.names), listing.rows)
        ):
            self.tally.add(listing.rows)
            if self._full:
                entries.add(stored.load())
            return
        old = None if stored is None else stored.load()
        comparison = compare(listing, old, read_all=self._read_all)
        fresh = self._read(listing, comparison)
        whole = fresh if old is None else merged(old, tuple(comparison.kept.values()), fresh)
        self.tally.add(whole.rows)
        self.fresh.add(fresh.rows)
        if self._full:
            entries.add(whole)
            return
        self._write_delta(old, whole, fresh, entries)

    def _read(self, listing: Listing, comparison: Comparison) -> Directory:
        contents = self._reader.read(listing, comparison.changed)
        descriptions = self._source.describe(listing, comparison.changed)
        for index in contents:
            if int.from_bytes(row_of(listing, index)[:4], "little") & _KIND == _REGULAR:
                if index in comparison.new:
                    self.counts.new += 1
                else:
                    self.counts.changed += 1
        return self._assembler.fresh(listing, contents, descriptions, comparison.changed)

    @staticmethod
    def _write_delta(old: Directory | None, whole: Directory, fresh: Directory, entries: EntryWriter) -> None:
        if fresh.entries or old is None:
            entries.add(fresh)
        if old is not None:
            present = set(whole.name_list)
            gone = [at for at, name in enumerate(old.name_list) if name not in present]
            entries.drops += drops(old, gone)

    def tick(self, path: bytes, read_bytes: int) -> None:
        """A part of a large file was read, whose directory is not counted yet."""
        self._ahead_bytes += read_bytes
        self._report(path)

    def _report(self, path: bytes) -> None:
        now_s = time.monotonic()
        if now_s - self._last_report_s >= _REPORT_S:
            self._last_report_s = now_s
            size = self.tally.size_bytes + self._ahead_bytes
            self._observer.progress(Progress(self.tally.files, size, os.fsdecode(path)))
