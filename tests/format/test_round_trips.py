"""What is encoded is decoded to the same value; every value has one encoding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitbacker.errors import DamageError, FormatError, VersionUnknown
from bitbacker.format import catalog, entries, index, names
from bitbacker.format.block import BlockKind, BlockRef
from bitbacker.format.catalog import (
    CatalogRecord,
    SegmentRecord,
    Snapshot,
    decode_segment,
    decode_snapshot,
    encode_segment,
    encode_snapshot,
    hash_record,
    head_hashes,
)
from bitbacker.format.columns import Columns, Pick, pick_entries
from bitbacker.format.entries import Directory, EntryPage, page_of, split_directory
from bitbacker.format.extras import EntryExtras, decode_extras, encode_extras
from bitbacker.format.head import SKETCH_SIZE_BYTES, Head, SourceTip, decode_head, encode_head
from bitbacker.format.index import IndexPage
from bitbacker.format.keyslots import (
    LABEL_MAX_BYTES,
    SLOTS,
    Constants,
    PluginChoice,
    SlotContent,
    SlotInfo,
    SlotKind,
    Stamp,
    decode_directory,
    decode_slot,
    decode_stamp,
    encode_directory,
    encode_slot,
    join,
    split,
)
from bitbacker.format.root import RUNG_SKETCH, TABLE_KINDS, PageRef, TableRoot, decode_root, encode_root
from bitbacker.format.rows import ROW_DTYPE, ROW_SIZE_BYTES, as_rows, from_planes, to_planes
from bitbacker.format.wire import Reader, Writer
from bitbacker.spi import ROW
from format import strategies

HEAD_PLAINTEXT_BYTES = 65_456


def plain(directory: Directory) -> tuple[object, ...]:
    """A directory as values that compare."""
    return tuple(
        value.tolist() if isinstance(value, np.ndarray) else value
        for value in (getattr(directory, name) for name in Directory.__slots__)
    )


def plain_page(page: EntryPage) -> tuple[object, ...]:
    return (*map(plain, page.directories()), page.drops.tolist())


PRIMITIVES = (
    strategies.u8,
    strategies.u16,
    strategies.u32,
    strategies.u64,
    strategies.i64,
    strategies.texts,
    st.binary(max_size=20),
)


@given(st.tuples(*PRIMITIVES))
def test_primitives(values: tuple[int | str | bytes, ...]) -> None:
    writer = Writer()
    for write, value in zip(
        (writer.u8, writer.u16, writer.u32, writer.u64, writer.i64, writer.text, writer.blob),
        values,
        strict=True,
    ):
        write(value)  # type: ignore[operator]  # each value was drawn for its writer
    reader = Reader(writer.bytes())
    found = tuple(
        read()
        for read in (reader.u8, reader.u16, reader.u32, reader.u64, reader.i64, reader.text, reader.blob)
    )
    reader.end()
    assert found == values


def test_integers_are_little_endian() -> None:
    writer = Writer()
    writer.u16(1)
    writer.u32(2)
    writer.i64(-2)
    writer.blob(b"x")
    assert writer.bytes().hex() == "010002000000feffffffffffffff0100000078"


def test_a_file_name_that_is_not_utf_8_keeps_its_bytes() -> None:
    writer = Writer()
    writer.text(b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert writer.bytes() == b"\4\0\0\0caf\xe9"


@given(st.lists(strategies.rows, max_size=8))
def test_planes(packed: list[bytes]) -> None:
    data = b"".join(packed)
    planes = to_planes(as_rows(data))
    assert len(planes) == len(data)
    assert from_planes(memoryview(planes), len(packed)).tobytes() == data


def test_a_row_is_that_of_the_source_contract() -> None:
    packed = ROW.pack(1, 2, 3, 4, 5, -6, -7, 8, 9)
    assert ROW.size == ROW_SIZE_BYTES
    assert as_rows(packed)[0].tolist() == (1, 2, 3, 4, 5, -6, -7, 8, 9)
    assert ROW_DTYPE.names is not None


def test_planes_hold_the_lowest_bytes_first_and_zigzag_differences() -> None:
    first = ROW.pack(0x01020304, 0, 0, 0, 0, 0, 5, 0, 7)
    second = ROW.pack(0x05060708, 0, 0, 0, 0, 0, 3, 0, 8)
    planes = to_planes(as_rows(first + second))
    assert planes[:8].hex() == "0408030702060105"
    assert planes[56:58] == bytes([10, 3])
    assert planes[88:90] == bytes([14, 2])


@given(strategies.entry_pages(), st.booleans())
def test_entry_page(page: EntryPage, planes: bool) -> None:
    raw = entries.encode_page(page, planes=planes)
    found = entries.decode_page(raw)
    assert plain_page(found) == plain_page(page)
    assert entries.encode_page(found, planes=planes) == raw


@given(strategies.directories(), st.data())
def test_a_directory_that_was_split_joins_again(directory: Directory, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, directory.entries))
    first, second = split_directory(directory, at)
    assert (first.entries, second.entries) == (at, directory.entries - at)
    together = [first.name_list + second.name_list, first.rows + second.rows]
    assert together == [directory.name_list, directory.rows]
    picks = [
        Pick(name, Columns(part), position)
        for part in (first, second)
        for position, name in enumerate(part.name_list)
    ]
    assert plain(pick_entries(directory.path, picks)) == plain(directory)


@given(strategies.directories(), st.data())
def test_picked_entries_are_what_they_were(directory: Directory, data: st.DataObject) -> None:
    chosen = data.draw(
        st.sets(st.sampled_from(range(directory.entries))) if directory.entries else st.just(set())
    )
    whole = Columns(directory)
    picks = [Pick(directory.name_list[at], whole, at) for at in sorted(chosen)]
    picked = Columns(pick_entries(directory.path, picks))
    for new, old in enumerate(sorted(chosen)):
        for columns, at in ((picked, new), (whole, old)):
            assert columns.directory.marks[at] == directory.marks[old]
            assert columns.directory.name_list[at] == directory.name_list[old]
        assert picked.row(new) == whole.row(old)
        assert picked.fingerprint(new) == whole.fingerprint(old)
        assert picked.chunk_ids(new) == whole.chunk_ids(old)
        assert picked.links.get(new) == whole.links.get(old)
        assert picked.extras.get(new) == whole.extras.get(old)


def test_a_page_without_directories_holds_drops() -> None:
    page = page_of([], np.array([3, 9], dtype=np.uint64))
    assert plain_page(entries.decode_page(entries.encode_page(page))) == ([3, 9],)


@given(strategies.extras)
def test_extras(extras: EntryExtras) -> None:
    assert decode_extras(encode_extras(extras)) == extras


def test_extras_that_say_nothing_take_nothing() -> None:
    assert encode_extras(EntryExtras()) == b""


@given(strategies.index_pages())
def test_index_page(page: IndexPage) -> None:
    raw = index.encode_page(page)
    found = index.decode_page(raw)
    assert found.ids.tobytes() == page.ids.tobytes()
    assert found.locations.tolist() == page.locations.tolist()
    assert index.encode_page(found) == raw


@given(strategies.catalog_pages)
def test_catalog_page(records: list[CatalogRecord]) -> None:
    assert catalog.decode_page(catalog.encode_page(records)) == records


@given(strategies.snapshots)
def test_snapshot(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


@given(strategies.segment_records)
def test_segment_record(record: SegmentRecord) -> None:
    assert decode_segment(encode_segment(record)) == record


@given(st.dictionaries(strategies.u64, strategies.identities, max_size=5))
def test_records_of_heads(prefixes: dict[int, bytes]) -> None:
    records = [hash_record(number, prefix) for number, prefix in sorted(prefixes.items())]
    assert records == sorted(records, key=lambda record: record.key)
    assert head_hashes({record.key: record.value or b"" for record in records}) == prefixes


@given(strategies.roots)
def test_root(root: TableRoot) -> None:
    raw = encode_root(root)
    assert decode_root(raw) == root
    assert encode_root(decode_root(raw)) == raw


@pytest.mark.parametrize(("key", "records"), [(b"\x03", 0), (b"", 0), (b"\x01\x01", 0), (b"\x01", 1)])
def test_a_rung_that_no_writer_makes_is_refused(key: bytes, records: int) -> None:
    block = BlockRef(bytes(16), 0, 8)
    good = TableRoot(BlockKind.ENTRIES, (), rungs=(PageRef(block, RUNG_SKETCH, 0),))
    assert decode_root(encode_root(good)) == good
    with pytest.raises(FormatError, match="rung"):
        decode_root(encode_root(replace(good, rungs=(PageRef(block, key, records),))))


def test_only_roots_of_entry_tables_have_room_for_rungs() -> None:
    rungs = bytes(4)
    for kind in TABLE_KINDS:
        raw = encode_root(TableRoot(kind, ()))
        assert raw == bytes([kind]) + bytes(8) + (rungs if kind is BlockKind.ENTRIES else b"")


@given(strategies.heads)
def test_head(head: Head) -> None:
    plaintext = encode_head(head, HEAD_PLAINTEXT_BYTES)
    assert len(plaintext) == HEAD_PLAINTEXT_BYTES
    assert decode_head(plaintext) == head


def test_a_head_leaves_out_the_oldest_tips_when_there_are_too_many() -> None:
    tip = SourceTip(b"s" * 16, b"i" * 16, ())
    head = Head(1, bytes(32), 0, bytes(16), 0, 0, 0, (), (), (tip,) * 1000)
    found = decode_head(encode_head(head, HEAD_PLAINTEXT_BYTES))
    room = HEAD_PLAINTEXT_BYTES - SKETCH_SIZE_BYTES - 4 - 112 - 17
    assert len(found.tips) == room // 62
    assert not found.tips_complete


def test_a_head_leaves_out_the_oldest_tips_when_their_sketches_have_no_room() -> None:
    tips = tuple(
        SourceTip(bytes([at]) * 16, bytes(16), (), part_cells=832, sketch=bytes([at]) * (832 * 36))
        for at in range(3)
    )
    found = decode_head(
        encode_head(Head(1, bytes(32), 0, bytes(16), 0, 0, 0, (), (), tips), HEAD_PLAINTEXT_BYTES)
    )
    assert (found.tips, found.tips_complete) == (tips[:2], False)


def test_the_sketches_of_a_head_stand_at_its_end_in_the_order_of_the_tips() -> None:
    sketches = (b"\1" * 72, b"", b"\3" * 36)
    tips = tuple(
        SourceTip(bytes(16), bytes(16), (), part_cells=len(sketch) // 36, sketch=sketch)
        for sketch in sketches
    )
    plaintext = encode_head(Head(1, bytes(32), 0, bytes(16), 0, 0, 0, (), (), tips), HEAD_PLAINTEXT_BYTES)
    assert plaintext[-SKETCH_SIZE_BYTES:].rstrip(b"\0") == b"\1" * 72 + b"\3" * 36


def test_a_head_keeps_fifteen_ancestors_and_no_more() -> None:
    head = Head(20, bytes(32), 0, bytes(16), 0, 0, 0, (), (), ancestors=(b"a" * 16,) * 15)
    assert decode_head(encode_head(head, HEAD_PLAINTEXT_BYTES)) == head
    more = replace(head, ancestors=(b"a" * 16,) * 16)
    with pytest.raises(FormatError, match="ancestors"):
        decode_head(encode_head(more, HEAD_PLAINTEXT_BYTES))


@given(strategies.slot_contents)
def test_slot(content: SlotContent) -> None:
    assert decode_slot(encode_slot(content, 428)) == content


def test_a_slot_of_another_version_is_told_before_anything_else_is_read() -> None:
    with pytest.raises(VersionUnknown):
        decode_slot(b"\2\0" + b"\xff" * 426)


def test_plugin_parameters_that_do_not_fit_are_refused() -> None:
    choice = PluginChoice("x", "p" * 400, "")
    with pytest.raises(FormatError):
        encode_slot(SlotContent(bytes(32), Constants(choice, choice)), 428)


@given(strategies.slot_infos)
def test_slot_directory(infos: tuple[SlotInfo, ...]) -> None:
    assert decode_directory(encode_directory(infos, 460)) == infos


@given(strategies.slot_infos, strategies.stamps)
def test_slot_directory_with_a_stamp(infos: tuple[SlotInfo, ...], stamp: Stamp) -> None:
    data = encode_directory(infos, 460, stamp)
    assert (decode_directory(data), decode_stamp(data)) == (infos, stamp)


def test_a_slot_directory_without_a_stamp_has_generation_0() -> None:
    infos = (SlotInfo(SlotKind.UNUSED),) * SLOTS
    assert decode_stamp(encode_directory(infos, 460)) == Stamp()


@pytest.mark.parametrize("label", ["ä" * 100, "\udcff", "x" * 100])
def test_any_label_fits_into_the_directory(label: str) -> None:
    infos = (SlotInfo(SlotKind.PASSPHRASE, 2**64 - 1, label),) * SLOTS
    found = decode_directory(encode_directory(infos, 460))
    assert all(len(info.label) <= LABEL_MAX_BYTES for info in found)


def test_the_parts_of_keyslots_join_and_split() -> None:
    data = bytes(range(256)) * 16
    parts = split(data)
    assert [len(slot) for slot in parts.slots] == [508] * 7
    assert join(parts) == data[:-32]


@pytest.mark.parametrize("size", [0, 4095, 4097])
def test_keyslots_of_another_size_are_damaged(size: int) -> None:
    with pytest.raises(DamageError):
        split(bytes(size))


@given(strategies.u64)
@example(1)
@example(2**64 - 1)
def test_head_names_count_down(number: int) -> None:
    name = names.head_name(number)
    assert names.head_number(name) == number
    if number:
        assert name < names.head_name(number - 1)


def test_names_as_the_document_shows_them() -> None:
    assert names.head_name(1) == "heads/fffffffffffffffe"
    assert names.segment_name(bytes(range(16))) == "segments/000102030405060708090a0b0c0d0e0f"


@given(strategies.identities)
def test_segment_names(identity: bytes) -> None:
    assert names.segment_identity(names.segment_name(identity)) == identity


@pytest.mark.parametrize(
    "name",
    [
        "",
        "heads/",
        "heads/0",
        "heads/" + "g" * 16,
        "heads/" + "0" * 17,
        "heads/" + "0" * 16 + "\n",
        "keyslots",
    ],
)
def test_other_names_are_no_heads(name: str) -> None:
    with pytest.raises(FormatError):
        names.head_number(name)


@pytest.mark.parametrize(
    "name", ["", "segments/", "segments/" + "A" * 32, "segments/" + "0" * 31, "heads/" + "0" * 16]
)
def test_other_names_are_no_segments(name: str) -> None:
    with pytest.raises(FormatError):
        names.segment_identity(name)
