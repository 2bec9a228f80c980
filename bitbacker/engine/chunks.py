"""From bytes to blocks: chunk ids, dedup, and arenas that become blocks without a copy.

Small files are read straight into an arena; chunks of large files are copied into it.  When an arena
is full, its ids are looked up in one batch, what is known is squeezed out, and the rest is a block.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bitbacker.crypto.keys import Keys
from bitbacker.format.block import BLOCK_TARGET_BYTES, SMALL_PIECE_BYTES, BlockKind
from bitbacker.repo.index import UNKNOWN, ChunkIndex
from bitbacker.repo.known import SeenChunks
from bitbacker.repo.mapped import mapped
from bitbacker.repo.write import RawBlock

SMALL_FILE_MAX_BYTES = 128 * 1024
"""Files up to this size, or to the chunker's minimum if that is less, are read whole into an arena."""

Submit = Callable[[RawBlock], None]


class ChunkSink:
    """Takes chunks in any order and hands new ones on as blocks."""

    def __init__(
        self,
        keys: Keys,
        load_index: Callable[[], ChunkIndex],
        seen: SeenChunks,
        submit: Submit,
        floor_bytes: int = 0,
    ) -> None:
        """Up to `floor_bytes` of content in all nothing is looked up: storing it again costs no volume."""
        self._floor_bytes = floor_bytes
        self._taken_bytes = 0
        self._identify = keys.chunk_identity
        self._load_index = load_index
        self._index: ChunkIndex | None = None
        self._seen = seen
        self._submit = submit
        self._size = BLOCK_TARGET_BYTES + SMALL_FILE_MAX_BYTES
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._arena = self._next_arena()
        self._used = 0
        self._ids: list[bytes] = []
        self._sizes: list[int] = []
        self.added_bytes = 0
        self._relied: list[bytes] = []

    @property
    def relied(self) -> bytes:
        """Ids of chunks that were found in the repository and not stored again."""
        return b"".join(self._relied)

    def room(self) -> memoryview:
        """Where the next small files may be read to; at least `SMALL_FILE_MAX_BYTES`."""
        if self._used >= BLOCK_TARGET_BYTES:
            self._hand_on()
        return self._arena[self._used :]

    def take(self, size_bytes: int) -> bytes:
        """The next bytes of `room` are a chunk; returns its id."""
        end = self._used + size_bytes
        identity = self._identify(self._arena[self._used : end])
        self._used = end
        self._taken_bytes += size_bytes
        self._ids.append(identity)
        self._sizes.append(size_bytes)
        return identity

    def take_pieces(self, size_bytes: int) -> bytes:
        """The next bytes of `room` are a file, in pieces; returns their ids."""
        if size_bytes <= SMALL_PIECE_BYTES:
            return self.take(size_bytes) if size_bytes else b""
        starts = range(0, size_bytes, SMALL_PIECE_BYTES)
        return b"".join(self.take(min(SMALL_PIECE_BYTES, size_bytes - start)) for start in starts)

    def add(self, chunk: memoryview) -> bytes:
        """A chunk from elsewhere, at most `SMALL_FILE_MAX_BYTES`, is copied in; returns its id."""
        size = len(chunk)
        if self._used and self._used + size > BLOCK_TARGET_BYTES:
            self._hand_on()
        self._arena[self._used : self._used + size] = chunk
        return self.take(size)

    def flush(self) -> None:
        """Hand on what is new of what was taken, and let go of arenas: what comes next may be the end."""
        self._hand_on()
        self._free = queue.SimpleQueue()

    def _hand_on(self) -> None:
        if not self._ids:
            return
        new = self._new_ones()
        ids, sizes, used = self._squeeze(new)
        arena, self._ids, self._sizes, self._used = self._arena, [], [], 0
        if not ids:
            return
        self.added_bytes += used
        self._arena = self._next_arena()
        free = self._free
        block = RawBlock(BlockKind.DATA, arena[:used], b"".join(ids), tuple(sizes), lambda: free.put(arena))
        self._submit(block)

    def _next_arena(self) -> memoryview:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return mapped(self._size)

    def _new_ones(self) -> npt.NDArray[np.bool_]:
        """Which chunks of the arena are neither in the repository nor in this session."""
        known = self._seen.known(self._ids)
        new = ~known
        if self._taken_bytes > self._floor_bytes and bool(new.any()):
            if self._index is None:
                self._index = self._load_index()
            stored = self._index.locate(b"".join(self._ids))["segment"] != UNKNOWN
            self._relied += [self._ids[number] for number in np.flatnonzero(stored & new)]
            new &= ~stored
        for number in np.flatnonzero(new):
            new[number] = self._seen.add_new(self._ids[number])
        self._seen.settle()
        return new

    def _squeeze(self, new: npt.NDArray[np.bool_]) -> tuple[list[bytes], list[int], int]:
        """Move the new chunks together at the start of the arena."""
        if bool(new.all()):
            return self._ids, self._sizes, self._used
        ids: list[bytes] = []
        sizes: list[int] = []
        read = write = 0
        for number, size in enumerate(self._sizes):
            if new[number]:
                if read != write:
                    self._arena[write : write + size] = self._arena[read : read + size]
                ids.append(self._ids[number])
                sizes.append(size)
                write += size
            read += size
        return ids, sizes, write
