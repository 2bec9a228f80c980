"""The tail of a session: its last segments, open while blocks in them are already referred to.

Before the first block gets its place the tail is planned: how much is still to come decides the
volume of the session, and the volume decides how many segments of which size there are.  Blocks that
come later have room kept for them, so a plan is only wrong when an estimate was.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from bitbacker.format import names
from bitbacker.format.block import BlockRef, PackedBlock
from bitbacker.format.segment import SegmentWriter
from bitbacker.repo.mapped import mapped
from bitbacker.repo.volume import Padding, Volume, volume_of

_PIECE_BYTES = 64 * 1024
"""A piece of a file that does not compress and finds no segment with room for it."""

_UNUSED_OF_SMALL_BYTES = 8 * 1024
"""What four such pieces leave empty in a small segment."""

_UNUSED_PART = 128
"""One part in so many of what is stored may stay empty in segments that are full."""

_SMALL_MAX = names.LARGE_SEGMENT_SIZE_BYTES // names.SMALL_SEGMENT_SIZE_BYTES - 1


@dataclass(frozen=True, slots=True)
class Streamed:
    """The large segments that a session has stored before its tail: how many, and what they hold."""

    segments: int
    used_bytes: int


class TailSegment:
    """One open segment; `kept` are costs of blocks that come later, for which room is kept."""

    def __init__(self, size_bytes: int, writer: SegmentWriter) -> None:
        self.identity = secrets.token_bytes(names.SEGMENT_ID_SIZE_BYTES)
        self.size_bytes = size_bytes
        self.writer = writer
        self.kept: list[int] = []

    def enlarge(self) -> None:
        """Make a small segment a large one; the blocks in it stay what and where they are."""
        more = bytes(names.LARGE_SEGMENT_SIZE_BYTES - self.size_bytes)
        self.writer.buffer = bytearray().join((self.writer.buffer, more))
        self.size_bytes = names.LARGE_SEGMENT_SIZE_BYTES

    @property
    def free_bytes(self) -> int:
        """Room that nothing is kept in for."""
        return self.writer.room_bytes - sum(self.kept)

    def add(self, block: PackedBlock) -> BlockRef:
        return BlockRef(self.identity, self.writer.add(block), block.raw_bytes)


class Tail:
    """Plans, opens and fills the last segments of one session."""

    def __init__(
        self, padding: Padding, overhead_bytes: int, writers: SimpleQueue[SegmentWriter] | None = None
    ) -> None:
        """`writers` are empty ones of large segments, which are taken before new ones are made."""
        self._padding = padding
        self._overhead_bytes = overhead_bytes
        self._writers = writers or SimpleQueue()
        self._streamed = 0
        self.segments: list[TailSegment] = []

    def open(
        self, streamed: Streamed, divisible_bytes: int, whole: Sequence[int], later: Sequence[int]
    ) -> None:
        """Open the segments of the volume that is left after what was streamed.

        Costs in bytes: `divisible_bytes` of blocks that can be divided, `whole` blocks that cannot,
        and `later` ones, for which room is kept.  What segments leave empty counts by a rule of thumb
        and not as it is, because it tells of the sizes of blocks.
        """
        self._streamed = streamed.segments
        needed = streamed.used_bytes + self._overhead_bytes + SegmentWriter.fixed_bytes()
        needed += divisible_bytes + sum(whole) + sum(later)
        stored = streamed.segments * names.LARGE_SEGMENT_SIZE_BYTES
        bucket = self._padding.bucket(max(needed + needed // _UNUSED_PART, stored))
        while not self._try(volume_of(bucket), divisible_bytes, whole, later):
            bucket = self._padding.bucket(bucket + 1)

    def _try(self, volume: Volume, divisible_bytes: int, whole: Sequence[int], later: Sequence[int]) -> bool:
        for planned in self.segments:
            self.release(planned)
        self.segments = []
        self._grow_to(volume)
        kept = [self._keep(cost) for cost in sorted(later, reverse=True)]
        placed = [(self._keep(cost), cost) for cost in sorted(whole, reverse=True)]
        free = sum(segment.free_bytes for segment in self.segments)
        for segment, cost in placed:
            if segment is not None:
                segment.kept.remove(cost)
        several = divisible_bytes > 0 and len(self.segments) > 1
        slack = _PIECE_BYTES + _UNUSED_OF_SMALL_BYTES * volume.small if several else 0
        fits = None not in kept and all(segment is not None for segment, _ in placed)
        return fits and free >= divisible_bytes + slack

    def _keep(self, cost: int) -> TailSegment | None:
        fitting = [segment for segment in self.segments if segment.free_bytes >= cost]
        if not fitting:
            return None
        best = min(fitting, key=lambda segment: segment.free_bytes)
        best.kept.append(cost)
        return best

    def has_room(self, cost: int) -> bool:
        """Whether a block of this cost fits without the room that is kept."""
        return any(segment.free_bytes >= cost for segment in self.segments)

    @property
    def largest_room_bytes(self) -> int:
        """The room of the emptiest segment, without what is kept."""
        return max((segment.free_bytes for segment in self.segments), default=0)

    def add(self, block: PackedBlock) -> BlockRef:
        """Place a block of those that the tail was opened for; the caller made sure that it fits."""
        cost = SegmentWriter.cost_bytes(block)
        fitting = [segment for segment in self.segments if segment.free_bytes >= cost]
        return min(fitting, key=lambda segment: segment.free_bytes).add(block)

    def add_later(self, block: PackedBlock) -> BlockRef:
        """Place a block for which room was kept; if there is none after all, a segment is opened."""
        cost = SegmentWriter.cost_bytes(block)
        fitting = [segment for segment in self.segments if segment.writer.room_bytes >= cost]
        kept = [(size, segment) for segment in fitting for size in segment.kept if size >= cost]
        if kept:
            # The least of them, so that what is kept for a larger block stays.
            size, best = min(kept, key=lambda item: item[0])
            best.kept.remove(size)
        else:
            best = max(fitting, key=lambda segment: segment.free_bytes, default=None) or self.grow(cost)
        return best.add(block)

    def grow(self, cost: int) -> TailSegment:
        """Open one more segment, in which a block of this cost fits."""
        small = names.SMALL_SEGMENT_SIZE_BYTES
        fits_small = cost + SegmentWriter.fixed_bytes() + self._overhead_bytes <= small
        coarse = self._padding.bucket(self._volume.size_bytes + 1) - self._volume.size_bytes > small
        if fits_small and not coarse and self._volume.small < _SMALL_MAX:
            return self._opened(small)
        return self._opened(names.LARGE_SEGMENT_SIZE_BYTES)

    def complete(self) -> None:
        """Open what the volume of all segments still lacks."""
        have = self._volume
        bucket = self._padding.at_least(have.size_bytes)
        while _large_at_least(have, volume_of(bucket)) > volume_of(bucket).large:
            bucket = self._padding.bucket(bucket + 1)
        volume = volume_of(bucket)
        small = [segment for segment in self.segments if segment.size_bytes == names.SMALL_SEGMENT_SIZE_BYTES]
        for segment in small[volume.small :]:
            segment.enlarge()
        self._grow_to(volume)

    @property
    def _volume(self) -> Volume:
        large = sum(segment.size_bytes == names.LARGE_SEGMENT_SIZE_BYTES for segment in self.segments)
        return Volume(self._streamed + large, len(self.segments) - large)

    def _grow_to(self, volume: Volume) -> None:
        have = self._volume
        for _ in range(volume.large - have.large):
            self._opened(names.LARGE_SEGMENT_SIZE_BYTES)
        for _ in range(volume.small - have.small):
            self._opened(names.SMALL_SEGMENT_SIZE_BYTES)

    def _opened(self, size_bytes: int) -> TailSegment:
        segment = TailSegment(size_bytes, self._writer(size_bytes))
        self.segments.append(segment)
        return segment

    def _writer(self, size_bytes: int) -> SegmentWriter:
        if size_bytes == names.LARGE_SEGMENT_SIZE_BYTES:
            with suppress(Empty):
                return self._writers.get_nowait()
            return SegmentWriter(size_bytes - self._overhead_bytes, mapped)
        return SegmentWriter(size_bytes - self._overhead_bytes)

    def release(self, segment: TailSegment) -> None:
        """Take the writer of a segment away; nothing can be added to it any more."""
        writer, segment.writer = segment.writer, SegmentWriter(SegmentWriter.fixed_bytes())
        if segment.size_bytes == names.LARGE_SEGMENT_SIZE_BYTES:
            writer.reset()
            self._writers.put(writer)


def _large_at_least(have: Volume, wanted: Volume) -> int:
    """How many large segments there would be if small ones that are not wanted were enlarged."""
    return have.large + max(0, have.small - wanted.small)
