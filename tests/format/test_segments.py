"""Segments hold blocks of every kind, and say all that is needed to find them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.errors import FormatError
from bitbacker.format.block import BLOCK_MAX_BYTES, BlockInfo, BlockKind, Codec, PackedBlock, pack, unpack
from bitbacker.format.segment import BLOCKS_MAX, SegmentWriter, read_contents, stored_part

CAPACITY_BYTES = 8192
DECOMPRESSOR = zstandard.ZstdDecompressor()


@dataclass(frozen=True)
class Raw:
    """A block before it is packed."""

    kind: BlockKind
    parts: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    @property
    def ids(self) -> bytes:
        return b"".join(bytes([len(part) % 256]) * 16 for part in self._chunks)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(map(len, self._chunks))

    @property
    def _chunks(self) -> tuple[bytes, ...]:
        return self.parts if self.kind is BlockKind.DATA else ()

    def pack(self) -> PackedBlock:
        return pack(self.kind, self.data, zstandard.ZstdCompressor(level=3), self.ids, self.sizes)


chunks = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.builds(lambda byte, count: bytes([byte]) * count, st.integers(0, 255), st.integers(1, 500)),
)
data_blocks = st.builds(Raw, st.just(BlockKind.DATA), st.lists(chunks, min_size=1, max_size=4).map(tuple))
other_blocks = st.builds(
    Raw,
    st.sampled_from([kind for kind in BlockKind if kind is not BlockKind.DATA]),
    st.tuples(st.binary(max_size=300)),
)


def segment_of(blocks: Sequence[Raw]) -> bytes:
    writer = SegmentWriter(CAPACITY_BYTES)
    for block in blocks:
        writer.add(block.pack())
    return bytes(writer.finish())


def raw_of(plaintext: bytes, info: BlockInfo) -> bytes:
    return bytes(unpack(info, stored_part(plaintext, info), DECOMPRESSOR))


@given(st.lists(data_blocks | other_blocks, max_size=6))
def test_what_is_packed_is_unpacked(blocks: list[Raw]) -> None:
    plaintext = segment_of(blocks)
    infos = read_contents(plaintext)
    assert len(plaintext) == CAPACITY_BYTES
    assert [info.kind for info in infos] == [block.kind for block in blocks]
    assert [raw_of(plaintext, info) for info in infos] == [block.data for block in blocks]
    assert [bytes(info.chunk_ids) for info in infos] == [block.ids for block in blocks]
    assert [tuple(info.chunk_sizes.tolist()) for info in infos] == [block.sizes for block in blocks]


@given(st.lists(data_blocks | other_blocks, max_size=6))
def test_the_writer_knows_what_it_uses(blocks: list[Raw]) -> None:
    writer = SegmentWriter(CAPACITY_BYTES)
    for number, block in enumerate(blocks):
        room, packed = writer.room_bytes, block.pack()
        assert writer.add(packed) == number
        assert writer.room_bytes == room - SegmentWriter.cost_bytes(packed)
    assert writer.used_bytes + writer.room_bytes == CAPACITY_BYTES
    assert not any(writer.finish()[writer.used_bytes :])


def test_a_segment_can_be_filled_to_the_last_byte() -> None:
    room = CAPACITY_BYTES - SegmentWriter.fixed_bytes() - 16
    writer = SegmentWriter(CAPACITY_BYTES)
    writer.add(PackedBlock(BlockKind.ROOT, Codec.STORED, room, bytes(room)))
    assert writer.room_bytes == 0
    assert read_contents(writer.finish())[0].raw_bytes == room


def test_a_block_that_does_not_fit_is_refused() -> None:
    room = CAPACITY_BYTES - SegmentWriter.fixed_bytes() - 15
    with pytest.raises(ValueError, match="fit"):
        SegmentWriter(CAPACITY_BYTES).add(PackedBlock(BlockKind.ROOT, Codec.STORED, room, bytes(room)))


def test_a_segment_that_is_used_again_keeps_nothing() -> None:
    writer = SegmentWriter(CAPACITY_BYTES)
    writer.add(PackedBlock(BlockKind.ROOT, Codec.STORED, 4096, b"\xff" * 4096))
    writer.finish()
    writer.reset()
    assert bytes(writer.finish()) == segment_of([])


def test_incompressible_data_is_stored_without_a_copy() -> None:
    raw = memoryview(np.random.default_rng(1).bytes(1000))
    packed = pack(BlockKind.ENTRIES, raw, zstandard.ZstdCompressor())
    assert (packed.codec, packed.stored is raw) == (Codec.STORED, True)


def test_compressible_data_is_compressed() -> None:
    packed = pack(BlockKind.ENTRIES, bytes(1000), zstandard.ZstdCompressor())
    assert (packed.codec, packed.raw_bytes, len(packed.stored) < 100) == (Codec.ZSTD, 1000, True)


def info(stored: bytes, raw_bytes: int, codec: Codec = Codec.ZSTD) -> BlockInfo:
    nothing = np.empty(0, dtype=np.uint32)
    return BlockInfo(BlockKind.ROOT, codec, 8, len(stored), raw_bytes, memoryview(b""), nothing)


def frame(raw: bytes, *, content_size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_content_size=content_size).compress(raw)


DICTIONARY = zstandard.ZstdCompressionDict(b"the words that both sides know " * 40)
FRAMES = {
    "another size than claimed": (frame(bytes(100)), 99),
    "a size that is not in the frame": (frame(bytes(100), content_size=False), 100),
    "two frames": (frame(bytes(50)) + frame(bytes(50)), 100),
    "a frame and a skippable frame": (frame(bytes(100)) + b"\x50\x2a\x4d\x18\0\0\0\0", 100),
    "a skippable frame alone": (b"\x50\x2a\x4d\x18\0\0\0\0", 0),
    "bytes behind the frame": (frame(bytes(100)) + b"\0", 100),
    "a frame that is cut off": (frame(bytes(100))[:-1], 100),
    "no frame": (b"no frame at all", 15),
    "nothing": (b"", 0),
    "a dictionary": (
        zstandard.ZstdCompressor(dict_data=DICTIONARY).compress(b"the words that both sides know " * 9),
        279,
    ),
}


@pytest.mark.parametrize(("stored", "raw_bytes"), FRAMES.values(), ids=FRAMES)
def test_a_frame_that_no_writer_makes_is_refused(stored: bytes, raw_bytes: int) -> None:
    with pytest.raises(FormatError):
        unpack(info(stored, raw_bytes), memoryview(stored), DECOMPRESSOR)


def test_an_honest_frame_is_taken() -> None:
    """The control of the test above."""
    stored = frame(bytes(100))
    assert unpack(info(stored, 100), memoryview(stored), DECOMPRESSOR) == bytes(100)


def contents(*rows: bytes, offset: int = 8, size: int | None = None, blocks: bytes = b"") -> bytes:
    """A segment with these rows in its table of contents."""
    toc = len(rows).to_bytes(4, "little") + b"".join(rows)
    header = offset.to_bytes(4, "little") + (len(toc) if size is None else size).to_bytes(4, "little")
    return (header + blocks + toc).ljust(512, b"\0")


def row(
    kind: int = 2, codec: int = 0, *, stored: int = 0, raw: int = 0, zero: int = 0, chunks: Sequence[int] = ()
) -> bytes:
    fields = [(kind, 1), (codec, 1), (zero, 2), (stored, 4), (raw, 4), (len(chunks), 4)]
    head = b"".join(value.to_bytes(size, "little") for value, size in fields)
    return head + bytes(16 * len(chunks)) + b"".join(size.to_bytes(4, "little") for size in chunks)


WRONG = {
    "a table of contents outside": contents(offset=510),
    "a table of contents in the header": contents(offset=4),
    "a table of contents that ends outside": contents(size=505),
    "rows that the table of contents has no room for": contents(row(), size=8),
    "bytes behind the last row": contents(row(), size=21),
    "a gap before the table of contents": contents(row(stored=3, raw=3), offset=12, blocks=bytes(4)),
    "a block over the table of contents": contents(row(stored=5, raw=5), offset=12, blocks=bytes(4)),
    "kind 0": contents(row(kind=0)),
    "kind 7": contents(row(kind=7)),
    "codec 2": contents(row(codec=2)),
    "a field that is not zero": contents(row(zero=1)),
    "a block that is too large": contents(row(codec=1, raw=BLOCK_MAX_BYTES + 1)),
    "a stored block of two sizes": contents(row(stored=4, raw=5), offset=12, blocks=bytes(4)),
    "chunks in a table block": contents(row(stored=4, raw=4, chunks=[4]), offset=12, blocks=bytes(4)),
    "data without chunks": contents(row(kind=1, stored=4, raw=4), offset=12, blocks=bytes(4)),
    "chunks that do not fill the block": contents(
        row(kind=1, stored=4, raw=4, chunks=[3]), offset=12, blocks=bytes(4)
    ),
    "sizes whose sum comes round to the right number": contents(
        row(kind=1, stored=4, raw=4, chunks=[2**31, 2**31, 4]), offset=12, blocks=bytes(4)
    ),
    "an empty chunk": contents(row(kind=1, stored=4, raw=4, chunks=[4, 0]), offset=12, blocks=bytes(4)),
    "more blocks than there may be": (
        (8).to_bytes(4, "little")
        + (4 + 16 * (BLOCKS_MAX + 1)).to_bytes(4, "little")
        + (BLOCKS_MAX + 1).to_bytes(4, "little")
        + row() * (BLOCKS_MAX + 1)
    ),
    "too short for a header": b"\0" * 7,
    "nothing": b"",
}


@pytest.mark.parametrize("plaintext", WRONG.values(), ids=WRONG)
def test_a_segment_that_no_writer_makes_is_refused(plaintext: bytes) -> None:
    with pytest.raises(FormatError):
        read_contents(plaintext)


def test_an_honest_segment_made_by_hand_is_taken() -> None:
    """The control of the test above."""
    plaintext = contents(
        row(kind=1, stored=4, raw=4, chunks=[1, 3]), row(stored=2, raw=2), offset=14, blocks=b"abcdef"
    )
    found = read_contents(plaintext)
    assert [bytes(stored_part(plaintext, block)) for block in found] == [b"abcd", b"ef"]
