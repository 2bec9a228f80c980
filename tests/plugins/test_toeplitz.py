"""The toeplitz-aes chunker: the contract with every scan, what its hash promises, and what it finds again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.errors import ConfigError
from bitbacker.host import Host
from bitbacker.spi import Chunker
from bitbacker.testing.chunker import ChunkerContract, MakeChunker
from bitbacker_plugins.fixed import FixedChunker, FixedConfig
from bitbacker_plugins.gear.toeplitz import (
    ToeplitzAesChunker,
    ToeplitzAesConfig,
    _numpy,
    bitbacker_chunker,
)
from bitbacker_plugins.gear.toeplitz import chunker as toeplitz_module
from bitbacker_plugins.gear.toeplitz.rule import Rule, rule_of

Scan = Callable[[Any, Rule, bool], list[int]]

BUILT: Scan = vars(toeplitz_module)["scan"]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "chunkers.md").read_text()
KEY = bytes(range(32))
SMALL = ToeplitzAesConfig(min_size_bytes=256, average_size_bytes=1024, max_size_bytes=4096)
SMALLEST = ToeplitzAesConfig(min_size_bytes=64, average_size_bytes=128, max_size_bytes=256)


def toeplitz(config: ToeplitzAesConfig = SMALL, key: bytes = KEY) -> ToeplitzAesChunker:
    return ToeplitzAesChunker(config, key)


class TestToeplitzAes(ChunkerContract):
    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        return lambda key: toeplitz(SMALL, key)


class TestToeplitzAesOfTheSmallestSizes(ChunkerContract):
    @pytest.fixture
    def make_chunker(self) -> MakeChunker:
        return lambda key: toeplitz(SMALLEST, key)


class TestToeplitzAesWithoutAesInstructions(ChunkerContract):
    @pytest.fixture
    def make_chunker(self, monkeypatch: pytest.MonkeyPatch) -> MakeChunker:
        scan = pytest.importorskip("bitbacker_plugins.gear._scan", reason="the C extension was not built")
        monkeypatch.setattr(toeplitz_module, "scan", lambda *args: scan.cut_toeplitz(*args, "portable"))
        return lambda key: toeplitz(SMALL, key)


class TestToeplitzAesInNumPy(ChunkerContract):
    @pytest.fixture
    def make_chunker(self, monkeypatch: pytest.MonkeyPatch) -> MakeChunker:
        monkeypatch.setattr(toeplitz_module, "scan", _numpy.cut)
        return lambda key: toeplitz(SMALL, key)


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
    assert 1 <= chunks_lost(toeplitz(), old, new) <= 25


@pytest.mark.parametrize("inserted_bytes", [1, 1000])
def test_an_insertion_changes_half_of_all_fixed_chunks(rng: random.Random, inserted_bytes: int) -> None:
    """The control: the scenario above tells a content-defined chunker from another one."""
    old = rng.randbytes(20 << 20)
    new = old[: 10 << 20] + rng.randbytes(inserted_bytes) + old[10 << 20 :]
    assert chunks_lost(FixedChunker(FixedConfig(size_bytes=1024), KEY), old, new) > 10_000


def test_a_deletion_changes_a_few_chunks_only(rng: random.Random) -> None:
    old = rng.randbytes(2 << 20)
    assert chunks_lost(toeplitz(), old, old[:1_000_000] + old[1_000_777:]) <= 25


@pytest.mark.parametrize("min_size_bytes", [128, 256, 512])
def test_random_data_comes_to_the_average_size(rng: random.Random, min_size_bytes: int) -> None:
    data = rng.randbytes(16 << 20)
    chunker = toeplitz(ToeplitzAesConfig(min_size_bytes, 1024, 4096))
    mean = len(data) / len(chunker.cut(data, final=True))
    assert mean == pytest.approx(1024, rel=0.06)


def test_the_defaults_come_to_their_average_size(rng: random.Random) -> None:
    data = rng.randbytes(64 << 20)
    mean = len(data) / len(toeplitz(ToeplitzAesConfig()).cut(data, final=True))
    assert mean == pytest.approx(512 << 10, rel=0.15)


def test_every_size_is_as_likely_as_the_documented_rules_make_it(rng: random.Random) -> None:
    """Between the minimum and the switch each position ends a chunk with chance 2^-12, behind it 2^-8."""
    data = rng.randbytes(32 << 20)
    sizes = [len(chunk) for chunk in chunks(toeplitz(), data)[:-1]]
    switch, strict, loose = 832, 2.0**-12, 2.0**-8
    expected_short = 1 - (1 - strict) ** (switch - 256)
    expected_forced = (1 - expected_short) * (1 - loose) ** (4096 - switch)
    short = sum(size < switch for size in sizes) / len(sizes)
    forced = sum(size == 4096 for size in sizes) / len(sizes)
    # Five standard deviations of a share among so many chunks.
    assert short == pytest.approx(expected_short, abs=5 * (expected_short / len(sizes)) ** 0.5)
    assert forced <= expected_forced + 5 * (expected_forced / len(sizes)) ** 0.5 + 1 / len(sizes)


def test_data_without_variety_is_cut_at_the_maximum() -> None:
    assert list(toeplitz().cut(bytes(10_000), final=True)) == [4096, 8192, 10_000]


@pytest.mark.parametrize("own_seed", range(3))
def test_two_symbols_are_variety_enough(own_seed: int) -> None:
    """Windows of two symbols in random order differ, so their ends are as random as any."""
    rng = random.Random(own_seed)
    data = bytes(rng.choices(rng.randbytes(2), k=4 << 20))
    mean = len(data) / len(toeplitz().cut(data, final=True))
    assert mean == pytest.approx(1024, rel=0.1)


def test_most_keys_cut_a_constant_run_at_the_maximum_and_all_keys_cut_it_evenly() -> None:
    """A run has one window and so one number: it ends a chunk at the minimum, at the switch, or never."""
    firsts = [toeplitz(key=bytes([n]) * 32).cut(bytes(9000), final=True)[0] for n in range(256)]
    assert set(firsts) <= {256, 832, 4096}
    assert firsts.count(4096) > 240


# The hash and its bound


def hashes(windows: list[bytes], table: np.ndarray[Any, Any]) -> list[tuple[int, ...]]:
    """The 128-bit hash behind each window, in two halves."""
    return [
        tuple(int(_numpy._hashes(np.frombuffer(window, np.uint8), table[:, half])[0]) for half in (0, 1))
        for window in windows
    ]


def difference(first: bytes, second: bytes) -> list[int]:
    """For each byte value the polynomial, bit i for x^i, by which the two hashes differ per table entry."""
    polynomials = [0] * 256
    for age, (one, other) in enumerate(zip(reversed(first), reversed(second), strict=True)):
        polynomials[one] ^= 1 << age
        polynomials[other] ^= 1 << age
    return polynomials


@given(first=st.binary(min_size=64, max_size=64), second=st.binary(min_size=64, max_size=64))
def test_hashes_of_two_windows_differ_by_a_polynomial_that_has_an_inverse(
    first: bytes, second: bytes
) -> None:
    """What the bound rests on: a nonzero polynomial of degree below 64 times a random field element.

    Such a product is uniformly random in each half, so two windows collide with chance 2^-128.
    """
    polynomials = difference(first, second)
    assert any(polynomials) == (first != second)
    assert max(polynomials) < 1 << 64
    table = rule_of(SMALL, KEY).table
    one, other = hashes([first, second], table)
    for half in (0, 1):
        predicted = 0
        for symbol, polynomial in enumerate(polynomials):
            predicted ^= product(polynomial, int(table[symbol][half]))
        assert one[half] ^ other[half] == predicted


MODULUS = 1 << 64 | 0b11011


def product(first: int, second: int, modulus: int = MODULUS) -> int:
    """In GF(2)[x] modulo a polynomial of degree 64; x^64 + x^4 + x^3 + x + 1 is ours."""
    result = 0
    for bit in range(63, -1, -1):
        result <<= 1
        result ^= modulus * (result >> 64)
        result ^= second * (first >> bit & 1)
    return result


def is_irreducible(modulus: int) -> bool:
    """Rabin's test for degree 64 = 2^6: x^(2^64) is x, and x^(2^32) - x has no factor of the modulus."""
    power = 2
    for _ in range(32):
        power = product(power, power, modulus)
    halfway = power
    for _ in range(32):
        power = product(power, power, modulus)
    return power == 2 and greatest_common_divisor(halfway ^ 2, modulus) == 1


def test_the_modulus_is_irreducible() -> None:
    assert is_irreducible(MODULUS)


@pytest.mark.parametrize("low", [0b1, 0b11, 0b1011, 0b1111])
def test_the_test_of_the_modulus_sees_a_reducible_one(low: int) -> None:
    """The control: such rings have factors of zero, x^64 + 1 most of all, which is what rotations use."""
    assert not is_irreducible(1 << 64 | low)


def greatest_common_divisor(first: int, second: int) -> int:
    """Of two polynomials over GF(2)."""
    while second:
        while first.bit_length() >= second.bit_length():
            first ^= second << (first.bit_length() - second.bit_length())
        first, second = second, first
    return first


def test_windows_that_other_rolling_hashes_confuse_are_told_apart() -> None:
    """Constant windows (rotations cancel), windows that differ in the oldest byte (gear forgets it), and
    windows with two bytes swapped."""
    base = bytes(range(64))
    windows = [bytes([value]) * 64 for value in range(256)]
    windows += [bytes([value]) + base[1:] for value in range(256)]
    windows += [base[:i] + base[i + 1 : i + 2] + base[i : i + 1] + base[i + 2 :] for i in range(63)]
    windows += [
        bytes(period) * (64 // len(period)) for period in ([0, 1], [1, 0], [0, 1, 1, 0], [1, 0, 0, 1])
    ]
    distinct = set(windows)
    found = hashes(sorted(distinct), rule_of(SMALL, KEY).table)
    for half in (0, 1):
        assert len({pair[half] for pair in found}) == len(distinct)


def test_changing_the_oldest_byte_changes_half_of_the_bits_on_average(rng: random.Random) -> None:
    changed = 0
    for _ in range(200):
        window = rng.randbytes(64)
        one, other = hashes(
            [window, bytes([window[0] ^ rng.randrange(1, 256)]) + window[1:]],
            rule_of(SMALL, rng.randbytes(32)).table,
        )
        changed += sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))
    assert changed / 200 == pytest.approx(64, abs=4)


# Configuration, key and documented values


@pytest.mark.parametrize(
    ("sizes", "wrong"),
    [
        ((63, 1024, 4096), "min_size_bytes = 63"),
        ((513, 1024, 4096), "min_size_bytes = 513"),
        ((256, 1000, 4096), "average_size_bytes = 1000"),
        ((256, 1024, 2047), "max_size_bytes = 2047"),
        ((256, 1024, (1 << 30) + 1), "max_size_bytes = 1073741825"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(sizes: tuple[int, int, int], wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"toeplitz-aes: {wrong}"):
        ToeplitzAesConfig(*sizes)


@pytest.mark.parametrize("size_bytes", [0, 16, 31, 33])
def test_a_key_of_another_size_is_refused(size_bytes: int) -> None:
    with pytest.raises(ConfigError, match=f"{size_bytes} bytes"):
        toeplitz(key=bytes(size_bytes))


def test_every_bit_of_the_key_changes_the_whole_table_and_the_aes_key() -> None:
    rule = rule_of(SMALL, KEY)
    assert len(set(rule.table.ravel().tolist())) == 512
    for bit in range(256):
        key = bytearray(KEY)
        key[bit // 8] ^= 1 << bit % 8
        other = rule_of(SMALL, bytes(key))
        assert (other.table != rule.table).all()
        assert other.aes_key != rule.aes_key


@pytest.mark.parametrize("symbol", [0, 1, 255])
def test_the_table_is_the_documented_one(symbol: int) -> None:
    low, high = (f"{half:016x}" for half in rule_of(SMALL, KEY).table[symbol].tolist())
    assert f"| `T[{symbol}]` | `{low}`, `{high}` |" in DOCUMENT


def test_the_aes_key_is_the_documented_one() -> None:
    assert f"| AES key | `{rule_of(SMALL, KEY).aes_key.hex()}` |" in DOCUMENT


@pytest.mark.parametrize("scan", [BUILT, _numpy.cut], ids=[toeplitz_module.IMPLEMENTATION, "fallback"])
@pytest.mark.parametrize(
    ("config", "size_bytes"), [(SMALL, 10_000), (ToeplitzAesConfig(), 8 << 20)], ids=["small", "default"]
)
def test_the_cuts_are_the_documented_ones(
    monkeypatch: pytest.MonkeyPatch, scan: Scan, config: ToeplitzAesConfig, size_bytes: int
) -> None:
    """A repository made by an earlier release must find its chunks again."""
    monkeypatch.setattr(toeplitz_module, "scan", scan)
    stream = hashlib.shake_256(b"bitbacker").digest(size_bytes)
    ends = ", ".join(map(str, toeplitz(config).cut(stream, final=True)))
    assert f"| `{ends}` |" in DOCUMENT


def test_the_hook_answers_to_its_own_name_only() -> None:
    assert bitbacker_chunker("toeplitz-aes") is ToeplitzAesChunker
    assert bitbacker_chunker("gear") is None


def test_the_host_finds_it_by_its_name() -> None:
    assert Host().chunker("toeplitz-aes") is ToeplitzAesChunker
