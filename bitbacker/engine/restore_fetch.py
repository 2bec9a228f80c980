"""Fetching what a restore writes: each segment once, each block opened once, a few steps ahead.

    storage --(fetching threads)--> open segments --(checking thread)--> deliveries --> the caller

Fetching, unsealing, decompressing and hashing run without the GIL, while the caller writes files.
What waits is bounded: a few segments, and as many blocks as `Ahead` is told.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bitbacker.crypto.keys import Keys
from bitbacker.errors import DamageError
from bitbacker.repo.open import Repository
from bitbacker.repo.read import OpenSegment, missing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Chunks of one block of a segment: where they are in it, and what they must be."""

    block: int
    chunks: npt.NDArray[np.int64]
    offsets: list[int]
    sizes: list[int]
    ids: list[bytes]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of the chunks of one block: the bytes of each, None for those that are lost."""

    chunks: npt.NDArray[np.int64]
    data: list[memoryview | None]
    problem: str = ""


class WantedChunks(Protocol):
    """What is wanted of each segment."""

    @property
    def segments(self) -> Sequence[bytes]:
        """The segments of which something is wanted, in the order that suits the files."""

    def of(self, segment: bytes) -> Iterable[Wanted]:
        """What is wanted of one segment, block by block; of any other segment nothing."""


def deliveries(repository: Repository, wanted: WantedChunks) -> Generator[Delivery, None, None]:
    """Fetch segments as the repository is read, open and check blocks; runs in the thread that iterates.

    Raises `StorageError` when the storage does not answer; damage is told in the deliveries.
    """
    reader = repository.segments
    fetched = reader.round(wanted.segments)
    with closing(reader.opened(fetched)) as segments:
        for identity, segment in segments:
            for work in wanted.of(identity):
                yield _open(work, segment, repository.keys)
            if isinstance(segment, OpenSegment):
                reader.reuse(segment)
    for identity in set(wanted.segments).difference(fetched):
        for work in wanted.of(identity):
            yield _open(work, missing(identity), repository.keys)


def _open(work: Wanted, segment: OpenSegment | DamageError, keys: Keys) -> Delivery:
    try:
        if isinstance(segment, DamageError):
            raise segment
        raw = segment.block(work.block)
        # A block that was stored as it is lies in the memory of its segment, which the next one gets.
        block = memoryview(bytes(raw))
    except DamageError as error:
        return Delivery(work.chunks, [None] * len(work.chunks), error.message)
    data: list[memoryview | None] = []
    last: tuple[int, int, bytes] | None = None
    for place in zip(work.offsets, work.sizes, work.ids, strict=True):
        if place != last:
            offset, size, identity = last = place
            found = block[offset : offset + size]
            good = len(found) == size and keys.chunk_identity(found) == identity
        data.append(found if good else None)
    return Delivery(work.chunks, data, "a chunk is not what it was when it was stored")


class Ahead(Generic[T]):
    """Runs an iterator in a thread of its own, at most `depth` items ahead of who takes them."""

    def __init__(self, source: Generator[T, None, None], depth: int) -> None:
        self._source = source
        self._line: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._room = threading.Semaphore(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            item, error = self._line.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
            self._room.release()

    def close(self) -> None:
        """End the thread; what it has prepared is dropped."""
        self._stopped.set()
        self._room.release()
        self._thread.join()

    def _run(self) -> None:
        try:
            with closing(self._source):
                for item in self._source:
                    self._line.put((item, None))
                    self._room.acquire()
                    if self._stopped.is_set():
                        return
            self._line.put((None, None))
        except BaseException as error:  # noqa: BLE001  # whoever takes the items raises it
            self._line.put((None, error))
