"""What the vectors hold of fingerprints is what the document says, reckoned twice."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import zstandard

from bitbacker.format import names
from bitbacker.format.block import BlockRef, unpack
from bitbacker.format.entries import EntryPage, decode_page
from bitbacker.format.head import decode_head, encode_head
from bitbacker.format.root import RUNG_LIST, RUNG_SKETCH, TableRef, decode_root
from bitbacker.format.segment import read_contents, stored_part
from bitbacker.format.sketch import SetDigest, Sketch, decode_list, decode_sketch, encode_list
from vectors.generators import sketching
from vectors.generators.builder import OVERHEAD_BYTES, Builder, derived
from vectors.generators.entry import fingerprint
from vectors.generators.faults import SpoiledObjects
from vectors.generators.repositories import Told, Tree, deltas, everything


def array(found: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(found, dtype=np.uint64)


def made_up(count: int) -> list[int]:
    return list(struct.unpack(f"<{count}Q", derived("a set of fingerprints", 8 * count)))


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
@pytest.mark.parametrize("part_cells", [13, 416, 1664, 29_120])
def test_both_make_the_same_sketch(count: int, part_cells: int) -> None:
    found = made_up(count)
    assert sketching.sketch(found, part_cells) == Sketch.of(array(found), part_cells).encode()


def test_a_folded_sketch_is_that_of_fewer_cells() -> None:
    found = made_up(1000)
    whole = decode_sketch(sketching.sketch(found, 1664), 1664)
    for part_cells in (832, 416, 208, 13):
        assert whole.folded(part_cells).encode() == sketching.sketch(found, part_cells)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_both_make_the_same_digest(count: int) -> None:
    found = made_up(count)
    known = SetDigest.of(array(found))
    assert sketching.digest(found) == struct.pack("<3Q", known.count, known.total, known.mixed)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_both_make_the_same_list(count: int) -> None:
    found = made_up(count)
    assert sketching.fingerprint_list(found) == encode_list(np.sort(array(found)))


@pytest.mark.parametrize(
    ("tips", "part_cells"), [(0, 0), (1, 1664), (2, 832), (3, 416), (4, 416), (5, 208), (16, 104)]
)
def test_tips_share_the_room_by_halves(tips: int, part_cells: int) -> None:
    assert sketching.cells_of_each(tips) == part_cells


def block(builder: Builder, ref: BlockRef) -> bytes:
    plaintext = builder.plaintexts[names.segment_name(ref.segment)]
    info = read_contents(plaintext)[ref.number]
    return bytes(unpack(info, stored_part(plaintext, info), zstandard.ZstdDecompressor()))


def pages(builder: Builder, table: TableRef) -> Iterator[EntryPage]:
    for page in decode_root(block(builder, table.root)).pages:
        yield decode_page(block(builder, page.block))


def by_the_rule(builder: Builder, tables: Sequence[TableRef]) -> Counter[int]:
    """F-6.36: without the drops of each table, with the entries that it adds, table after table."""
    found: Counter[int] = Counter()
    for table in tables:
        read = list(pages(builder, table))
        dropped = {drop for page in read for drop in page.drops.tolist()}
        found = Counter({number: count for number, count in found.items() if number not in dropped})
        for page in read:
            for part in page.directories():
                found.update(np.frombuffer(part.fingerprints, "<u8").tolist())
    return found


def of_tree(builder: Builder, tree: Tree) -> list[int]:
    return sketching.numbers(
        fingerprint(builder.keys, path.rpartition(b"/")[0], made) for path, made in tree.items()
    )


@pytest.fixture(scope="module")
def told() -> Told:
    return deltas()


@pytest.mark.parametrize("label", ["1", "2", "3", "4", "partial"])
def test_the_fingerprints_of_a_snapshot_are_a_set_with_some_dropped_and_some_added(
    told: Told, label: str
) -> None:
    wanted = Counter(of_tree(told.builder, told.trees[label]))
    assert by_the_rule(told.builder, told.snapshots[label].tables) == wanted


def test_without_the_drop_of_a_replaced_entry_the_rule_does_not_hold(told: Told) -> None:
    """The control of the test above."""
    wanted = Counter(of_tree(told.builder, told.trees["sloppy"]))
    assert by_the_rule(told.builder, told.snapshots["sloppy"].tables) - wanted != Counter()


def test_a_replaced_entry_may_have_the_fingerprint_of_the_new_one(told: Told) -> None:
    old, new = (told.trees[label][b"in-disguise"] for label in ("1", "2"))
    assert old.content != new.content
    assert fingerprint(told.builder.keys, b"", old) == fingerprint(told.builder.keys, b"", new)


def test_an_entry_that_changed_while_it_was_read_never_looks_unchanged(told: Told) -> None:
    old, new = (told.trees[label][b"torn"] for label in ("1", "2"))
    assert old.row() == new.row()
    assert fingerprint(told.builder.keys, b"", old) != fingerprint(told.builder.keys, b"", new)


def test_the_rungs_of_a_root_hold_what_its_entries_are() -> None:
    whole = everything()
    builder, snapshot = whole.builder, whole.snapshots["everything"]
    rungs = decode_root(block(builder, snapshot.tables[0].root)).rungs
    joined = {
        key: b"".join(block(builder, rung.block) for rung in rungs if rung.first_key == key)
        for key in (RUNG_SKETCH, RUNG_LIST)
    }
    assert [rung.first_key for rung in rungs] == [RUNG_SKETCH] * 3 + [RUNG_LIST] * 2
    found = of_tree(builder, whole.trees["everything"])
    assert decode_list(joined[RUNG_LIST]).tolist() == sorted(found)
    sketch = decode_sketch(joined[RUNG_SKETCH], sketching.RUNG_PART_CELLS)
    assert sorted(sketch.peel().tolist()) == sorted(found)  # type: ignore[union-attr]  # it peels
    (tip,) = builder.head.tips
    assert decode_sketch(tip.sketch, tip.part_cells).encode() == sketching.sketch(found, 1664)


def test_three_tips_have_their_sketches_behind_each_other() -> None:
    head = decode_head(encode_head(SpoiledObjects().shared(), names.HEAD_SIZE_BYTES - OVERHEAD_BYTES))
    assert [tip.part_cells for tip in head.tips] == [416] * 3
    for tip in head.tips:
        peeled = decode_sketch(tip.sketch, 416).peel()
        assert peeled is not None
        assert sketching.digest(peeled.tolist()) == tip.digest
    assert len({tip.sketch for tip in head.tips}) == 3
    assert not head.tips_complete
