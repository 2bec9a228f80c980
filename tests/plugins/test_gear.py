"""The gear chunker: the contract with both scans, and what content-defined chunks are for."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bitbacker.errors import ConfigError
from bitbacker.spi import Chunker
from bitbacker.testing.chunker import ChunkerContract, MakeChunker
from bitbacker_plugins.fixed import FixedChunker, FixedConfig
from bitbacker_plugins.gear import GearChunker, GearConfig, _numpy, bitbacker_chunker
from bitbacker_plugins.gear import chunker as gear_module
from bitbacker_plugins.gear.rule import Rule, rule_of

Scan = Callable[[Any, Rule, bool], list[int]]

BUILT: Scan = vars(gear_module)["scan"]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "chunkers.md").read_text()
KEY = bytes(range(32))
SMALL = GearConfig(min_size_bytes=256, average_size_bytes=1024, max_size_bytes=4096)
SMALLEST = GearConfig(min_size_bytes=64, average_size_bytes=128, max_size_bytes=256)


def gear(config: GearConfig = SMALL, key: bytes = KEY) -> GearChunker:
    return GearChunker(config, key)


class TestGear(ChunkerContract):
    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        return lambda key: gear(SMALL, key)


class TestGearOfTheSmallestSizes(ChunkerContract):
    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        return lambda key: gear(SMALLEST, key)


class TestGearInNumPy(ChunkerContract):
    @pytest.fixture
    def make_chunker(self, monkeypatch: pytest.MonkeyPatch) -> MakeChunker:
        monkeypatch.setattr(gear_module, "scan", _numpy.cut)
        return lambda key: gear(SMALL, key)


def chunks(chunker: Chunker, data: bytes) -> list[bytes]:
    return [data[start:end] for start, end in pairwise([0, *chunker.cut(data, final=True)])]


def chunks_lost(chunker: Chunker, old: bytes, new: bytes) -> int:
    """How many chunks of `new` are not among those of `old`."""
    known = set(chunks(chunker, old))
    return sum(chunk not in known for chunk in chunks(chunker, new))


@pytest.mark.parametrize("inserted_bytes", [1, 1000])
def test_an_insertion_changes_a_few_chunks_only(rng: random.Random, inserted_bytes: int) -> None:
    old = rng.randbytes(20 << 20)
    place = rng.randrange(9 << 20, 11 << 20)
    new = old[:place] + rng.randbytes(inserted_bytes) + old[place:]
    # Two in three times it is one or two; each further one is about half as likely.
    assert 1 <= chunks_lost(gear(), old, new) <= 25


@pytest.mark.parametrize("own_seed", range(4))
def test_an_insertion_changes_a_few_of_the_default_chunks_only(own_seed: int) -> None:
    """There are only 40 of these, so the numbers are fixed."""
    rng = random.Random(own_seed)
    old = rng.randbytes(20 << 20)
    new = old[: 4 << 20] + b"!" + old[4 << 20 :]
    assert 1 <= chunks_lost(gear(GearConfig()), old, new) <= 4


@pytest.mark.parametrize("inserted_bytes", [1, 1000])
def test_an_insertion_changes_half_of_all_fixed_chunks(rng: random.Random, inserted_bytes: int) -> None:
    """The control: the scenario above tells a content-defined chunker from another one."""
    old = rng.randbytes(20 << 20)
    new = old[: 10 << 20] + rng.randbytes(inserted_bytes) + old[10 << 20 :]
    assert chunks_lost(FixedChunker(FixedConfig(size_bytes=1024), KEY), old, new) > 10_000


def test_a_deletion_changes_a_few_chunks_only(rng: random.Random) -> None:
    old = rng.randbytes(2 << 20)
    assert chunks_lost(gear(), old, old[:1_000_000] + old[1_000_777:]) <= 25


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        GearConfig(min_size_bytes=512, average_size_bytes=1024, max_size_bytes=4096),
        GearConfig(min_size_bytes=128, average_size_bytes=1024, max_size_bytes=4096),
    ],
    ids=lambda config: f"minimum {config.min_size_bytes}",
)
def test_random_data_comes_to_the_average_size(rng: random.Random, config: GearConfig) -> None:
    data = rng.randbytes(16 << 20)
    mean = len(data) / len(gear(config).cut(data, final=True))
    assert mean == pytest.approx(config.average_size_bytes, rel=0.06)


def test_the_defaults_come_to_their_average_size(rng: random.Random) -> None:
    data = rng.randbytes(64 << 20)
    mean = len(data) / len(gear(GearConfig()).cut(data, final=True))
    assert mean == pytest.approx(512 << 10, rel=0.15)


def test_data_without_variety_is_cut_at_the_maximum() -> None:
    assert list(gear().cut(bytes(10_000), final=True)) == [4096, 8192, 10_000]


@pytest.mark.parametrize(
    ("sizes", "wrong"),
    [
        ((63, 1024, 4096), "min_size_bytes = 63"),
        ((513, 1024, 4096), "min_size_bytes = 513"),
        ((256, 1000, 4096), "average_size_bytes = 1000"),
        ((256, 0, 4096), "average_size_bytes = 0"),
        ((256, -1024, 4096), "average_size_bytes = -1024"),
        ((256, 1024, 2047), "max_size_bytes = 2047"),
        ((256, 1024, (1 << 30) + 1), "max_size_bytes = 1073741825"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(sizes: tuple[int, int, int], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        GearConfig(*sizes)


@pytest.mark.parametrize("size_bytes", [0, 16, 31, 33])
def test_a_key_of_another_size_is_refused(size_bytes: int) -> None:
    with pytest.raises(ConfigError, match=f"{size_bytes} bytes"):
        gear(key=bytes(size_bytes))


@pytest.mark.parametrize("symbol", [0, 1, 255])
def test_the_table_is_the_documented_one(symbol: int) -> None:
    assert f"| `T[{symbol}]` | `{rule_of(SMALL, KEY).table[symbol]:016x}` |" in DOCUMENT


@pytest.mark.parametrize("scan", [BUILT, _numpy.cut], ids=[gear_module.IMPLEMENTATION, "fallback"])
@pytest.mark.parametrize(
    ("config", "size_bytes"), [(SMALL, 10_000), (GearConfig(), 8 << 20)], ids=["small", "default"]
)
def test_the_cuts_are_the_documented_ones(
    monkeypatch: pytest.MonkeyPatch, scan: Scan, config: GearConfig, size_bytes: int
) -> None:
    """A repository made by an earlier release must find its chunks again."""
    monkeypatch.setattr(gear_module, "scan", scan)
    stream = hashlib.shake_256(b"bitbacker").digest(size_bytes)
    ends = ", ".join(map(str, gear(config).cut(stream, final=True)))
    assert f"| `{ends}` |" in DOCUMENT


def test_every_bit_of_the_key_changes_the_whole_table() -> None:
    table = rule_of(SMALL, KEY).table
    assert len(set(table.tolist())) == 256
    for bit in range(256):
        other = bytearray(KEY)
        other[bit // 8] ^= 1 << bit % 8
        assert (rule_of(SMALL, bytes(other)).table != table).all()


def test_the_hook_answers_to_its_own_name_only() -> None:
    assert bitbacker_chunker("gear") is GearChunker
    assert bitbacker_chunker("fixed") is None
