"""Blocks: what is compressed as one.  docs/format.md section 4.

The first byte of a block in a table of contents says what it holds, the second how it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import zstandard

from bitbacker.errors import FormatError

Compressor = zstandard.ZstdCompressor
Decompressor = zstandard.ZstdDecompressor

BLOCK_TARGET_BYTES = 1024 * 1024
"""About how much plaintext is compressed together."""

BLOCK_MAX_BYTES = 64 * 1024 * 1024
"""No block is larger when it is decompressed, whatever it claims."""

CHUNK_ID_SIZE_BYTES = 16

CHUNK_PIECE_BYTES = 62 * 1024
"""What the chunker cuts is stored in pieces of this size, so that four of them, with what is left of
others, fill a small segment however badly they compress: docs/decisions/0004."""

SMALL_PIECE_BYTES = CHUNK_PIECE_BYTES // 2
"""Files that are not cut by the chunker are stored in pieces of this size."""

_ROW_ROOM_BYTES = 16
"""What a segment keeps of a block besides its chunks."""


class BlockKind(IntEnum):
    """What a block holds."""

    DATA = 1
    ENTRIES = 2
    INDEX = 3
    CATALOG = 4
    ROOT = 5
    FINGERPRINTS = 6


class Codec(IntEnum):
    """How a block is stored."""

    STORED = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class BlockRef:
    """Where a block lies: 16 bytes of segment identity, its number in the segment, its raw size."""

    segment: bytes
    number: int
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """One row of a segment's table of contents.

    `chunk_ids` holds 16 bytes per chunk and `chunk_sizes` the raw size of each, for data blocks.
    """

    kind: BlockKind
    codec: Codec
    offset_bytes: int
    stored_bytes: int
    raw_bytes: int
    chunk_ids: memoryview
    chunk_sizes: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A block that is ready to be placed in a segment."""

    kind: BlockKind
    codec: Codec
    raw_bytes: int
    stored: bytes | memoryview
    chunk_ids: bytes = b""
    chunk_sizes: tuple[int, ...] = ()


def pack(
    kind: BlockKind,
    raw: bytes | memoryview,
    compressor: Compressor,
    chunk_ids: bytes = b"",
    chunk_sizes: tuple[int, ...] = (),
) -> PackedBlock:
    """Compress a block, or keep `raw` itself when that saves less than 1 part in 64."""
    packed = compressor.compress(raw)
    if len(packed) + len(raw) // 64 < len(raw):
        # What the library returns keeps the memory of the worst case, about as much as `raw` has.
        stored = bytes(memoryview(packed))
        return PackedBlock(kind, Codec.ZSTD, len(raw), stored, chunk_ids, chunk_sizes)
    return PackedBlock(kind, Codec.STORED, len(raw), raw, chunk_ids, chunk_sizes)


def divisible(block: PackedBlock) -> bool:
    """Whether `fill` can make two blocks of it."""
    return len(block.chunk_sizes) > 1


def fill(
    block: PackedBlock, room_bytes: int, compressor: Compressor
) -> tuple[PackedBlock, PackedBlock] | None:
    """The first chunks of a block, as many as cost at most `room_bytes`, and the others.

    None when not even one chunk fits, or all of them do.  The parts have memory of their own.
    """
    raw = bytes(block.stored)
    if block.codec is Codec.ZSTD:
        raw = Decompressor().decompress(raw, max_output_size=block.raw_bytes)
    ratio = len(block.stored) / block.raw_bytes
    costs = np.cumsum(np.array(block.chunk_sizes) * ratio + CHUNK_ID_SIZE_BYTES + 4)
    count = min(int(np.searchsorted(costs, room_bytes)), len(block.chunk_sizes) - 1)
    while count > 0:
        cut, ids = sum(block.chunk_sizes[:count]), CHUNK_ID_SIZE_BYTES * count
        first = pack(block.kind, raw[:cut], compressor, block.chunk_ids[:ids], block.chunk_sizes[:count])
        if len(first.stored) + count * (CHUNK_ID_SIZE_BYTES + 4) + _ROW_ROOM_BYTES <= room_bytes:
            rest = pack(block.kind, raw[cut:], compressor, block.chunk_ids[ids:], block.chunk_sizes[count:])
            return first, rest
        count = count * 15 // 16
    return None


def unpack(info: BlockInfo, stored: memoryview, decompressor: Decompressor) -> bytes | memoryview:
    """The raw bytes of a block; never more than `info.raw_bytes`.  Raises `FormatError`."""
    if info.codec is Codec.STORED:
        return stored
    try:
        # A skippable frame says that it holds nothing, and no writer compresses nothing.
        if not info.raw_bytes or zstandard.frame_content_size(stored) != info.raw_bytes:
            raise FormatError("a compressed block does not say its size")
        raw = decompressor.decompress(stored, max_output_size=info.raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError("a block does not decompress") from error
    if len(raw) != info.raw_bytes:
        raise FormatError("a block decompresses to another size than it claims")
    return raw
