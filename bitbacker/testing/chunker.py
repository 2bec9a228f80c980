"""The conformance suite of chunkers: every sentence of `bitbacker.spi.chunker` as a test.

::

    class TestMyChunker(ChunkerContract):
        @pytest.fixture
        def make_chunker(self) -> MakeChunker:
            return lambda key: MyChunker(MyChunker.Config(), key)

Configure small chunks (a maximum of some KiB): the streams grow with the maximum.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise, repeat
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.spi import Chunker
from bitbacker.testing.contract import Contract, assert_declared, promise_settings

MakeChunker = Callable[[bytes], Chunker]
"""Builds the plugin under test with this key of 32 bytes."""

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def ends_of(chunker: Chunker, stream: bytes, buffer_sizes: Iterable[int] = ()) -> list[int]:
    """The ends of all chunks of `stream`, given to `cut` in buffers of these sizes, the rest in one.

    This is how the framework drives a chunker: undecided bytes are presented again with more behind.
    """
    ends: list[int] = []
    start = shown = 0
    for size in chain(buffer_sizes, repeat(len(stream))):
        shown = min(shown + size, len(stream))
        final = shown == len(stream)
        found = list(chunker.cut(memoryview(stream)[start:shown], final=final))
        ends += [start + end for end in found]
        start = ends[-1] if ends else 0
        if final:
            return ends
    raise AssertionError("the sizes ended before the stream")


def made_stream(kind: str, seed: int, size_bytes: int) -> bytes:
    """A stream of one of `KINDS`, repeatable by its seed."""
    rng = random.Random(seed)  # noqa: S311  # test data, not a secret
    if kind == "random":
        return rng.randbytes(size_bytes)
    if kind == "one byte":
        return rng.randbytes(1) * size_bytes
    if kind == "two bytes":
        return bytes(rng.choices(rng.randbytes(2), k=size_bytes))
    period = rng.randbytes(rng.choice((2, 3, 63, 64, 65, 257)))
    return (period * (size_bytes // len(period) + 1))[:size_bytes]


KINDS = ("random", "one byte", "two bytes", "periodic")


def streams(chunker: Chunker) -> st.SearchStrategy[bytes]:
    """Streams of all kinds, of up to four maximal chunks, with a liking for the sizes that matter."""
    small, large = chunker.min_size_bytes, chunker.max_size_bytes
    edges = [edge + step for edge in (1, small, large, 2 * large, small + large) for step in (-1, 0, 1)]
    sizes = st.sampled_from(edges) | st.integers(0, 4 * large)
    return st.builds(made_stream, st.sampled_from(KINDS), st.integers(0, 2**32), sizes)


class ChunkerContract(Contract, kit=True):
    """Subclass it, override `make_chunker`, and say `keyed = False` when the key changes nothing."""

    keyed: ClassVar[bool] = True

    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        """Build the plugin under test; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def chunker(self, make_chunker: MakeChunker) -> Chunker:
        """The plugin under test."""
        return make_chunker(KEY)

    @pytest.fixture(params=range(4), ids="seed {}".format)
    def stream(self, request: pytest.FixtureRequest, chunker: Chunker) -> bytes:
        """Random bytes of up to 16 maximal chunks."""
        rng = random.Random(request.param)  # noqa: S311  # test data, not a secret
        return rng.randbytes(rng.randint(12, 16) * chunker.max_size_bytes + rng.randrange(100))

    def test_version_and_schema_are_declared(self, chunker: Chunker) -> None:
        assert_declared(chunker)

    def test_the_sizes_have_an_order(self, chunker: Chunker) -> None:
        assert 1 <= chunker.min_size_bytes <= chunker.max_size_bytes

    @promise_settings
    @given(draw=st.data())
    def test_chunks_cover_the_stream_in_order(self, chunker: Chunker, draw: st.DataObject) -> None:
        stream = draw.draw(streams(chunker))
        ends = [0, *chunker.cut(stream, final=True)]
        assert all(start < end for start, end in pairwise(ends)), "a chunk without bytes"
        assert ends[-1] == len(stream), "the last chunk does not end with the stream"

    @promise_settings
    @given(draw=st.data())
    def test_no_chunk_is_longer_than_the_maximum(self, chunker: Chunker, draw: st.DataObject) -> None:
        stream = draw.draw(streams(chunker))
        sizes = [end - start for start, end in pairwise([0, *chunker.cut(stream, final=True)])]
        assert max(sizes, default=0) <= chunker.max_size_bytes

    @promise_settings
    @given(draw=st.data())
    def test_no_chunk_but_the_last_is_shorter_than_the_minimum(
        self, chunker: Chunker, draw: st.DataObject
    ) -> None:
        stream = draw.draw(streams(chunker))
        sizes = [end - start for start, end in pairwise([0, *chunker.cut(stream, final=True)])]
        assert min(sizes[:-1], default=chunker.min_size_bytes) >= chunker.min_size_bytes

    @promise_settings
    @given(draw=st.data())
    def test_a_stream_no_longer_than_the_minimum_is_one_chunk(
        self, chunker: Chunker, draw: st.DataObject
    ) -> None:
        size = draw.draw(st.integers(1, chunker.min_size_bytes))
        stream = made_stream(draw.draw(st.sampled_from(KINDS)), draw.draw(st.integers(0, 2**32)), size)
        assert list(chunker.cut(stream, final=True)) == [size]

    @pytest.mark.parametrize("final", [False, True])
    def test_a_stream_without_bytes_has_no_chunks(self, chunker: Chunker, final: bool) -> None:
        assert list(chunker.cut(b"", final=final)) == []

    @promise_settings
    @given(draw=st.data())
    def test_a_boundary_is_found_in_every_maximum_of_bytes(
        self, chunker: Chunker, draw: st.DataObject
    ) -> None:
        stream = draw.draw(streams(chunker))
        ends = [0, *chunker.cut(stream, final=False)]
        assert len(stream) - ends[-1] < chunker.max_size_bytes

    @promise_settings
    @given(draw=st.data())
    def test_what_is_decided_early_stays(self, chunker: Chunker, draw: st.DataObject) -> None:
        stream = draw.draw(streams(chunker))
        shown = draw.draw(st.integers(0, len(stream)))
        early = list(chunker.cut(stream[:shown], final=False))
        assert early == list(chunker.cut(stream, final=True))[: len(early)]

    @promise_settings
    @given(draw=st.data())
    def test_buffer_sizes_change_nothing(self, chunker: Chunker, draw: st.DataObject) -> None:
        stream = draw.draw(streams(chunker))
        # Buffers are no smaller than this, or a stream would be presented a thousand times.
        least = max(1, len(stream) // 50)
        sizes = draw.draw(st.lists(st.integers(least, least + chunker.max_size_bytes), max_size=60))
        assert ends_of(chunker, stream, sizes) == list(chunker.cut(stream, final=True))

    def test_a_stream_given_byte_by_byte_has_the_same_chunks(self, chunker: Chunker) -> None:
        stream = made_stream("random", 1, min(2 * chunker.max_size_bytes, 10_000))
        assert ends_of(chunker, stream, repeat(1)) == list(chunker.cut(stream, final=True))

    def test_cuts_depend_only_on_the_bytes_since_the_last_cut(self, chunker: Chunker, stream: bytes) -> None:
        ends = list(chunker.cut(stream, final=True))
        for place, end in enumerate(ends[:-1], 1):
            rest = [end + later for later in chunker.cut(stream[end:], final=True)]
            assert rest == ends[place:], f"the stream cut off at {end} has other chunks"

    def test_one_stream_leaves_no_trace_in_the_next(self, chunker: Chunker, stream: bytes) -> None:
        expected = list(chunker.cut(stream, final=True))
        chunker.cut(made_stream("random", 2, chunker.max_size_bytes - 1), final=False)
        chunker.cut(made_stream("one byte", 3, chunker.max_size_bytes - 1), final=True)
        assert list(chunker.cut(stream, final=True)) == expected

    def test_the_same_key_gives_the_same_chunks(self, make_chunker: MakeChunker, stream: bytes) -> None:
        first, second = (list(make_chunker(KEY).cut(stream, final=True)) for _ in range(2))
        assert first == second

    def test_another_key_gives_other_chunks_when_keyed(
        self, make_chunker: MakeChunker, stream: bytes
    ) -> None:
        mine = list(make_chunker(KEY).cut(stream, final=True))
        other = list(make_chunker(OTHER_KEY).cut(stream, final=True))
        assert (mine != other) == self.keyed

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview], ids=lambda wrap: str(wrap.__name__))
    def test_every_buffer_type_gives_the_same_chunks(
        self, chunker: Chunker, stream: bytes, wrap: Callable[[bytes], Any]
    ) -> None:
        assert list(chunker.cut(wrap(stream), final=True)) == list(chunker.cut(stream, final=True))

    @pytest.mark.parametrize("offset", [1, 3, 8, 63])
    def test_data_may_lie_at_any_address(self, chunker: Chunker, stream: bytes, offset: int) -> None:
        view = memoryview(bytearray(offset) + stream)[offset:]
        assert list(chunker.cut(view, final=True)) == list(chunker.cut(stream, final=True))

    def test_data_is_not_changed(self, chunker: Chunker, stream: bytes) -> None:
        data = bytearray(stream)
        chunker.cut(data, final=True)
        assert data == stream

    def test_data_is_not_kept(self, chunker: Chunker, stream: bytes) -> None:
        data = bytearray(stream)
        found = chunker.cut(data, final=True)
        expected = list(found)
        try:
            data.clear()
        except BufferError:
            pytest.fail("the chunker holds on to a buffer that belongs to its caller again")
        assert list(found) == expected, "the answer changed with the buffer"

    def test_an_instance_may_move_between_threads(self, chunker: Chunker, stream: bytes) -> None:
        expected = list(chunker.cut(stream, final=True))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_cut_whole, chunker, stream).result() == expected

    def test_instances_in_many_threads_do_not_disturb_each_other(self, make_chunker: MakeChunker) -> None:
        chunkers = [make_chunker(bytes([number]) * 32) for number in range(8)]
        work = [
            (chunker, made_stream("random", seed, 8 * chunker.max_size_bytes))
            for seed, chunker in enumerate(chunkers)
        ]
        expected = [_cut_whole(chunker, stream) for chunker, stream in work]
        with ThreadPoolExecutor(len(work)) as pool:
            for _ in range(5):
                assert list(pool.map(_cut_whole, *zip(*work, strict=True))) == expected


def _cut_whole(chunker: Chunker, stream: bytes) -> list[int]:
    return list(chunker.cut(stream, final=True))
