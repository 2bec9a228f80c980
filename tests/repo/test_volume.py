"""How volumes are rounded up: Padmé, buckets, and the segments that a bucket has."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitbacker.format.names import LARGE_SEGMENT_SIZE_BYTES, SMALL_SEGMENT_SIZE_BYTES
from bitbacker.repo.volume import FLOOR_BYTES, Padding, Volume, padme, volume_of

KIB = 1024
MIB = KIB * KIB
GIB = KIB * MIB
SIZES = st.integers(0, 62).flatmap(lambda bits: st.integers(0, 2**bits))
PADDINGS = st.builds(
    Padding, st.sampled_from(("padme", "none")), st.one_of(st.just(FLOOR_BYTES), st.integers(0, 64 * MIB))
)
ODD_FLOOR = Padding(floor_bytes=16 * MIB + 256 * KIB)


def padme_of_the_paper(size: int) -> int:
    """As PURBs has it, in floating point; exact for sizes that are small enough."""
    exponent = math.floor(math.log2(size))
    kept = math.floor(math.log2(exponent)) + 1
    mask = (1 << max(0, exponent - kept)) - 1
    return (size + mask) & ~mask


@pytest.mark.parametrize(
    ("size", "padded"),
    [(0, 0), (1, 1), (2, 2), (9, 10), (100, 104), (1000, 1024), (1025, 1088), (10**6, 1_015_808), (GIB, GIB)],
)
def test_padme_of_some_sizes(size: int, padded: int) -> None:
    assert padme(size) == padded


@given(st.integers(2, 2**40))
def test_padme_is_that_of_the_paper(size: int) -> None:
    assert padme(size) == padme_of_the_paper(size)


@given(SIZES)
def test_padme_adds_at_most_twelve_percent(size: int) -> None:
    assert size <= padme(size) <= size * 1.12


@given(st.integers(GIB, 2**62))
@example(GIB + 1)
def test_padme_adds_at_most_a_thirtieth_from_a_gigabyte_on(size: int) -> None:
    assert padme(size) <= size * 1.032


@given(SIZES, SIZES)
def test_padme_is_monotonous_and_leaves_what_it_has_padded(first: int, second: int) -> None:
    assert padme(min(first, second)) <= padme(max(first, second))
    assert padme(padme(first)) == padme(first)


@given(PADDINGS, SIZES, SIZES)
@example(ODD_FLOOR, 0, 16 * MIB + 1)
def test_a_bucket_holds_what_is_needed_and_more_never_needs_less(
    padding: Padding, first: int, second: int
) -> None:
    assert padding.bucket(first) >= max(first, SMALL_SEGMENT_SIZE_BYTES)
    assert padding.bucket(min(first, second)) <= padding.bucket(max(first, second))


@given(PADDINGS, SIZES, SIZES)
@example(ODD_FLOOR, 0, 0)
def test_a_bucket_is_the_smallest_bucket_for_itself(padding: Padding, needed: int, other: int) -> None:
    bucket = padding.bucket(needed)
    assert padding.at_least(bucket) == bucket
    between = padding.bucket(other)
    if between < bucket:
        assert padding.at_least(between + 1) <= bucket


def test_the_control_a_floor_that_padme_would_round_up_is_a_bucket_all_the_same() -> None:
    floor = ODD_FLOOR.bucket(0)
    assert floor == 16 * MIB + 256 * KIB < ODD_FLOOR.bucket(floor)
    assert ODD_FLOOR.at_least(floor) == floor


@given(st.integers(0, 64 * MIB), SIZES)
def test_the_formula(floor: int, needed: int) -> None:
    def in_segments(size: int) -> int:
        return -(-size // (256 * KIB)) * 256 * KIB

    expected = max(256 * KIB, in_segments(max(floor, padme(needed))))
    assert Padding("padme", floor).bucket(needed) == expected
    assert Padding("none", floor).bucket(needed) == max(256 * KIB, in_segments(needed))


@given(SIZES)
def test_overhead_is_bounded_above_the_floor(needed: int) -> None:
    assert Padding().bucket(needed) <= needed * 1.12 + 256 * KIB
    if needed >= GIB:
        assert Padding().bucket(needed) <= needed * 1.032


@given(PADDINGS, SIZES)
def test_the_volume_of_a_bucket_is_exact(padding: Padding, needed: int) -> None:
    bucket = padding.bucket(needed)
    volume = volume_of(bucket)
    assert volume.size_bytes == bucket
    assert 0 <= volume.small < LARGE_SEGMENT_SIZE_BYTES // SMALL_SEGMENT_SIZE_BYTES
    assert volume_of(volume.size_bytes) == volume


def test_the_volumes_of_some_buckets() -> None:
    sizes = (256 * KIB, 4 * MIB - 256 * KIB, 4 * MIB, 4 * MIB + 512 * KIB)
    assert [volume_of(size) for size in sizes] == [Volume(0, 1), Volume(0, 15), Volume(1, 0), Volume(1, 2)]


@pytest.mark.parametrize(
    ("low", "high", "buckets"), [(1, 256 * KIB, 1), (1, MIB, 4), (8 * MIB, 64 * MIB, 97), (GIB, 2 * GIB, 33)]
)
def test_a_session_tells_one_of_few_buckets(low: int, high: int, buckets: int) -> None:
    padding, found, needed = Padding(), set(), low
    while needed <= high:
        found.add(padding.bucket(needed))
        needed = padding.bucket(needed) + 1
    assert len(found) == buckets


def test_the_control_without_padding_the_same_sizes_are_told_apart() -> None:
    sizes = [GIB + step * 256 * KIB for step in range(1, 120)]
    assert len({Padding().bucket(size) for size in sizes}) == 1
    assert len({Padding("none").bucket(size) for size in sizes}) == len(sizes)


@given(SIZES)
def test_only_padded_sessions_store_blindly_up_to_the_floor(floor: int) -> None:
    assert Padding("padme", floor).blind_bytes == floor
    assert Padding("none", floor).blind_bytes == 0
