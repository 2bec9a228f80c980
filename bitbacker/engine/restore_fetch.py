"""Fetching what a restore writes: each segment once, each block opened once, a few steps ahead.

    storage --(fetching threads)--> open segments --(checking thread)--> deliveries --> the caller

Fetching, unsealing, decompressing and hashing run without the GIL, while the caller writes files.
What waits is bounded: `SEGMENTS_AHEAD` segments, and as many blocks as `Ahead` is told.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bitbacker.crypto.keys import Keys
from bitbacker.errors import DamageError
from bitbacker.repo.open import Repository
from bitbacker.repo.read import OpenSegment

SEGMENTS_AHEAD = 4
_FETCHERS = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Chunks of one block: where they are in it, and what they must be."""

    segment: bytes
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


def deliveries(repository: Repository, wanted: Iterable[Wanted]) -> Generator[Delivery, None, None]:
    """Fetch, open and check blocks in the order of `wanted`; runs in the thread that iterates.

    Raises `StorageError` when the storage does not answer; damage is told in the deliveries.
    """
    with closing(_with_segments(repository, wanted)) as segments:
        for blocks, future in segments:
            segment = _settle(future)
            for work in blocks:
                yield _open(work, segment, repository.keys)


def _open(work: Wanted, segment: OpenSegment | DamageError, keys: Keys) -> Delivery:
    try:
        if isinstance(segment, DamageError):
            raise segment
        block = memoryview(segment.block(work.block))
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


def _with_segments(
    repository: Repository, wanted: Iterable[Wanted]
) -> Generator[tuple[list[Wanted], Future[OpenSegment]], None, None]:
    """What is wanted of each segment, and the segment, which is being fetched."""
    pool = ThreadPoolExecutor(fetchers(repository), "fetch")
    line: deque[tuple[list[Wanted], Future[OpenSegment]]] = deque()
    try:
        for identity, blocks in groupby(wanted, key=lambda work: work.segment):
            line.append((list(blocks), pool.submit(repository.segments.fetch, identity)))
            if len(line) == SEGMENTS_AHEAD:
                yield line.popleft()
        while line:
            yield line.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def fetchers(repository: Repository) -> int:
    """How many segments are fetched at once."""
    return min(_FETCHERS, repository.storage.abilities.concurrency)


def _settle(future: Future[OpenSegment]) -> OpenSegment | DamageError:
    try:
        return future.result()
    except DamageError as error:
        return error


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
