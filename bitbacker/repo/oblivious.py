"""Reading so that the storage does not learn what is read: whatever is wanted, everything is fetched.

A first pass fetches every segment that the storage lists, in random order, and keeps the blocks of
tables on this machine; catalog, index and entry tables come from there.  Whoever wants data goes over
the same segments again, in the same order, and takes what is wanted as it comes by.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from bitbacker.crypto.seal import Sealer
from bitbacker.errors import DamageError
from bitbacker.format import names
from bitbacker.format.head import Head
from bitbacker.repo.cache import TableCache
from bitbacker.repo.open import Repository
from bitbacker.repo.read import SEGMENT_SIZES_BYTES, OpenSegment, SegmentMissing, SegmentReader, missing
from bitbacker.repo.storage import Storage
from bitbacker.repo.tables import TableReader

PASSES_MAX = 5

Tell = Callable[[int, int], None]
"""Called with how many segments were read, and how many there are."""


class EverySegmentReader(SegmentReader):
    """Goes over all segments when one is wanted; never fetches one of them by itself.

    `vanished` says whether the storage lacked a segment that it had listed.
    """

    def __init__(self, storage: Storage, sealer: Sealer, spool_folder: Path | None) -> None:
        super().__init__(storage, sealer, spool_folder)
        self._every: list[bytes] = []
        self._lost: dict[bytes, DamageError] = {}
        self.vanished = False

    def keep_tables_of(self, identities: Iterable[bytes], tell: Tell) -> None:
        """Fetch segments that were not fetched before, in random order, and keep their tables.

        What cannot be read is told when somebody needs it.  Raises `StorageError`, `SpoolFull`.
        """
        self.vanished = False
        new = list(set(identities) - set(self._every))
        random.SystemRandom().shuffle(new)
        self._every += new
        with closing(self.opened(new)) as segments:
            for done, (identity, segment) in enumerate(segments, 1):
                if isinstance(segment, OpenSegment):
                    self.keep(segment)
                else:
                    self._lost[identity] = segment
                tell(done, len(new))

    def round(self, wanted: Sequence[bytes]) -> Sequence[bytes]:
        """All segments, in the order in which they came before, whatever is wanted."""
        del wanted
        return self._every

    def fetch(self, identity: bytes) -> OpenSegment:
        """As every reader does, and remember that one was missing."""
        try:
            return super().fetch(identity)
        except SegmentMissing:
            self.vanished = True
            raise

    def _segment_of_tables(self, identity: bytes) -> OpenSegment:
        # Asking for it would say that it is wanted.
        raise self._lost.get(identity) or missing(identity)


class ObliviousRepository(Repository):
    """A repository as it was when all its segments were read; the cache plays no part."""

    segments: EverySegmentReader

    def __init__(self, inner: Repository) -> None:
        """Call `refresh` before anything else."""
        vars(self).update(vars(inner))
        self._inner = inner
        self._head: Head | None = None
        self.cache = TableCache(Path(), enabled=False)
        self.segments = EverySegmentReader(inner.storage, inner.segment_sealer, inner.spool_folder)
        self.tables = TableReader(self.segments, self.cache)

    def newest(self) -> Head:
        """The head that was the newest one before the segments were listed."""
        return self._head or self._inner.newest()

    def refresh(self, tell: Tell) -> None:
        """Take the newest head, and read what the storage lists and was not read before.

        Raises `StorageError`, `DamageError` when the head cannot be read, `SpoolFull`.
        """
        for _ in range(PASSES_MAX):
            self._head = self._inner.newest()
            self.segments.keep_tables_of(_listed(self.storage), tell)
            if not self.segments.vanished:
                return

    def overtaken(self) -> bool:
        """Whether a prune took segments away while they were read.

        What it moved is found after `refresh`.  The newest head is read in any case, and the answer
        does not depend on what was wanted.
        """
        prunes = self.newest().prunes
        return self._inner.newest().prunes != prunes and self.segments.vanished


def read_everything(repository: Repository, tell: Tell | None = None) -> ObliviousRepository:
    """The repository, to be read without a trace of what is read; every segment has been fetched.

    Raises `StorageError`, `DamageError`, `SpoolFull`.
    """
    everything = ObliviousRepository(repository)
    everything.refresh(tell or (lambda _done, _all: None))
    return everything


def _listed(storage: Storage) -> list[bytes]:
    """Every segment of a size that segments have."""
    return [
        names.segment_identity(info.name)
        for info in storage.list(names.SEGMENTS)
        if info.size_bytes in SEGMENT_SIZES_BYTES
    ]
