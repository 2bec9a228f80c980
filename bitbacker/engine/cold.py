"""A pass over a source by one who has nothing but the key: compare by fingerprints, read what changed.

The walk turns every entry into its fingerprint; the ladder tells which of them the last snapshot does
not have, and which of its own are gone.  Only then are directories with changes visited again, and
what is written is the same delta that somebody with a cache would write.
"""

from __future__ import annotations

import stat
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bitbacker.crypto.keys import Keys
from bitbacker.engine.assemble import row_of_link
from bitbacker.engine.content import row_of
from bitbacker.engine.scan import Scan
from bitbacker.engine.spool import ListingSpool
from bitbacker.format.entries import FINGERPRINT_SIZE_BYTES
from bitbacker.format.rows import ROW_SIZE_BYTES, as_rows
from bitbacker.format.sketch import Difference, Fingerprints
from bitbacker.repo.session import EntryWriter
from bitbacker.spi import Listing, Revisits

_KIND = 0o170000


class Fingerprinter:
    """The fingerprints of listings, as they would be stored."""

    def __init__(self, keys: Keys, scan: Scan) -> None:
        self._fingerprint = keys.fingerprint
        self._source = scan.source

    def of(self, listing: Listing) -> bytes:
        """8 bytes for each entry of the listing that the walk yielded last."""
        prefix = listing.path + b"/" if listing.path else b""
        rows = [row_of(listing, index) for index in range(len(listing.names))]
        targets = self._targets(listing)
        for index, target in targets.items():
            rows[index] = row_of_link(rows[index], target) if target else rows[index]
        return b"".join(
            self._fingerprint(prefix + name, row, targets.get(index, b""))
            for index, (name, row) in enumerate(zip(listing.names, rows, strict=True))
        )

    def _targets(self, listing: Listing) -> dict[int, bytes]:
        modes = as_rows(listing.rows)["mode"]
        links = np.flatnonzero((modes & _KIND) == stat.S_IFLNK).tolist()
        descriptions = self._source.describe(listing, links) if links else ()
        return {index: found.link_target for index, found in zip(links, descriptions, strict=True)}


class ColdPass:
    """Walks, compares by fingerprints, and reads the entries that the last snapshot lacks."""

    def __init__(self, scan: Scan, keys: Keys, *, read_all: bool) -> None:
        self._scan = scan
        self._fingerprinter = Fingerprinter(keys, scan)
        self._read_all = read_all
        self._spool = ListingSpool()
        self._fingerprints = bytearray()
        self._starts = array("Q", [0])
        self._held: deque[tuple[int, bytes, str]] = deque()
        self._comparing = False

    def walk(self) -> Fingerprints:
        """The fingerprints of everything that is there now, in the order of the walk."""
        scan = self._scan
        for listing in scan.source.walk(self._hold):
            self._comparing = True
            self._fingerprints += self._fingerprinter.of(listing)
            self._comparing = False
            self._starts.append(len(self._fingerprints) // FINGERPRINT_SIZE_BYTES)
            self._spool.add(listing)
            scan.tally.add(listing.rows)
            scan.report(listing.path)
        return np.frombuffer(bytes(self._fingerprints), dtype="<u8").astype(np.uint64)

    def run(
        self,
        local: Fingerprints,
        difference: Difference,
        entries: Callable[[], EntryWriter],
        between: Callable[[], None],
    ) -> None:
        """Read and write what `difference` says; `local` is what `walk` returned."""
        wanted = np.ones(len(local), np.bool_) if self._read_all else np.isin(local, difference.local_only)
        positions = np.flatnonzero(wanted)
        starts = np.frombuffer(self._starts, dtype=np.uint64).astype(np.int64)
        numbers = np.searchsorted(starts, positions, side="right") - 1
        where, firsts = np.unique(numbers, return_index=True)
        parts = np.split(positions - starts[numbers], firsts[1:])
        changed = {int(at): part.tolist() for at, part in zip(where, parts, strict=False)}
        for listing, indexes in self._visit(changed):
            fresh = self._scan.read(listing, indexes)
            self._scan.tally.remove(b"".join(row_of(listing, index) for index in indexes))
            self._scan.tally.add(fresh.rows)
            if fresh.entries:
                entries().add(fresh)
            between()
        self._tell(len(self._starts))
        gone = difference.remote_only
        if self._read_all:
            gone = np.concatenate([gone, local[~np.isin(local, difference.local_only)]])
        if len(gone):
            entries().drops.append(gone.astype("<u8").tobytes())

    def _hold(self, path: bytes, text: str) -> None:
        """A problem of the walk is told in its turn, as by somebody who reads while he walks.

        What cannot be described for its fingerprint differs from what is stored, or does not matter.
        """
        if not self._comparing:
            self._held.append((len(self._starts) - 1, path, text))

    def _tell(self, number: int) -> None:
        """The problems that the walk met before it yielded this listing."""
        while self._held and self._held[0][0] <= number:
            self._scan.problem(*self._held.popleft()[1:])

    def _waiting(self, changed: dict[int, list[int]]) -> Iterator[tuple[Listing, Sequence[int]]]:
        """The listings with changes, and which; what the walk met before them is told before."""
        for number, listing in self._spool.pick(sorted(changed)):
            self._tell(number)
            yield listing, changed[number]

    def _visit(self, changed: dict[int, list[int]]) -> Iterator[tuple[Listing, Sequence[int]]]:
        """The listings with changes as they were walked, while the source is at that directory again."""
        waiting = self._waiting(changed)
        paths = [listing.path for _, listing in self._spool.pick(sorted(changed))]
        item = next(waiting, None)
        for current in self._revisited(paths) if paths else ():
            key = current.path.split(b"/")
            while item is not None and item[0].path.split(b"/") < key:
                self._lost(*item)
                item = next(waiting, None)
            if item is not None and item[0].path == current.path:
                yield item
                item = next(waiting, None)
        while item is not None:
            self._lost(*item)
            item = next(waiting, None)

    def _revisited(self, paths: list[bytes]) -> Iterator[Listing]:
        source = self._scan.source
        if isinstance(source, Revisits):
            return source.revisit(paths, self._scan.problem)
        return source.walk(self._scan.problem)

    def _lost(self, listing: Listing, indexes: Sequence[int]) -> None:
        """A directory that is gone by now, with what changed in it."""
        self._scan.problem(listing.path, "this directory was gone when it was to be read")
        size = ROW_SIZE_BYTES
        lost = b"".join(listing.rows[index * size : index * size + size] for index in indexes)
        self._scan.tally.remove(lost)
