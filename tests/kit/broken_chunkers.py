"""Chunkers that break one promise each, and a sound one.  Only `test_chunker_kit.py` runs this."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from bitbacker.spi import Buffer, NoConfig
from bitbacker.testing.chunker import ChunkerContract, MakeChunker

MIN, MAX = 64, 512


class Sound:
    """Ends a chunk behind one of eight byte values that the key chooses."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[Any]] = NoConfig
    min_size_bytes: int = MIN
    max_size_bytes: int = MAX

    def __init__(self, key: bytes) -> None:
        self.marks = hashlib.blake2b(key, digest_size=8).digest()

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        whole = bytes(data)
        ends: list[int] = []
        start = 0
        while start < len(whole):
            size = self.size(whole[start : start + MAX], final=final)
            if size == 0:
                break
            start += size
            ends.append(start)
        return ends

    def size(self, rest: bytes, *, final: bool) -> int:
        for size in range(MIN, min(len(rest), MAX)):
            if rest[size - 1] in self.marks:
                return size
        return len(rest) if final or len(rest) == MAX else 0


class Broken(ChunkerContract, kit=True):
    plugin: ClassVar[type[Sound]]
    breaks: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        return self.plugin


class TestSound(Broken):
    plugin = Sound


class OfAnotherVersion(Sound):
    api_version = 99


class TestOfAnotherVersion(Broken):
    plugin = OfAnotherVersion
    breaks = ("test_version_and_schema_are_declared",)


class WithSizesSwapped(Sound):
    min_size_bytes = MAX
    max_size_bytes = MIN


class TestWithSizesSwapped(Broken):
    plugin = WithSizesSwapped
    breaks = ("test_the_sizes_have_an_order",)


class WithoutTail(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        del final
        return super().cut(data, final=False)


class TestWithoutTail(Broken):
    plugin = WithoutTail
    breaks = (
        "test_chunks_cover_the_stream_in_order",
        "test_a_stream_no_longer_than_the_minimum_is_one_chunk",
    )


class WithoutMaximum(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        return [end for end in super().cut(data, final=final) if bytes(data[end - 1 : end]) in self.marks]


class TestWithoutMaximum(Broken):
    plugin = WithoutMaximum
    breaks = ("test_chunks_cover_the_stream_in_order", "test_a_boundary_is_found_in_every_maximum_of_bytes")


class TooLong(Sound):
    max_size_bytes = MAX - 1


class TestTooLong(Broken):
    plugin = TooLong
    breaks = ("test_no_chunk_is_longer_than_the_maximum",)


class TooShort(Sound):
    min_size_bytes = 2 * MIN


class TestTooShort(Broken):
    plugin = TooShort
    breaks = (
        "test_no_chunk_but_the_last_is_shorter_than_the_minimum",
        "test_a_stream_no_longer_than_the_minimum_is_one_chunk",
    )


class WithAnEmptyChunk(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        return super().cut(data, final=final) or [0]


class TestWithAnEmptyChunk(Broken):
    plugin = WithAnEmptyChunk
    breaks = ("test_a_stream_without_bytes_has_no_chunks", "test_chunks_cover_the_stream_in_order")


class CuttingAtBuffers(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        del final
        return super().cut(data, final=True)


class TestCuttingAtBuffers(Broken):
    plugin = CuttingAtBuffers
    breaks = (
        "test_what_is_decided_early_stays",
        "test_buffer_sizes_change_nothing",
        "test_a_stream_given_byte_by_byte_has_the_same_chunks",
    )


class CountingChunks(Sound):
    """Makes one of the first two chunks that it is shown."""

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        ends = super().cut(data, final=final)
        return ends[1:] or ends


class TestCountingChunks(Broken):
    plugin = CountingChunks
    breaks = ("test_cuts_depend_only_on_the_bytes_since_the_last_cut",)


class Remembering(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        ends = super().cut(data, final=final)
        self.marks = bytes(mark + 1 & 255 for mark in self.marks)
        return ends


class TestRemembering(Broken):
    plugin = Remembering
    breaks = ("test_one_stream_leaves_no_trace_in_the_next",)


class Unrepeatable(Sound):
    def __init__(self, key: bytes) -> None:
        super().__init__(key + os.urandom(8))


class TestUnrepeatable(Broken):
    plugin = Unrepeatable
    breaks = ("test_the_same_key_gives_the_same_chunks",)


class WithoutKey(Sound):
    def __init__(self, key: bytes) -> None:
        super().__init__(bytes(len(key)))


class TestWithoutKey(Broken):
    plugin = WithoutKey
    breaks = ("test_another_key_gives_other_chunks_when_keyed",)


class TestWithAKeyThatIsDenied(Broken):
    plugin = Sound
    keyed = False
    breaks = ("test_another_key_gives_other_chunks_when_keyed",)


class OfBytesAlone(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        if isinstance(data, bytearray):
            raise TypeError("bytes, please")
        return super().cut(data, final=final)


class TestOfBytesAlone(Broken):
    plugin = OfBytesAlone
    breaks = ("test_every_buffer_type_gives_the_same_chunks",)


class ReadingFromTheStart(Sound):
    """Looks behind a view at the whole buffer."""

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        if isinstance(data, memoryview):
            data = memoryview(data.obj)[: len(data)]
        return super().cut(data, final=final)


class TestReadingFromTheStart(Broken):
    plugin = ReadingFromTheStart
    breaks = ("test_data_may_lie_at_any_address",)


class Scribbling(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        ends = super().cut(data, final=final)
        if isinstance(data, bytearray):
            data[0] ^= 1
        return ends


class TestScribbling(Broken):
    plugin = Scribbling
    breaks = ("test_data_is_not_changed",)


class Keeping(Sound):
    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        self.kept = memoryview(data)
        return super().cut(data, final=final)


class TestKeeping(Broken):
    plugin = Keeping
    breaks = ("test_data_is_not_kept",)


class OfOneThread(Sound):
    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.thread = threading.get_ident()

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        if threading.get_ident() != self.thread:
            raise RuntimeError("made in another thread")
        return super().cut(data, final=final)


class TestOfOneThread(Broken):
    plugin = OfOneThread
    breaks = ("test_an_instance_may_move_between_threads",)


class WithASharedBuffer(Sound):
    scratch: ClassVar[bytes] = b""

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        WithASharedBuffer.scratch = bytes(data)
        time.sleep(0.001)
        return super().cut(WithASharedBuffer.scratch, final=final)


class TestWithASharedBuffer(Broken):
    plugin = WithASharedBuffer
    breaks = ("test_instances_in_many_threads_do_not_disturb_each_other",)


class TestWithATestRemovedLater(Broken):
    plugin = Sound
    breaks = ("test_every_test_of_the_contract_is_run",)


without: Any = TestWithATestRemovedLater
without.test_data_is_not_kept = None
