"""Writing segments: blocks in, whole sealed objects out.

`submit` hands a block to threads that compress it; compressed blocks wait in a pool and leave it a
large segment at a time, to be sealed and stored by other threads.  Compression, sealing and storing
run without the GIL.  `settle` places what is left in the *tail*, whose segments stay open, so that
tables, whose pages point at each other, can follow one by one with `place`.  `finish` stores the tail.

`written` are the segments since the last `finish`, `needed_bytes` what they would take unpadded.
What waits is bounded: `QUEUED_MAX_BYTES` of raw blocks, `_BUFFERS` segments that are filled, and as many
that are sent as the storage takes at once.
"""

from __future__ import annotations

import os
import queue
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from bitbacker.crypto.seal import Sealer
from bitbacker.errors import FormatError
from bitbacker.format import names
from bitbacker.format.block import BlockKind, BlockRef, Compressor, PackedBlock, divisible, fill, pack
from bitbacker.format.segment import SegmentWriter
from bitbacker.repo.mapped import mapped
from bitbacker.repo.pack import choose
from bitbacker.repo.storage import Storage
from bitbacker.repo.tail import Streamed, Tail, TailSegment
from bitbacker.repo.volume import Padding

QUEUED_MAX_BYTES = 6 * 1024 * 1024
_BUFFERS = 1
# Each holds a segment in memory; more of them bring nothing until an answer takes a second.
_SENDERS_MAX = 5
_POOL_SEGMENTS = 2
_UNUSED_MAX_BYTES = 32 * 1024
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A block before compression; `done` is called when `data` may be reused."""

    kind: BlockKind
    data: bytes | memoryview
    chunk_ids: bytes = b""
    chunk_sizes: tuple[int, ...] = ()
    done: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class WrittenSegment:
    """A segment that this writer has stored, or is about to store."""

    identity: bytes
    size_bytes: int


Placed = Callable[[BlockRef, PackedBlock], None]
"""Told where a block lies, from any thread, one call at a time.

A block of several chunks may have been divided; then each part is told of.
"""


@dataclass(frozen=True, slots=True)
class _Waiting:
    block: PackedBlock
    placed: Placed
    done: Callable[[], None] | None


class SegmentStore:
    """Turns blocks into stored segments.  One thread calls; others do the work."""

    def __init__(
        self, storage: Storage, sealer: Sealer, compression_level: int, padding: Padding | None = None
    ) -> None:
        self._storage = storage
        self._sealer = sealer
        self._level = compression_level
        self._threads = threading.local()
        workers = max(2, os.cpu_count() or 2)
        self._compressors = ThreadPoolExecutor(workers, "compress")
        senders = min(_SENDERS_MAX, storage.abilities.concurrency)
        self._senders = ThreadPoolExecutor(senders, "send")
        self._queued = threading.Condition()
        self._queued_bytes = 0
        self._compressing: set[Future[None]] = set()
        self._sending: list[Future[None]] = []
        self._lock = threading.Lock()
        self._pool: list[_Waiting] = []
        self._pool_bytes = 0
        self._failure: BaseException | None = None
        self._streamed: list[WrittenSegment] = []
        self._streamed_bytes = 0
        self.submitted_chunks = 0
        self.needed_bytes = 0
        self._large = self._capacity(names.LARGE_SEGMENT_SIZE_BYTES)
        self._buffers: queue.SimpleQueue[SegmentWriter] = queue.SimpleQueue()
        self._outputs: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            self._buffers.put(SegmentWriter(self._large, mapped))
        self._tail = Tail(padding or Padding(), sealer.overhead_bytes, self._buffers)

    def _capacity(self, size_bytes: int) -> int:
        return size_bytes - self._sealer.overhead_bytes

    @property
    def written(self) -> tuple[WrittenSegment, ...]:
        """The segments that were stored or are on their way."""
        tail = (WrittenSegment(segment.identity, segment.size_bytes) for segment in self._tail.segments)
        return (*self._streamed, *tail)

    @property
    def written_bytes(self) -> int:
        """The size of all segments that were stored or are on their way."""
        return sum(segment.size_bytes for segment in self.written)

    def submit(self, block: RawBlock, placed: Placed) -> None:
        """Take a block; waits while too much is queued.  Raises what an earlier block met."""
        size = len(block.data)
        with self._queued:
            while self._queued_bytes and self._queued_bytes + size > QUEUED_MAX_BYTES:
                self._queued.wait()
            self._queued_bytes += size
        self._raise_failure()
        self.submitted_chunks += len(block.chunk_sizes)
        future = self._compressors.submit(self._compress, block, placed)
        self._compressing.add(future)
        future.add_done_callback(lambda _: self._compressed(future, size))

    def settle(self, later: Sequence[int] = ()) -> None:
        """Wait until every submitted block has its place; opens the tail.

        `later`: at most how many bytes each block has that will be placed afterwards.
        """
        for future in list(self._compressing):
            future.exception()
        self._raise_failure()
        with self._lock:
            while self._pool_bytes > self._large * _POOL_SEGMENTS:
                self._build_segment()
            pool, self._pool, self._pool_bytes = self._pool, [], 0
            # The tail takes memory before the next segment is sent.
            self._outputs = queue.SimpleQueue()
            costs = [SegmentWriter.cost_bytes(item.block) for item in pool]
            whole = [cost for cost, item in zip(costs, pool, strict=True) if not divisible(item.block)]
            rows = [size + SegmentWriter.row_bytes() for size in later]
            streamed = Streamed(len(self._streamed), self._streamed_bytes)
            self._tail.open(streamed, sum(costs) - sum(whole), whole, rows)
            pool.sort(key=_whole_and_large_first, reverse=True)
            while pool:
                # Each block goes as soon as its bytes are in a segment.
                self._place_waiting(pool.pop())

    def place(self, kind: BlockKind, raw: bytes) -> BlockRef:
        """Put a block into the tail, after `settle`; its place is known at once."""
        with self._lock:
            packed = pack(kind, raw, self._compressor())
            self._check_size(packed)
            return self._tail.add_later(packed)

    def packed_bytes(self, kind: BlockKind, raw: bytes) -> int:
        """The size of a block as it is stored."""
        return len(pack(kind, raw, self._compressor()).stored)

    def reserve(self, size_bytes: int) -> None:
        """Make sure that `place` of blocks of this size as they are stored opens no further segment.

        The tail then has all segments of its volume.
        """
        cost = size_bytes + SegmentWriter.row_bytes()
        with self._lock:
            if all(segment.writer.room_bytes < cost for segment in self._tail.segments):
                self._tail.grow(cost)
            self._tail.complete()

    def finish(self) -> tuple[WrittenSegment, ...]:
        """Store the tail, wait for everything, and return the segments written since the last call.

        Large segments come before small ones, whatever is in them.  Raises what any block or upload
        met.
        """
        used = [tail.writer.used_bytes for tail in self._tail.segments if tail.writer.blocks]
        for size in (names.LARGE_SEGMENT_SIZE_BYTES, names.SMALL_SEGMENT_SIZE_BYTES):
            tail = [segment for segment in self._tail.segments if segment.size_bytes == size]
            # Which of them holds a table, which somebody may read later, is left to chance.
            _random.shuffle(tail)
            self._sending += [self._senders.submit(self._send_tail, segment) for segment in tail]
            for future in self._sending:
                future.exception()
            self._sending.clear()
        self._raise_failure()
        written = self.written
        self.needed_bytes += self._streamed_bytes + sum(used) + len(used) * self._sealer.overhead_bytes
        self._streamed.clear()
        self._streamed_bytes = 0
        self._tail.segments.clear()
        self.submitted_chunks = 0
        return written

    def close(self) -> None:
        """End the threads; what has not been stored is dropped."""
        self._compressors.shutdown(wait=True, cancel_futures=True)
        self._senders.shutdown(wait=True, cancel_futures=True)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _compressor(self) -> Compressor:
        compressor: Compressor | None = getattr(self._threads, "compressor", None)
        if compressor is None:
            compressor = Compressor(level=self._level)
            self._threads.compressor = compressor
        return compressor

    def _compress(self, block: RawBlock, placed: Placed) -> None:
        try:
            packed = pack(block.kind, block.data, self._compressor(), block.chunk_ids, block.chunk_sizes)
            keeps_data = packed.stored is block.data
            if block.done is not None and not keeps_data:
                block.done()
            self._check_size(packed)
            with self._lock:
                self._pool.append(_Waiting(packed, placed, block.done if keeps_data else None))
                self._pool_bytes += SegmentWriter.cost_bytes(packed)
                while self._pool_bytes > self._large * _POOL_SEGMENTS:
                    self._build_segment()
        except BaseException as error:  # noqa: BLE001  # the calling thread raises it
            self._failure = self._failure or error

    def _check_size(self, block: PackedBlock) -> None:
        if SegmentWriter.cost_bytes(block) + SegmentWriter.fixed_bytes() > self._large:
            raise FormatError(f"a block of {len(block.stored)} bytes fits into no segment")

    def _compressed(self, future: Future[None], size: int) -> None:
        self._compressing.discard(future)
        with self._queued:
            self._queued_bytes -= size
            self._queued.notify()

    def _build_segment(self) -> None:
        writer = self._next_buffer()
        identity = secrets.token_bytes(names.SEGMENT_ID_SIZE_BYTES)
        # Which blocks share a segment, and in which order segments fill, is left to chance.
        _random.shuffle(self._pool)
        costs = [SegmentWriter.cost_bytes(item.block) for item in self._pool]
        chosen = set(choose(costs, self._large - SegmentWriter.fixed_bytes()))
        rest: list[_Waiting] = []
        for position, item in enumerate(self._pool):
            if position in chosen:
                self._announce(item, BlockRef(identity, writer.add(item.block), item.block.raw_bytes))
            else:
                rest.append(item)
        self._pool = rest
        self._fill_up(identity, writer)
        self._pool_bytes = sum(SegmentWriter.cost_bytes(item.block) for item in self._pool)
        self._streamed.append(WrittenSegment(identity, names.LARGE_SEGMENT_SIZE_BYTES))
        self._streamed_bytes += writer.used_bytes + self._sealer.overhead_bytes
        self._sending.append(self._senders.submit(self._send_large, identity, writer))

    def _fill_up(self, identity: bytes, writer: SegmentWriter) -> None:
        """Put a part of another block into what room is left, so that the volume tells nothing of sizes."""
        for position, item in enumerate(self._pool):
            if writer.room_bytes <= _UNUSED_MAX_BYTES:
                break
            parts = fill(item.block, writer.room_bytes, self._compressor()) if divisible(item.block) else None
            if parts is not None:
                part, rest = parts
                item.placed(BlockRef(identity, writer.add(part), part.raw_bytes), part)
                if item.done is not None:
                    item.done()
                self._pool[position] = _Waiting(rest, item.placed, None)

    def _next_buffer(self) -> SegmentWriter:
        self._sending = [future for future in self._sending if not future.done()]
        return self._buffers.get()

    @staticmethod
    def _announce(item: _Waiting, ref: BlockRef) -> None:
        item.placed(ref, item.block)
        if item.done is not None:
            item.done()

    def _place_waiting(self, item: _Waiting) -> None:
        """Place a block of the pool in the tail, in parts if it does not fit as a whole."""
        block = item.block
        cost = SegmentWriter.cost_bytes(block)
        if self._tail.has_room(cost):
            self._announce(item, self._tail.add(block))
            return
        room = self._tail.largest_room_bytes
        parts = fill(block, room, self._compressor()) if divisible(block) else None
        if parts is None:
            self._announce(item, self._tail.grow(cost).add(block))
            return
        if item.done is not None:
            item.done()
        for part in parts:
            self._place_waiting(_Waiting(part, item.placed, None))

    def _send_large(self, identity: bytes, writer: SegmentWriter) -> None:
        out = self._output()
        try:
            sealed = self._seal(identity, writer, out)
        finally:
            writer.reset()
            self._buffers.put(writer)
        if sealed:
            self._put(identity, out)
        self._outputs.put(out)

    def _output(self) -> memoryview:
        """One that was used before, or a new one: there are never more of them than senders."""
        try:
            return self._outputs.get_nowait()
        except queue.Empty:
            return mapped(names.LARGE_SEGMENT_SIZE_BYTES)

    def _send_tail(self, tail: TailSegment) -> None:
        out = self._output()
        sealed = out[: tail.size_bytes]
        try:
            good = self._seal(tail.identity, tail.writer, sealed)
        finally:
            self._tail.release(tail)
            self._let_go()
        if good:
            self._put(tail.identity, sealed)
        self._outputs.put(out)

    def _let_go(self) -> None:
        """Of buffers that the tail has made."""
        with suppress(queue.Empty):
            while self._buffers.qsize() > _BUFFERS:
                self._buffers.get_nowait()

    def _seal(self, identity: bytes, writer: SegmentWriter, out: memoryview) -> bool:
        """Whether `out` is to be put: after a failure nothing more is."""
        if self._failure is not None:
            return False
        try:
            self._sealer.seal_into(names.segment_name(identity), writer.finish(), out)
        except BaseException as error:  # noqa: BLE001  # the calling thread raises it
            self._failure = self._failure or error
            return False
        return True

    def _put(self, identity: bytes, out: memoryview) -> None:
        try:
            self._storage.put_new(names.segment_name(identity), out)
        except BaseException as error:  # noqa: BLE001  # the calling thread raises it
            self._failure = self._failure or error


def _whole_and_large_first(item: _Waiting) -> tuple[bool, int]:
    return divisible(item.block), -SegmentWriter.cost_bytes(item.block)
