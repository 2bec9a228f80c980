"""The fixed chunker keeps the contract and cuts at the multiples of its size."""

from __future__ import annotations

import random

import pytest

from bitbacker.errors import ConfigError
from bitbacker.testing.chunker import ChunkerContract, MakeChunker
from bitbacker_plugins.fixed import FixedChunker, FixedConfig, bitbacker_chunker

KEY = bytes(32)


class TestFixed(ChunkerContract):
    keyed = False

    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        return lambda key: FixedChunker(FixedConfig(size_bytes=1000), key)


class TestFixedOfOneByte(ChunkerContract):
    keyed = False

    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        return lambda key: FixedChunker(FixedConfig(size_bytes=1), key)


@pytest.mark.parametrize(
    ("length", "final", "expected"),
    [
        (0, True, []),
        (9, False, []),
        (9, True, [9]),
        (10, False, [10]),
        (10, True, [10]),
        (25, False, [10, 20]),
        (25, True, [10, 20, 25]),
    ],
)
def test_chunks_end_at_multiples_of_the_size(length: int, final: bool, expected: list[int]) -> None:
    chunker = FixedChunker(FixedConfig(size_bytes=10), KEY)
    assert list(chunker.cut(bytes(length), final=final)) == expected


def test_a_view_of_wider_items_is_counted_in_bytes() -> None:
    chunker = FixedChunker(FixedConfig(size_bytes=10), KEY)
    assert list(chunker.cut(memoryview(bytes(24)).cast("Q"), final=True)) == [10, 20, 24]


def test_the_size_is_one_mebibyte_unless_configured() -> None:
    assert FixedChunker(FixedConfig(), KEY).max_size_bytes == 1 << 20


@pytest.mark.parametrize("size_bytes", [0, -1, (1 << 30) + 1])
def test_a_size_that_makes_no_sense_is_refused(size_bytes: int) -> None:
    with pytest.raises(ConfigError, match="size_bytes"):
        FixedConfig(size_bytes=size_bytes)


def test_an_insertion_changes_every_chunk_behind_it(rng: random.Random) -> None:
    """What `gear` is for, and the control of its test."""
    chunker = FixedChunker(FixedConfig(size_bytes=1000), KEY)
    stream = rng.randbytes(100_000)
    changed = stream[:50_000] + b"!" + stream[50_000:]
    old, new = (
        {data[end - 1000 : end] for end in chunker.cut(data, final=False)} for data in (stream, changed)
    )
    assert len(old & new) == 50


def test_the_hook_answers_to_its_own_name_only() -> None:
    assert bitbacker_chunker("fixed") is FixedChunker
    assert bitbacker_chunker("gear") is None
