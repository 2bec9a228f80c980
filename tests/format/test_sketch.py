"""Sketches: sets as tables that add, fold and peel, and differences that are right or none."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitbacker.errors import FormatError
from bitbacker.format import sketch as module
from bitbacker.format.sketch import (
    CELL_SIZE_BYTES,
    PART_CELLS,
    RUNG_PART_CELLS,
    Difference,
    Fingerprints,
    SetDigest,
    Sketch,
    decode_list,
    decode_sketch,
    difference,
    difference_of_lists,
    encode_list,
)

MASK = 2**64 - 1
# Ends of the range, ends of the slices, and anything; no size of a set is out of reach of a table of 26.
numbers = st.one_of(
    st.sampled_from([0, 1, 2**21 - 1, 2**21, 2**42, 2**63, MASK]), st.integers(min_value=0, max_value=MASK)
)
sets = st.sets(numbers, max_size=60)
sizes = st.sampled_from([1, 2, 13, 26, 104])


def array(values: object) -> Fingerprints:
    return np.array(list(values), dtype=np.uint64)  # type: ignore[call-overload]  # any iterable of int


def plain(result: Difference | None) -> tuple[list[int], list[int]] | None:
    return None if result is None else (result.local_only.tolist(), result.remote_only.tolist())


def mix(value: int) -> int:
    """splitmix64, as its authors wrote it."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def in_plain_words(values: set[int], part_cells: int) -> bytes:
    """The encoded sketch, made without NumPy."""
    sums, checks = [0] * 3 * part_cells, [0] * 3 * part_cells
    for value in values:
        for part in range(3):
            cell = part * part_cells + ((value >> 21 * part) % 2**21 * part_cells >> 21)
            sums[cell] ^= value
            checks[cell] ^= mix(value) >> 32
    return struct.pack(f"<{len(sums)}Q{len(checks)}I", *sums, *checks)


def test_mixing_is_splitmix64() -> None:
    assert (mix(0), mix(1234567)) == (0xE220A8397B1DCDAF, 6457827717110365317)
    assert module._mix(array([0, 1234567, MASK])).tolist() == [mix(0), mix(1234567), mix(MASK)]


def test_sizes_are_those_of_the_format() -> None:
    assert len(Sketch.empty(PART_CELLS).encode()) == 3 * PART_CELLS * CELL_SIZE_BYTES == 59_904
    assert len(Sketch.empty(RUNG_PART_CELLS).encode()) == 1_048_320


@given(sets, sizes)
def test_a_sketch_is_what_the_format_says(values: set[int], part_cells: int) -> None:
    assert in_plain_words(values, part_cells) == Sketch.of(array(values), part_cells).encode()


@given(sets, sizes)
def test_a_sketch_comes_back_from_its_bytes(values: set[int], part_cells: int) -> None:
    data = Sketch.of(array(values), part_cells).encode()
    assert data == decode_sketch(memoryview(data), part_cells).encode()


@pytest.mark.parametrize("size", [0, 13 * 36 - 1, 13 * 36 + 1, 26 * 36])
def test_a_sketch_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        decode_sketch(bytes(size), 13)


@given(sets, sets, sizes)
def test_sketches_add_like_sets(one: set[int], other: set[int], part_cells: int) -> None:
    first, second = (Sketch.of(array(values), part_cells) for values in (one, other))
    either = Sketch.of(array(one ^ other), part_cells).encode()
    assert either == (first ^ second).encode() == (second ^ first).encode()
    assert either == first.toggled(array(other)).encode()
    assert first.encode() == first.toggled(array(other)).toggled(array(other)).encode()
    assert Sketch.empty(part_cells).encode() == (first ^ first).encode()
    assert in_plain_words(one, part_cells) == first.encode(), "an operand was changed"


def test_many_fingerprints_go_in_piece_by_piece(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**64, 200_000, dtype=np.uint64)
    parts = [Sketch.of(part, 416) for part in np.array_split(values, 7)]
    combined = Sketch.empty(416)
    for part in parts:
        combined = combined ^ part
    assert combined.encode() == Sketch.of(values, 416).encode()
    assert SetDigest.of(values) == SetDigest.of(values[:90_000]).plus(values[90_000:])


def test_sketches_of_two_sizes_do_not_add() -> None:
    with pytest.raises(ValueError, match="13 cells a part"):
        Sketch.empty(13) ^ Sketch.empty(26)


@given(sets, st.integers(0, 7))
def test_a_folded_sketch_is_the_sketch_of_the_set(values: set[int], halvings: int) -> None:
    part_cells = PART_CELLS >> halvings
    folded = Sketch.of(array(values), PART_CELLS).folded(part_cells)
    assert Sketch.of(array(values), part_cells).encode() == folded.encode()


@pytest.mark.parametrize("part_cells", [0, 6, 12, 27, 2 * PART_CELLS, PART_CELLS // 3])
def test_a_sketch_folds_by_halves_only(part_cells: int) -> None:
    with pytest.raises(ValueError, match="do not fold"):
        Sketch.empty(PART_CELLS).folded(part_cells)


@settings(max_examples=40)
@given(sets, st.sampled_from([PART_CELLS, RUNG_PART_CELLS]))
def test_a_large_sketch_gives_its_set_back(values: set[int], part_cells: int) -> None:
    peeled = Sketch.of(array(values), part_cells).peel()
    # Two of these sixty may share all three cells when Hypothesis aims at that.
    assume(peeled is not None)
    assert sorted(values) == np.asarray(peeled).tolist()


@pytest.mark.parametrize(("part_cells", "count"), [(PART_CELLS, 3500), (RUNG_PART_CELLS, 60_000)])
def test_a_sketch_gives_back_what_it_is_made_for(part_cells: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # One in a thousand sets of this size holds two that share all cells; three in a row do not.
    draws = [np.unique(rng.integers(0, 2**64, count, dtype=np.uint64)) for _ in range(3)]
    peeled = [(Sketch.of(values, part_cells).peel(), values) for values in draws]
    assert any(found is not None for found, _ in peeled)
    assert all(found is None or np.array_equal(found, values) for found, values in peeled)


@pytest.mark.parametrize("count", [5500, 20_000, 100_000])
def test_an_overloaded_sketch_gives_nothing(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)
    assert Sketch.of(values, PART_CELLS).peel() is None


def test_peeling_ends_where_a_fingerprint_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands alone in one cell, so it is taken out of three, which puts it into the two others."""
    rounds, singles = [], module._singles

    def counted(sketch: Sketch, cells: module.Cells) -> Fingerprints:
        rounds.append(len(cells))
        return singles(sketch, cells)

    monkeypatch.setattr(module, "_singles", counted)
    whole = Sketch.of(array([MASK // 3]), 13)
    torn = Sketch(13, *(np.where(np.arange(39) < 13, cells, 0) for cells in (whole.sums, whole.checks)))
    assert torn.peel() is None
    assert 39 < len(rounds) <= 41


@settings(max_examples=200)
@given(st.binary(min_size=3 * 4 * CELL_SIZE_BYTES, max_size=3 * 4 * CELL_SIZE_BYTES))
def test_any_bytes_peel_to_themselves_or_to_nothing(data: bytes) -> None:
    """Peeling ends, and what it gives has this very sketch."""
    peeled = decode_sketch(data, 4).peel()
    assert peeled is None or Sketch.of(peeled, 4).encode() == data


@given(sets, sets, sizes)
def test_a_difference_is_that_of_the_sets_or_none(local: set[int], remote: set[int], part_cells: int) -> None:
    sketch, digest = Sketch.of(array(remote), part_cells), SetDigest.of(array(remote))
    expected = sorted(local - remote), sorted(remote - local)
    assert plain(difference(sketch, digest, array(local))) in (None, expected)
    assert expected == plain(difference_of_lists(array(sorted(remote)), array(local)))


@given(sets, st.sets(numbers, max_size=2))
def test_few_differences_are_found_between_sets_of_any_size(common: set[int], changed: set[int]) -> None:
    local, remote = common | changed, common - changed
    sketch, digest = Sketch.of(array(remote), PART_CELLS), SetDigest.of(array(remote))
    found = plain(difference(sketch, digest, array(local)))
    if len(changed) < 2 or found is not None:
        assert (sorted(changed), []) == found


@pytest.mark.parametrize("count", [0, 1, 500])
def test_one_side_may_be_empty(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)
    full, nothing = (Sketch.of(side, PART_CELLS) for side in (values, array([])))
    assert ([], np.sort(values).tolist()) == plain(difference(full, SetDigest.of(values), array([])))
    assert (np.sort(values).tolist(), []) == plain(difference(nothing, SetDigest.of(array([])), values))


@given(sets, sets)
def test_digests_add_like_sets(one: set[int], other: set[int]) -> None:
    whole = SetDigest.of(array(one | other))
    assert whole == SetDigest.of(array(one)).plus(array(other - one))
    assert SetDigest.of(array(one)) == whole.minus(array(other - one))
    assert (len(one), sum(one) & MASK, sum(map(mix, one)) & MASK) == tuple(
        getattr(SetDigest.of(array(one)), name) for name in SetDigest.__slots__
    )


# Sets that are made to mislead.


def test_three_that_cancel_in_every_cell_are_not_taken_for_none() -> None:
    """Their sums vanish from a table where they share all cells; their checks do not."""
    values = array([5, 6, 5 ^ 6])
    sketch = Sketch.of(values, PART_CELLS)
    assert not sketch.sums.any()
    assert sketch.peel() is None


def test_two_are_not_taken_for_their_sum() -> None:
    values = array([5, 6])
    assert set(Sketch.of(values, PART_CELLS).sums.tolist()) == {0, 5 ^ 6}
    assert Sketch.of(values, PART_CELLS).peel() is None


def test_zero_is_a_fingerprint_like_any_other() -> None:
    zero, nothing = array([0]), array([])
    assert Sketch.of(zero, 13).peel().tolist() == [0]  # type: ignore[union-attr]  # it does peel
    assert ([0], []) == plain(difference(Sketch.of(nothing, 13), SetDigest.of(nothing), zero))


def unseen(seed: int) -> Fingerprints:
    """A set whose sketch of one cell a part is empty: among 97 vectors of 96 bits some add up to zero."""
    rng = np.random.default_rng(seed)
    basis: dict[int, tuple[int, frozenset[int]]] = {}
    while True:
        value = int(rng.integers(0, 2**64, dtype=np.uint64))
        vector, members = value << 32 | mix(value) >> 32, frozenset([value])
        while vector and vector.bit_length() in basis:
            other, others = basis[vector.bit_length()]
            vector, members = vector ^ other, members ^ others
        if not vector:
            return array(members)
        basis[vector.bit_length()] = vector, members


def test_the_digest_sees_a_set_that_the_sketch_does_not(seed: int) -> None:
    """The control of the digest: here peeling alone would say that nothing differs."""
    values = unseen(seed)
    sketch = Sketch.of(values, 1)
    assert sketch.peel().tolist() == []  # type: ignore[union-attr]  # it does peel
    assert difference(sketch, SetDigest.of(values), array([])) is None
    assert difference(Sketch.empty(1), SetDigest.of(array([])), values) is None


def take_any_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that takes a cell of several for a cell of one."""

    def singles(sketch: Sketch, cells: module.Cells) -> Fingerprints:
        return np.setdiff1d(sketch.sums[cells], array([0]))[:1]

    def no_checks(fingerprints: Fingerprints) -> module.Checks:
        return np.zeros(len(fingerprints), np.uint32)

    monkeypatch.setattr(module, "_singles", singles)
    monkeypatch.setattr(module, "_checks", no_checks)


def test_the_digest_sees_what_a_decoder_without_checks_makes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    take_any_cell(monkeypatch)
    values = array([5, 6])
    sketch = Sketch.of(values, PART_CELLS)
    assert sketch.peel().tolist() == [5 ^ 6]  # type: ignore[union-attr]  # the fault of this decoder
    assert difference(sketch, SetDigest.of(values), array([])) is None


@given(sets, st.integers(0, 3 * 104 - 1), st.integers(0, 95))
def test_a_manipulated_sketch_gives_no_difference(remote: set[int], cell: int, bit: int) -> None:
    whole = Sketch.of(array(remote), 104)
    sums, checks = whole.sums.copy(), whole.checks.copy()
    if bit < 64:
        sums[cell] ^= np.uint64(1 << bit)
    else:
        checks[cell] ^= np.uint32(1 << (bit - 64))
    assert difference(Sketch(104, sums, checks), SetDigest.of(array(remote)), array(remote)) is None


@given(sets, sets, numbers)
def test_a_sketch_of_another_set_gives_no_difference(remote: set[int], local: set[int], more: int) -> None:
    """It peels, and only the digest tells."""
    other = Sketch.of(array(remote ^ {more}), PART_CELLS)
    assert difference(other, SetDigest.of(array(remote)), array(local)) is None


several = st.lists(st.sampled_from([3, 4, 5 << 21, 6 << 42, MASK]), max_size=8)


@given(several, several)
def test_a_difference_holds_for_fingerprints_that_occur_twice(local: list[int], remote: list[int]) -> None:
    """Whoever drops all entries of `remote_only` and adds those of `local_only` has what is there."""
    sketch, digest = Sketch.of(array(remote), PART_CELLS), SetDigest.of(array(remote))
    results = [difference(sketch, digest, array(local))]
    exact = difference_of_lists(array(sorted(remote)), array(local))
    for result in [exact, *filter(None, results)]:
        dropped, added = set(result.remote_only.tolist()), set(result.local_only.tolist())
        kept = Counter(value for value in remote if value not in dropped)
        assert Counter(local) == kept + Counter(value for value in local if value in added)
        assert [sorted(added), sorted(dropped)] == [result.local_only.tolist(), result.remote_only.tolist()]
    changed = {value for value in {*local, *remote} if local.count(value) != remote.count(value)}
    assert changed == {*exact.local_only.tolist(), *exact.remote_only.tolist()}


# Lists.


@given(st.lists(numbers, max_size=40).map(sorted))
def test_a_list_comes_back_from_its_bytes(values: list[int]) -> None:
    data = encode_list(array(values))
    assert values == decode_list(memoryview(data)).tolist()
    assert len(data) == 8 + 8 * len(values)


def test_the_planes_of_a_list_start_with_the_low_bytes() -> None:
    data = encode_list(array([0x0102, 0x0305]))
    assert bytes([2, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x03, 0x01, 0x02]) + bytes(12) == data


def test_a_list_that_does_not_ascend_is_not_written() -> None:
    with pytest.raises(ValueError, match="ascend"):
        encode_list(array([2, 1]))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(7), id="half a count"),
        pytest.param(bytes(9), id="a byte too many"),
        pytest.param((1).to_bytes(8, "little") + bytes(7), id="a byte too few"),
        pytest.param((2).to_bytes(8, "little") + bytes(8), id="fewer than it says"),
        pytest.param((2**61).to_bytes(8, "little"), id="a count whose size is 2^64"),
        pytest.param(MASK.to_bytes(8, "little") + bytes(16), id="fingerprints without end"),
        pytest.param((2).to_bytes(8, "little") + b"\xff\x01" + b"\xff\0" * 7, id="it runs over"),
    ],
)
def test_a_malformed_list_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_list(data)


@given(st.binary(max_size=100))
def test_what_is_taken_as_a_list_is_a_list(data: bytes) -> None:
    try:
        values = decode_list(data)
    except FormatError:
        return
    assert data == encode_list(values)
