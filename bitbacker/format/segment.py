"""The plaintext of a segment: docs/format.md section 3.

`toc offset u32 | toc size u32 | blocks | table of contents | zeros`.  The table of contents lists
every block with the ids and sizes of its chunks, so that an index can always be made from segments.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from bitbacker.errors import FormatError
from bitbacker.format.block import (
    BLOCK_MAX_BYTES,
    CHUNK_ID_SIZE_BYTES,
    BlockInfo,
    BlockKind,
    Codec,
    PackedBlock,
)
from bitbacker.format.wire import Reader

_HEADER = struct.Struct("<II")
_COUNT = struct.Struct("<I")
_ROW = struct.Struct("<BBHIII")
_PER_CHUNK_BYTES = CHUNK_ID_SIZE_BYTES + 4
_ZEROS = bytes(64 * 1024)
BLOCKS_MAX = 65_535


class SegmentWriter:
    """Fills one reusable buffer with blocks."""

    def __init__(
        self, capacity_bytes: int, memory: Callable[[int], bytearray | memoryview] = bytearray
    ) -> None:
        """`memory` makes a buffer of so many bytes."""
        self.buffer = memory(capacity_bytes)
        self._rows: list[bytes] = []
        self._at = _HEADER.size
        self._toc_bytes = _COUNT.size

    @property
    def blocks(self) -> int:
        """How many blocks are in."""
        return len(self._rows)

    @property
    def room_bytes(self) -> int:
        """What is left for further blocks and their rows."""
        return len(self.buffer) - self._at - self._toc_bytes

    @property
    def used_bytes(self) -> int:
        """What blocks, rows and header take so far."""
        return self._at + self._toc_bytes

    @staticmethod
    def cost_bytes(block: PackedBlock) -> int:
        """What a block takes from `room_bytes`."""
        return len(block.stored) + _ROW.size + len(block.chunk_sizes) * _PER_CHUNK_BYTES

    @staticmethod
    def row_bytes() -> int:
        """What the row of a block without chunks takes."""
        return _ROW.size

    @staticmethod
    def fixed_bytes() -> int:
        """What an empty segment takes from its capacity."""
        return _HEADER.size + _COUNT.size

    def add(self, block: PackedBlock) -> int:
        """Append a block and return its number; the caller has made sure that it fits."""
        cost = self.cost_bytes(block)
        if cost > self.room_bytes or len(self._rows) == BLOCKS_MAX:
            raise ValueError("the block does not fit")
        end = self._at + len(block.stored)
        self.buffer[self._at : end] = block.stored
        self._at = end
        row = _ROW.pack(
            block.kind, block.codec, 0, len(block.stored), block.raw_bytes, len(block.chunk_sizes)
        )
        sizes = np.array(block.chunk_sizes, dtype="<u4").tobytes()
        self._rows.append(row + block.chunk_ids + sizes)
        self._toc_bytes += cost - len(block.stored)
        return len(self._rows) - 1

    def finish(self) -> memoryview:
        """Write table of contents and padding; the whole plaintext, valid until `reset`."""
        toc = _COUNT.pack(len(self._rows)) + b"".join(self._rows)
        _HEADER.pack_into(self.buffer, 0, self._at, len(toc))
        end = self._at + len(toc)
        self.buffer[self._at : end] = toc
        for at in range(end, len(self.buffer), len(_ZEROS)):
            self.buffer[at : at + len(_ZEROS)] = _ZEROS[: len(self.buffer) - at]
        return memoryview(self.buffer)

    def reset(self) -> None:
        """Empty the buffer for the next segment."""
        self._rows.clear()
        self._at = _HEADER.size
        self._toc_bytes = _COUNT.size


def read_contents(plaintext: bytes | bytearray | memoryview) -> list[BlockInfo]:
    """The table of contents of a segment.  Raises `FormatError`."""
    reader = Reader(plaintext)
    toc_at, toc_size = reader.u32(), reader.u32()
    if toc_at < _HEADER.size or toc_at + toc_size > len(plaintext):
        raise FormatError("a table of contents outside its segment")
    toc = Reader(memoryview(plaintext)[toc_at : toc_at + toc_size])
    infos: list[BlockInfo] = []
    offset = _HEADER.size
    count = toc.u32()
    if count > BLOCKS_MAX:
        raise FormatError(f"a segment of {count} blocks")
    for _ in range(count):
        info = _read_row(toc, offset)
        offset += info.stored_bytes
        infos.append(info)
    toc.end()
    if offset != toc_at:
        raise FormatError("blocks do not end where the table of contents starts")
    return infos


def _read_row(toc: Reader, offset: int) -> BlockInfo:
    kind, codec, zero = toc.u8(), toc.u8(), toc.u16()
    stored, raw, chunks = toc.u32(), toc.u32(), toc.u32()
    if zero or raw > BLOCK_MAX_BYTES:
        raise FormatError("a block that no writer makes")
    try:
        block_kind, block_codec = BlockKind(kind), Codec(codec)
    except ValueError as error:
        raise FormatError("a block of an unknown kind") from error
    ids = toc.view(chunks * CHUNK_ID_SIZE_BYTES)
    sizes = toc.array("<u4", chunks).astype(np.uint32)
    if block_codec is Codec.STORED and stored != raw:
        raise FormatError("a stored block of two sizes")
    if (block_kind is BlockKind.DATA) != (chunks > 0):
        raise FormatError("chunks where none belong, or none where they do")
    if chunks and (int(sizes.sum(dtype=np.uint64)) != raw or not bool(sizes.all())):
        raise FormatError("a block whose chunks do not fill it")
    return BlockInfo(block_kind, block_codec, offset, stored, raw, ids, sizes)


def stored_part(plaintext: bytes | bytearray | memoryview, info: BlockInfo) -> memoryview:
    """The stored bytes of one block."""
    return memoryview(plaintext)[info.offset_bytes : info.offset_bytes + info.stored_bytes]


def used_bytes(contents: list[BlockInfo]) -> int:
    """How much of a segment's plaintext is not padding."""
    rows = sum(_ROW.size + _PER_CHUNK_BYTES * len(info.chunk_sizes) + info.stored_bytes for info in contents)
    return _HEADER.size + _COUNT.size + rows
