"""The two scans of the gear chunker are one function: that of docs/chunkers.md."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitbacker.testing.chunker import KINDS, made_stream
from bitbacker_plugins.gear import GearChunker, GearConfig, _numpy
from bitbacker_plugins.gear.rule import Rule, rule_of
from gil_hold import held_share

_scan = pytest.importorskip(
    "bitbacker_plugins.gear._scan", reason="the C extension was not built: the NumPy scan has no peer"
)

Scan = Callable[[Any, Rule, bool], list[int]]
scans = pytest.mark.parametrize("scan", [_scan.cut_gear, _numpy.cut], ids=["c", "numpy"])

KEY = bytes(range(32))
TABLE = rule_of(GearConfig(), KEY).table
SMALL = GearConfig(min_size_bytes=256, average_size_bytes=1024, max_size_bytes=4096)
LANE_BYTES = 2048
LANES_BYTES = 4 * LANE_BYTES

rules = st.builds(
    lambda loose, more, small, middle, large: Rule(
        TABLE,
        strict_bits=loose + more,
        loose_bits=loose,
        min_size_bytes=small,
        switch_size_bytes=small + middle,
        max_size_bytes=small + middle + large,
    ),
    loose=st.integers(1, 16),
    more=st.integers(0, 8),
    small=st.integers(64, 3000),
    middle=st.integers(0, 20_000),
    large=st.integers(0, 20_000),
)


def by_the_book(data: bytes, rule: Rule, *, final: bool) -> list[int]:
    """The rules of docs/chunkers.md, word for word, for streams of some KiB."""
    table = [int(number) for number in rule.table]
    ends: list[int] = []
    start = 0
    while start < len(data):
        size = 1
        while True:
            if size == rule.max_size_bytes:
                break
            if start + size == len(data):
                if final:
                    break
                return ends
            if size >= rule.min_size_bytes:
                window = data[start + size - 64 : start + size]
                total = sum(table[byte] << age for age, byte in enumerate(reversed(window))) % 2**64
                bits = rule.strict_bits if size < rule.switch_size_bytes else rule.loose_bits
                if total < 2 ** (64 - bits):
                    break
            size += 1
        start += size
        ends.append(start)
    return ends


@settings(max_examples=40)
@given(
    rule=st.builds(
        lambda loose, small, middle, large: Rule(
            TABLE, loose + 2, loose, small, small + middle, small + middle + large
        ),
        *(st.integers(1, 9), st.integers(64, 200), st.integers(0, 300), st.integers(0, 300)),
    ),
    kind=st.sampled_from(KINDS),
    own_seed=st.integers(0, 2**32),
    size=st.integers(0, 1500),
    final=st.booleans(),
)
def test_both_scans_follow_the_book(rule: Rule, kind: str, own_seed: int, size: int, final: bool) -> None:
    data = made_stream(kind, own_seed, size)
    expected = by_the_book(data, rule, final=final)
    assert _numpy.cut(data, rule, final) == expected
    assert _scan.cut_gear(data, rule, final) == expected


@settings(max_examples=150)
@given(
    rule=rules,
    kind=st.sampled_from(KINDS),
    own_seed=st.integers(0, 2**32),
    size=st.integers(0, 100_000),
    final=st.booleans(),
)
def test_both_scans_agree_on_any_data_under_any_rule(
    rule: Rule, kind: str, own_seed: int, size: int, final: bool
) -> None:
    data = made_stream(kind, own_seed, size)
    assert _scan.cut_gear(data, rule, final) == _numpy.cut(data, rule, final)


@pytest.mark.parametrize("config", [SMALL, GearConfig()], ids=["small", "default"])
def test_both_scans_agree_around_every_size_that_matters(rng: random.Random, config: GearConfig) -> None:
    rule = rule_of(config, KEY)
    data = bytearray(rng.randbytes(rule.max_size_bytes + 200))
    edges = (1, 64, rule.min_size_bytes, rule.switch_size_bytes, rule.max_size_bytes)
    for size in (edge + step for edge in edges for step in (-1, 0, 1)):
        for final in (False, True):
            view = memoryview(data)[:size]
            assert _scan.cut_gear(view, rule, final) == _numpy.cut(view, rule, final), (size, final)


@pytest.mark.parametrize(
    "make",
    [
        lambda _, size: bytes(size),
        lambda _, size: b"\xff" * size,
        lambda rng, size: bytes(rng.choices(b"ab", k=size)),
        lambda rng, size: rng.randbytes(64) * (size // 64),
        lambda rng, size: rng.randbytes(2048) * (size // 2048),
        lambda rng, size: rng.randbytes(1) * (size // 2) + rng.randbytes(size // 2),
    ],
    ids=["zeros", "ones", "two symbols", "period 64", "period of a lane", "half of it random"],
)
def test_both_scans_agree_on_megabytes_of_hard_data(
    rng: random.Random, make: Callable[[random.Random, int], bytes]
) -> None:
    data = make(rng, 6 << 20)
    for config in (GearConfig(), SMALL):
        rule = rule_of(config, KEY)
        assert _scan.cut_gear(data, rule, True) == _numpy.cut(data, rule, True)


def matching_window(rule: Rule) -> bytes:
    """64 bytes whose hash qualifies as a strict end."""
    data = made_stream("random", 1, 4 << 20)
    rule = rule._replace(min_size_bytes=64, switch_size_bytes=len(data), max_size_bytes=len(data))
    end = _numpy.cut(data, rule, True)[0]
    assert end < len(data)
    return data[end - 64 : end]


ROOMY = rule_of(GearConfig(1024, 65_536, 131_072), KEY)
WINDOW = matching_window(ROOMY)


@scans
@pytest.mark.parametrize(
    "place",
    [
        *(ROOMY.min_size_bytes + step for step in (0, 1, 63, 64, 65)),
        *(ROOMY.min_size_bytes + lane * LANE_BYTES + step for lane in range(1, 6) for step in (-1, 0, 1, 62)),
        *(ROOMY.switch_size_bytes + step for step in (-LANES_BYTES, -64, -1, 0, 1, 63, LANES_BYTES)),
        ROOMY.max_size_bytes - 1,
    ],
)
def test_the_one_match_is_found_wherever_it_is(scan: Scan, place: int) -> None:
    data = bytearray(ROOMY.max_size_bytes)
    data[place - 64 : place] = WINDOW
    assert scan(data, ROOMY, True) == [place, len(data)]


@scans
@pytest.mark.parametrize("place", [64, ROOMY.min_size_bytes - 1, ROOMY.max_size_bytes])
def test_a_match_before_the_minimum_or_at_the_maximum_changes_nothing(scan: Scan, place: int) -> None:
    data = bytearray(ROOMY.max_size_bytes + 9)
    data[place - 64 : place] = WINDOW
    assert scan(data, ROOMY, True) == [ROOMY.max_size_bytes, len(data)]


def test_the_earlier_of_two_matches_wins_across_lanes() -> None:
    data = bytearray(ROOMY.max_size_bytes)
    first, second = ROOMY.min_size_bytes + LANE_BYTES + 900, ROOMY.min_size_bytes + 2 * LANE_BYTES + 5
    data[second - 64 : second] = WINDOW
    data[first - 64 : first] = WINDOW
    assert _scan.cut_gear(data, ROOMY, True)[0] == first


@scans
def test_a_buffer_with_holes_is_refused(scan: Scan) -> None:
    with pytest.raises(BufferError):
        scan(memoryview(bytes(10_000))[::2], ROOMY, True)


@scans
def test_a_view_of_wider_items_is_read_as_bytes(scan: Scan) -> None:
    data = made_stream("random", 8, 8000)
    rule = rule_of(SMALL, KEY)
    assert scan(memoryview(data).cast("Q"), rule, True) == scan(data, rule, True)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"table": TABLE[:255]}, "table"),
        ({"table": np.zeros(257, np.uint64)}, "table"),
        ({"loose_bits": 0}, "bits"),
        ({"loose_bits": -1}, "bits"),
        ({"strict_bits": 64}, "bits"),
        ({"strict_bits": 3, "loose_bits": 4}, "bits"),
        ({"min_size_bytes": 63}, "sizes"),
        ({"min_size_bytes": -64}, "sizes"),
        ({"switch_size_bytes": 255}, "sizes"),
        ({"max_size_bytes": 256}, "sizes"),
    ],
)
def test_the_c_scan_refuses_a_rule_that_would_leave_its_bounds(changes: dict[str, Any], wrong: str) -> None:
    rule = rule_of(SMALL, KEY)._replace(**changes)
    with pytest.raises(ValueError, match=wrong):
        _scan.cut_gear(bytes(5000), rule, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"data",),
        ("text", ROOMY, True),
        (None, ROOMY, True),
        (b"data", None, True),
        (b"data", (), True),
        (b"data", ROOMY[:5], True),
        (b"data", (TABLE, 20, 16, 64.5, 100, 200), True),
        (b"data", (None, *ROOMY[1:]), True),
        (b"data", ROOMY, True, True),
    ],
)
def test_the_c_scan_refuses_arguments_of_other_types(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        _scan.cut_gear(*arguments)


def test_the_c_scan_refuses_numbers_that_do_not_fit() -> None:
    with pytest.raises(OverflowError):
        _scan.cut_gear(b"data", ROOMY._replace(max_size_bytes=1 << 64), True)


@pytest.mark.parametrize(
    "rule", [ROOMY._replace(strict_bits=99), (TABLE, 20, 16, 64.5, 100, 200)], ids=["bits", "types"]
)
def test_the_c_scan_lets_go_of_its_buffers_after_an_error(rule: Any) -> None:
    data = bytearray(5000)
    with pytest.raises((ValueError, TypeError)):
        _scan.cut_gear(data, rule, True)
    data.clear()


def test_the_c_scan_leaves_the_gil() -> None:
    data = bytes(256 << 20)
    chunker = GearChunker(GearConfig(), KEY)
    assert chunker.implementation == "c"
    assert held_share(lambda: chunker.cut(data, final=True)) < 0.5
