"""Sessions of any blocks store exactly a bucket, large segments first, and little more than they need."""

from __future__ import annotations

import itertools
import math
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitbacker.crypto.seal import Sealer
from bitbacker.format.block import CHUNK_ID_SIZE_BYTES, CHUNK_PIECE_BYTES, BlockKind, Compressor, pack
from bitbacker.format.names import LARGE_SEGMENT_SIZE_BYTES as LARGE
from bitbacker.format.names import SEGMENTS
from bitbacker.format.names import SMALL_SEGMENT_SIZE_BYTES as SMALL
from bitbacker.format.segment import SegmentWriter
from bitbacker.repo.storage import Storage
from bitbacker.repo.tail import Streamed, Tail
from bitbacker.repo.volume import Padding, volume_of
from bitbacker.repo.write import RawBlock, SegmentStore
from bitbacker.spi import NoConfig
from bitbacker.testing.faults import RecordingTransport
from bitbacker_plugins.aes256gcm import bitbacker_cipher
from bitbacker_plugins.memory import MemoryTransport

KIB = 1024
MIB = KIB * KIB
BLOCK_BYTES = MIB
PAGE_BYTES = 240 * KIB
PADDED = Padding()
_numbers = itertools.count()


@dataclass(frozen=True)
class Mix:
    """What a session has to store: sizes of chunks, of pages of entries, and of what is placed later.

    None of it can be compressed.
    """

    chunks: tuple[int, ...] = ()
    pages: tuple[int, ...] = ()
    later: tuple[int, ...] = (300,)
    catalog: int = 2 * KIB


@dataclass(frozen=True)
class Stored:
    """What came of it: sizes of the segments in the order of their arrival, and what was needed."""

    sizes: tuple[int, ...]
    needed_bytes: int
    mix: Mix = field(repr=False)

    @property
    def volume_bytes(self) -> int:
        return sum(self.sizes)

    @property
    def excess(self) -> float:
        """The volume above what is allowed for what was needed, as a part of it."""
        return self.volume_bytes / (1.12 * self.needed_bytes + 256 * KIB) - 1

    def __str__(self) -> str:
        return f"needed {self.needed_bytes:,}, stored {self.volume_bytes:,} in {len(self.sizes)}"


def session(mix: Mix, padding: Padding, rng: random.Random) -> Stored:
    """One session by the real writer: blocks, tables behind them, and the catalog at the end."""
    cipher = bitbacker_cipher("aes-256-gcm")
    assert cipher is not None
    url = f"memory://tail-{next(_numbers)}"
    recording = RecordingTransport(MemoryTransport(url, NoConfig()))
    store = SegmentStore(
        Storage(recording), Sealer(cipher(cipher.Config()), secrets.token_bytes(32)), 3, padding
    )
    try:
        for block in blocks_of(mix, rng):
            store.submit(block, lambda _ref, _block: None)
        store.settle([*mix.later, mix.catalog + KIB])
        for size in mix.later:
            store.place(BlockKind.INDEX, rng.randbytes(size))
        catalog = rng.randbytes(mix.catalog)
        store.reserve(store.packed_bytes(BlockKind.CATALOG, catalog) + KIB)
        store.place(BlockKind.CATALOG, catalog)
        written = store.finish()
    finally:
        store.close()
    sizes = sizes_of_arrivals(recording)
    MemoryTransport.drop(url)
    assert sorted(sizes) == sorted(segment.size_bytes for segment in written)
    return Stored(sizes, store.needed_bytes, mix)


def blocks_of(mix: Mix, rng: random.Random) -> Iterator[RawBlock]:
    """Chunks are gathered to about a block, as the engine does; pages of entries are blocks themselves."""
    batch: list[int] = []
    for size in mix.chunks:
        if batch and sum(batch) + size > BLOCK_BYTES:
            yield data_block(batch, rng)
            batch = []
        batch.append(size)
    if batch:
        yield data_block(batch, rng)
    for size in mix.pages:
        yield RawBlock(BlockKind.ENTRIES, rng.randbytes(size))


def data_block(sizes: Sequence[int], rng: random.Random) -> RawBlock:
    ids = rng.randbytes(CHUNK_ID_SIZE_BYTES * len(sizes))
    return RawBlock(BlockKind.DATA, rng.randbytes(sum(sizes)), ids, tuple(sizes))


def sizes_of_arrivals(recording: RecordingTransport) -> tuple[int, ...]:
    puts = (operation for operation in recording.log if operation.name.startswith(SEGMENTS))
    return tuple(operation.size_bytes for operation in puts)


def pieces(size: int) -> list[int]:
    """A file that is cut."""
    return [min(CHUNK_PIECE_BYTES, size - at) for at in range(0, size, CHUNK_PIECE_BYTES)]


def small_file(rng: random.Random) -> int:
    """Sizes of many files: as many from 1 to 2 KiB as from 16 to 32 KiB."""
    return round(math.exp(rng.uniform(math.log(100), math.log(CHUNK_PIECE_BYTES))))


def random_mix(rng: random.Random) -> Mix:
    """Small files, large files, pages and tables in any proportion; from nothing to some 20 MiB."""
    chunks = [small_file(rng) for _ in range(rng.choice((0, 1, 10, 100, 400)))]
    for _ in range(rng.choice((0, 0, 1, 3))):
        chunks += pieces(rng.randrange(128 * KIB, rng.choice((MIB, 8 * MIB))))
    return Mix(
        tuple(chunks),
        tuple(rng.randrange(1, PAGE_BYTES) for _ in range(rng.choice((0, 1, 1, 2, 5)))),
        tuple(rng.randrange(100, PAGE_BYTES // 3) for _ in range(rng.choice((1, 2, 4)))),
        rng.randrange(KIB, 128 * KIB),
    )


def assert_a_bucket(stored: Stored, padding: Padding) -> None:
    volume = volume_of(stored.volume_bytes)
    assert padding.at_least(stored.volume_bytes) == stored.volume_bytes
    assert stored.sizes == (LARGE,) * volume.large + (SMALL,) * volume.small
    assert stored.volume_bytes >= padding.bucket(stored.needed_bytes)


@pytest.mark.parametrize("padding", [PADDED, Padding(floor_bytes=MIB), Padding("none")], ids=str)
def test_any_session_stores_a_bucket_large_segments_first(rng: random.Random, padding: Padding) -> None:
    for _ in range(12):
        assert_a_bucket(session(random_mix(rng), padding, rng), padding)


def test_a_volume_is_little_more_than_what_is_needed(rng: random.Random) -> None:
    """At most 12 % and a small segment for nearly every session.

    The last segment that is stored before a session is settled may lack most of a block, and blocks that
    cannot be divided leave something at the ends of segments.
    """
    stored = [session(random_mix(rng), PADDED, rng) for _ in range(40)]
    worst = max(stored, key=lambda one: one.excess)
    print(f"worst: {worst}, {worst.excess:+.1%} of what is allowed: {worst.mix}")
    assert sum(one.excess <= 0 for one in stored) >= 0.75 * len(stored)
    assert worst.excess * (1.12 * worst.needed_bytes + 256 * KIB) <= BLOCK_BYTES + 256 * KIB


def test_the_control_files_that_fill_half_a_small_segment_cost_far_more(rng: random.Random) -> None:
    """The bound above is no law of nature: chunks are stored in pieces of 62 KiB because of this."""
    whole = session(Mix(chunks=(128 * KIB,) * 16), PADDED, rng)
    cut = session(Mix(chunks=tuple(pieces(16 * 128 * KIB))), PADDED, rng)
    print(f"whole: {whole}; in pieces: {cut}")
    assert_a_bucket(whole, PADDED)
    assert cut.excess < 0.05
    assert whole.excess > 0.5


ALIKE = {
    "one large file": Mix(chunks=tuple(pieces(600 * KIB))),
    "many small files": Mix(chunks=(6 * KIB,) * 95),
    "pages and a file": Mix(chunks=tuple(pieces(400 * KIB)), pages=(100 * KIB, 100 * KIB)),
    "a large catalog": Mix(chunks=tuple(pieces(500 * KIB)), catalog=100 * KIB),
}


@pytest.mark.parametrize("padding", [PADDED, Padding(floor_bytes=2 * MIB)], ids=str)
def test_sessions_whose_needs_share_a_bucket_look_alike(rng: random.Random, padding: Padding) -> None:
    stored = {name: session(mix, padding, rng) for name, mix in ALIKE.items()}
    assert len({padding.bucket(one.needed_bytes) for one in stored.values()}) == 1
    assert {one.sizes for one in stored.values()} == {(SMALL,) * (padding.bucket(600 * KIB) // SMALL)}


def test_the_control_another_bucket_looks_different(rng: random.Random) -> None:
    less, more = (session(Mix(chunks=tuple(pieces(size))), PADDED, rng) for size in (600 * KIB, 900 * KIB))
    assert less.sizes != more.sizes


def test_without_padding_sessions_that_a_bucket_hides_are_told_apart(rng: random.Random) -> None:
    """The control: what the floor hides shows without it."""
    floor = Padding(floor_bytes=2 * MIB)
    nothing, little = Mix(), Mix(chunks=tuple(pieces(600 * KIB)))
    assert session(nothing, floor, rng).sizes == session(little, floor, rng).sizes
    none = Padding("none", 2 * MIB)
    assert session(nothing, none, rng).sizes != session(little, none, rng).sizes


SIZES = st.lists(st.integers(1, PAGE_BYTES), max_size=6)


@settings(max_examples=150)
@given(
    padding=st.builds(Padding, st.sampled_from(("padme", "none")), st.integers(0, 64 * MIB)),
    streamed=st.one_of(st.integers(0, 40), st.integers(0, 3000)),
    whole=SIZES,
    later=SIZES,
    unplanned=st.lists(st.one_of(st.integers(1, SMALL - KIB), st.integers(1, LARGE - KIB)), max_size=24),
)
def test_a_tail_is_a_bucket_whatever_was_opened_behind_its_plan(
    padding: Padding,
    streamed: int,
    whole: list[int],
    later: list[int],
    unplanned: list[int],
) -> None:
    tail = Tail(padding, 92)
    tail.open(Streamed(streamed, streamed * LARGE), 8 * sum(whole), whole, later)
    for cost in unplanned:
        assert tail.grow(cost).writer.room_bytes >= cost
    tail.complete()
    sizes = [segment.size_bytes for segment in tail.segments]
    volume = streamed * LARGE + sum(sizes)
    assert padding.at_least(volume) == volume
    expected = volume_of(volume)
    assert (sizes.count(LARGE), sizes.count(SMALL)) == (expected.large - streamed, expected.small)


def test_small_segments_that_no_bucket_has_become_large_ones() -> None:
    """31.5 MiB are seven large segments and 14 small ones; with one more, no bucket has that many."""
    tail = Tail(PADDED, 92)
    tail.open(Streamed(7, int(6.9 * LARGE)), 0, (), (PAGE_BYTES,) * 14)
    assert [segment.size_bytes for segment in tail.segments] == [SMALL] * 14
    identities = [segment.identity for segment in tail.segments]
    tail.grow(LARGE - KIB)
    tail.complete()
    volume = 7 * LARGE + sum(segment.size_bytes for segment in tail.segments)
    assert PADDED.bucket(volume) == volume
    assert [segment.identity for segment in tail.segments][:14] == identities
    for segment in tail.segments:
        assert segment.writer.room_bytes == segment.size_bytes - 92 - SegmentWriter.fixed_bytes()


def test_what_is_kept_for_a_large_block_is_not_given_to_a_small_one(rng: random.Random) -> None:
    later = [44_127, 6_938, 19_856, 80_987, 123_399]
    tail = Tail(PADDED, 92)
    tail.open(Streamed(0, 0), 0, [221_678], later)
    before = len(tail.segments)
    for size in later:
        tail.add_later(pack(BlockKind.INDEX, rng.randbytes(size - SegmentWriter.row_bytes()), Compressor()))
    assert len(tail.segments) == before
    assert [segment.kept for segment in tail.segments] == [[]] * before
