"""Reading segments: whole objects in, blocks out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from bitbacker.crypto.seal import Sealer
from bitbacker.errors import DamageError, FormatError, ObjectMissing, SizeWrong
from bitbacker.format import names
from bitbacker.format.block import BlockInfo, BlockKind, BlockRef, Decompressor, unpack
from bitbacker.format.segment import read_contents, stored_part, used_bytes
from bitbacker.repo.mapped import mapped
from bitbacker.repo.spool import Spool
from bitbacker.repo.storage import Storage

SEGMENT_SIZES_BYTES = (names.SMALL_SEGMENT_SIZE_BYTES, names.LARGE_SEGMENT_SIZE_BYTES)
# Each holds a segment as it was stored and as it is read.
_THREADS_MAX = 6


class SegmentMissing(DamageError):
    """A segment that the repository relies on is gone."""

    code = "segment-missing"


def missing(identity: bytes) -> SegmentMissing:
    """The error for one segment."""
    return SegmentMissing(f"{names.segment_name(identity)} is missing from the storage")


class OpenSegment:
    """The plaintext of one segment, and what is in it."""

    __slots__ = ("_plaintext", "contents", "identity")

    def __init__(self, identity: bytes, plaintext: memoryview) -> None:
        self.identity = identity
        self._plaintext = plaintext
        self.contents: list[BlockInfo] = read_contents(plaintext)

    @property
    def size_bytes(self) -> int:
        """How long the plaintext is."""
        return len(self._plaintext)

    @property
    def padding_bytes(self) -> int:
        """How much of the plaintext holds nothing."""
        return self.size_bytes - used_bytes(self.contents)

    def block(self, number: int) -> bytes | memoryview:
        """The raw bytes of one block.  Raises `FormatError`."""
        if number >= len(self.contents):
            raise FormatError(f"segment {self.identity.hex()} has no block {number}")
        info = self.contents[number]
        return unpack(info, self.stored(info), Decompressor())

    def stored(self, info: BlockInfo) -> memoryview:
        """The bytes of one block as they are stored."""
        return stored_part(self._plaintext, info)

    def release(self) -> memoryview:
        """Give the memory away, to be overwritten: nothing of the segment may be looked at again."""
        plaintext, self._plaintext, self.contents = self._plaintext, memoryview(b""), []
        return plaintext


Opened = tuple[bytes, OpenSegment | DamageError]
"""A segment's identity, and the segment or what is wrong with it."""


class SegmentReader:
    """Fetches and opens segments; for tables, no segment is fetched twice."""

    def __init__(self, storage: Storage, sealer: Sealer, spool_folder: Path | None = None) -> None:
        """Blocks of tables are kept in `spool_folder`; None is where this machine keeps temporary files."""
        self._storage = storage
        self._sealer = sealer
        self._spool = Spool(spool_folder)
        self._lock = threading.Lock()
        self._free: SimpleQueue[memoryview] = SimpleQueue()

    @property
    def threads(self) -> int:
        """How many segments are fetched at once."""
        return min(_THREADS_MAX, self._storage.abilities.concurrency)

    def fetch(self, identity: bytes) -> OpenSegment:
        """Get, open and parse one segment.

        Raises `SegmentMissing`, `SealBroken`, `FormatError`, `StorageError`.
        """
        name = names.segment_name(identity)
        try:
            data = self._storage.get(name)
        except ObjectMissing as error:
            raise missing(identity) from error
        if len(data) not in SEGMENT_SIZES_BYTES:
            raise SizeWrong(f"{name} has {len(data)} bytes, which no segment has")
        plaintext = self._room(len(data) - self._sealer.overhead_bytes)
        self._sealer.open_into(name, data, plaintext)
        return OpenSegment(identity, plaintext)

    def _room(self, size_bytes: int) -> memoryview:
        """Memory that was given back, if it has this size; else it is new."""
        with suppress(Empty):
            room = self._free.get_nowait()
            if len(room) == size_bytes:
                return room
        return mapped(size_bytes)

    def reuse(self, segment: OpenSegment) -> None:
        """Take the memory of a segment back; nothing that was read of it may be looked at again."""
        self._free.put(segment.release())

    def round(self, wanted: Sequence[bytes]) -> Sequence[bytes]:
        """Which segments to fetch, and in which order, when these are wanted; others are missing."""
        return wanted

    def opened(self, identities: Iterable[bytes]) -> Generator[Opened, None, None]:
        """Segments in this order, fetched a few ahead of who takes them.  Raises `StorageError`."""
        pool = ThreadPoolExecutor(self.threads, "fetch")
        line: deque[tuple[bytes, Future[OpenSegment]]] = deque()
        try:
            for identity in identities:
                line.append((identity, pool.submit(self.fetch, identity)))
                if len(line) >= self.threads:
                    yield _settled(*line.popleft())
            while line:
                yield _settled(*line.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._free = SimpleQueue()

    def block(self, ref: BlockRef, kind: BlockKind) -> bytes | memoryview:
        """The block of a table that `ref` names.  Raises `DamageError` when it is of another kind or size."""
        with self._lock:
            if not self._spool.holds(ref.segment):
                self.keep(self._segment_of_tables(ref.segment))
            info, stored = self._spool.block(ref)
        raw = unpack(info, stored, Decompressor())
        if info.kind is not kind or len(raw) != ref.raw_bytes:
            raise FormatError(f"block {ref.number} of segment {ref.segment.hex()} is not what a table says")
        return raw

    def keep(self, segment: OpenSegment) -> None:
        """Keep the blocks of tables of a segment, so that it need not be fetched for them."""
        self._spool.keep(
            segment.identity,
            (
                (number, info, segment.stored(info))
                for number, info in enumerate(segment.contents)
                if info.kind is not BlockKind.DATA
            ),
        )

    def _segment_of_tables(self, identity: bytes) -> OpenSegment:
        return self.fetch(identity)

    def forget(self) -> None:
        """Let go of the blocks that are kept."""
        with self._lock:
            self._spool.clear()


def _settled(identity: bytes, future: Future[OpenSegment]) -> Opened:
    try:
        return identity, future.result()
    except DamageError as error:
        return identity, error
