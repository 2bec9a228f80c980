"""Where chunks lie: against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.format.block import BlockRef
from bitbacker.repo.index import UNKNOWN, ChunkIndex, as_ids, by_segments, find, halves, order_of
from bitbacker.repo.known import PlacedChunks, SeenChunks

# Few distinct halves, so that ids often share one.
halves_of_ids = st.sampled_from([b"\0" * 8, b"\0" * 7 + b"\1", b"\x80" + b"\0" * 7, b"\xff" * 8, b"abcdefgh"])
ids = st.one_of(st.binary(min_size=16, max_size=16), st.tuples(halves_of_ids, halves_of_ids).map(b"".join))


@given(stored=st.lists(ids, unique=True), wanted=st.lists(ids))
def test_an_id_is_found_exactly_where_it_is(stored: list[bytes], wanted: list[bytes]) -> None:
    ordered = sorted(stored)
    at = find(*halves(as_ids(b"".join(ordered))), *halves(as_ids(b"".join(wanted))))
    expected = [ordered.index(identity) if identity in ordered else -1 for identity in wanted]
    assert expected == at.tolist()


@given(stored=st.lists(ids))
def test_ids_sort_as_their_bytes_do(stored: list[bytes]) -> None:
    order = order_of(*halves(as_ids(b"".join(stored))))
    assert sorted(stored) == [stored[position] for position in order.tolist()]


sessions = st.lists(st.lists(ids, unique=True, min_size=1), max_size=4)


@given(written=sessions, wanted=st.lists(ids, min_size=1))
def test_the_newest_place_of_a_chunk_is_the_one_that_counts(
    written: list[list[bytes]], wanted: list[bytes]
) -> None:
    tables = []
    expected: dict[bytes, tuple[bytes, int, int, int]] = {}
    for number, identities in enumerate(written):
        placed = PlacedChunks()
        for at, identity in enumerate(identities):
            segment = bytes([number, at % 3] * 8)
            placed.add(BlockRef(segment, at, 10), identity, (at + 1,))
            expected[identity] = (segment, at, 0, at + 1)
        table = placed.table()
        assert table is not None
        tables.append(table)
    index = ChunkIndex(tables)
    rows = index.locate(b"".join(wanted))
    for identity, row in zip(wanted, rows, strict=True):
        if row["segment"] == UNKNOWN:
            assert identity not in expected
        else:
            place = (
                index.segments[row["segment"]],
                *(int(row[name]) for name in ("block", "offset", "size")),
            )
            assert expected[identity] == place


def test_chunks_of_a_block_follow_each_other() -> None:
    placed = PlacedChunks()
    first, second, third = (bytes([number]) * 16 for number in (3, 1, 2))
    placed.add(BlockRef(b"s" * 16, 7, 60), first + second + third, (10, 20, 30))
    table = placed.table()
    assert table is not None
    places = dict(
        zip(table.high.tolist(), table.locations[["block", "offset", "size"]].tolist(), strict=True)
    )
    high = [int.from_bytes(identity[:8], "big") for identity in (first, second, third)]
    assert [(7, 0, 10), (7, 10, 20), (7, 30, 30)] == [places[number] for number in high]


@given(batches=st.lists(st.lists(ids, min_size=1, max_size=20), max_size=10))
def test_seen_chunks_are_a_set(batches: list[list[bytes]]) -> None:
    seen = SeenChunks(recent_max=5)
    expected: set[bytes] = set()
    for batch in batches:
        known = seen.known(batch)
        assert [identity in expected for identity in batch] == known.tolist()
        for position in np.flatnonzero(~known):
            assert (batch[position] not in expected) == seen.add_new(batch[position])
            expected.add(batch[position])
        seen.settle()


@given(written=st.lists(ids, unique=True, min_size=1, max_size=30), segments_max=st.integers(1, 5))
def test_an_index_in_several_tables_finds_what_one_table_finds(
    written: list[bytes], segments_max: int
) -> None:
    placed = PlacedChunks()
    for number, identity in enumerate(written):
        placed.add(BlockRef(bytes([number % 7] * 16), number, 10), identity, (number + 1,))
    table = placed.table()
    assert table is not None
    whole, divided = ChunkIndex([table]), ChunkIndex(by_segments(table, segments_max))
    for identity in written:
        one, other = whole.locate(identity)[0], divided.locate(identity)[0]
        assert whole.segments[one["segment"]] == divided.segments[other["segment"]]
        assert one[["block", "offset", "size"]] == other[["block", "offset", "size"]]
