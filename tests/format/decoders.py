"""Every decoder of the format, with a small valid example, for tests that feed them anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import zstandard

from bitbacker.crypto import slots
from bitbacker.crypto.keys import keys_of
from bitbacker.errors import FormatError
from bitbacker.format import catalog, entries, index, keyslots, sketch
from bitbacker.format.block import BlockKind, BlockRef, pack, unpack
from bitbacker.format.catalog import CatalogRecord, Owner, SegmentRecord, SegmentState, Snapshot
from bitbacker.format.entries import EntryPage
from bitbacker.format.extras import EntryExtras, ExtentRef, Xattr, decode_extras, encode_extras
from bitbacker.format.head import SKETCH_SIZE_BYTES, Head, SourceTip, decode_head, encode_head
from bitbacker.format.index import IDS_DTYPE, LOCATION_DTYPE, IndexPage
from bitbacker.format.keyslots import Constants, Parts, PluginChoice, SlotContent, SlotInfo, SlotKind
from bitbacker.format.root import (
    RUNG_LIST,
    RUNG_SKETCH,
    PageRef,
    TableRef,
    TableRoot,
    decode_root,
    encode_root,
)
from bitbacker.format.segment import SegmentWriter, read_contents, stored_part
from vectors.generators.builder import entry_page
from vectors.generators.entry import Made, directory


@dataclass(frozen=True)
class Decoder:
    """`decode` goes all the way that a reader goes.

    `encode` is set where every value has one encoding, so that what is accepted encodes to itself.
    """

    name: str
    decode: Callable[[bytes], object]
    example: bytes
    encode: Callable[[object], bytes] | None = None

    def __str__(self) -> str:
        return self.name


def bits(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


TABLE = TableRef(BlockRef(bits("segment", 16), 3, 500), 7)


def example_page() -> bytes:
    """Three directories with a bit of everything."""
    root: list[Made] = [
        Made(b"a", content=b"x" * 9, chunk_ids=bits("chunks", 32), xattrs=((b"user.a", b"1"),)),
        Made(b"d", mode=0o40755),
        Made(b"l", mode=0o120777, target=b"a"),
    ]
    below = [Made(b"s", size_bytes=50, chunk_ids=bits("sparse", 16), extents=((8, 4), (20, 2)), mark=1)]
    keys = keys_of(bytes(32))
    trees: list[tuple[bytes, list[Made]]] = [(b"", root), (b"d", below), (b"d/e", [])]
    made = [directory(keys, path, items) for path, items in trees]
    return entries.encode_page(entry_page(made, [bits("drop 1", 8), bits("drop 2", 8)]))


@dataclass(frozen=True)
class RawPage:
    """An entry page, and the bytes that it came from, which say the form of the rows."""

    page: EntryPage
    raw: bytes


def decode_page(raw: bytes) -> RawPage:
    """With everything that hangs on it."""
    page = entries.decode_page(raw)
    for found in page.directories():
        entries.check_names(found.name_list)
        for extra in found.extras:
            decode_extras(extra.data)
    return RawPage(page, raw)


def encode_page(value: object) -> bytes:
    assert isinstance(value, RawPage)
    page = value.page
    paths = sum(map(len, page.paths)) + max(0, len(page.paths) - 1)
    form_at = 24 + paths + 8 * len(page.paths) + len(page.names)
    return entries.encode_page(page, planes=value.raw[form_at] == 1)


def decode_catalog(raw: bytes) -> object:
    records = catalog.decode_page(raw)
    for record in records:
        if record.value is not None and record.key.startswith(catalog.SNAPSHOT_KEY):
            assert catalog.encode_snapshot(catalog.decode_snapshot(record)) == record
        elif record.value is not None and record.key.startswith(catalog.SEGMENT_KEY):
            assert catalog.encode_segment(catalog.decode_segment(record)) == record
        elif record.value is not None and record.key.startswith(catalog.HEAD_KEY):
            ((number, prefix),) = catalog.head_hashes({record.key: record.value}).items()
            assert catalog.hash_record(number, prefix) == record
    return records


def example_catalog() -> bytes:
    snapshot = Snapshot(
        bits("snapshot", 16), 1, "host", "source", ("/",), ("tag",), (TABLE,), "program",
        parent=bits("parent", 16), users=(Owner(1, "one"),),
    )  # fmt: skip
    return catalog.encode_page(
        [
            catalog.encode_segment(SegmentRecord(bits("segment", 16), SegmentState.LIVE, 262144, 2)),
            catalog.hash_record(1, bits("head", 16)),
            CatalogRecord(b"s" + bytes(16), None),
            catalog.encode_snapshot(snapshot),
        ]
    )


def example_index() -> bytes:
    ids = np.frombuffer(b"".join(sorted(bits(str(number), 16) for number in range(3))), IDS_DTYPE)
    locations = np.array([(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)], LOCATION_DTYPE)
    return index.encode_page(IndexPage(ids, locations))


def encode_index(value: object) -> bytes:
    assert isinstance(value, IndexPage)
    return index.encode_page(value)


def example_head(room_bytes: int = 500) -> bytes:
    tip = SourceTip(bits("source", 16), bits("snapshot", 16), (TABLE,), bits("digest", 24), 2, bytes(72))
    other = SourceTip(bits("other source", 16), bits("other snapshot", 16), ())
    head = Head(
        3, bits("hash", 32), 3, bits("writer", 16), 4, 5, 6, (TABLE,), (TABLE,), (tip, other),
        ancestors=(bits("ancestor", 16),),
    )  # fmt: skip
    return encode_head(head, SKETCH_SIZE_BYTES + room_bytes)


def with_sketch(decode: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Heads are fuzzed without the 60,000 bytes of sketches, which have no structure here."""
    return lambda data: decode(data + bytes(SKETCH_SIZE_BYTES))


def decode_sketch_and_list(data: bytes) -> object:
    """A sketch of one cell a part that is peeled, and the same bytes as a list."""
    with suppress(FormatError):
        sketch.decode_sketch(data, 1).peel()
    return sketch.decode_list(data)


def encode_list(value: object) -> bytes:
    assert isinstance(value, np.ndarray)
    return sketch.encode_list(value)


def example_list() -> bytes:
    return sketch.encode_list(np.sort(np.frombuffer(bits("fingerprints", 32), "<u8").astype(np.uint64)))


def open_segment(plaintext: bytes) -> object:
    infos = read_contents(plaintext)
    decompressor = zstandard.ZstdDecompressor()
    return [bytes(unpack(info, stored_part(plaintext, info), decompressor)) for info in infos]


def example_segment() -> bytes:
    writer, compressor = SegmentWriter(400), zstandard.ZstdCompressor(level=3)
    writer.add(pack(BlockKind.DATA, bytes(200) + b"abc", compressor, bits("ids", 32), (200, 3)))
    writer.add(pack(BlockKind.ROOT, bits("root", 40), compressor))
    return bytes(writer.finish())


def example_slot() -> bytes:
    choice = PluginChoice("aes-256-gcm", '{"a":1}', "bitbacker")
    return keyslots.encode_slot(SlotContent(bits("root key", 32), Constants(choice, choice)), 120)


def open_keyslots(data: bytes) -> object:
    parts = keyslots.split(data)
    slots.verify_checksum(data)
    return parts


def example_keyslots() -> bytes:
    parts = Parts(tuple(bits(f"slot {number}", 508) for number in range(7)), bits("directory", 508))
    return slots.with_checksum(keyslots.join(parts))


def encode_root_of(value: object) -> bytes:
    assert isinstance(value, TableRoot)
    return encode_root(value)


def encode_catalog(value: object) -> bytes:
    assert isinstance(value, list)
    return catalog.encode_page(value)


@cache
def decoders() -> tuple[Decoder, ...]:
    """All of them."""
    page = PageRef(TABLE.root, b"key", 7)
    root = TableRoot(BlockKind.INDEX, (page, replace(page, first_key=b"kez")), (bits("segment", 16),))
    rungs = (PageRef(TABLE.root, RUNG_SKETCH, 0), PageRef(TABLE.root, RUNG_LIST, 0))
    entry_root = TableRoot(BlockKind.ENTRIES, (page,), (), rungs)
    extras = EntryExtras((Xattr(b"user.x", b"y"),), (ExtentRef(0, 4), ExtentRef(9, 1)))
    infos = (SlotInfo(SlotKind.PASSPHRASE, 5, "label"), *[SlotInfo(SlotKind.UNUSED)] * 6)
    stamp = keyslots.Stamp(3, bits("slots", 32))
    return (
        Decoder("extras", decode_extras, encode_extras(extras)),
        Decoder("entry page", decode_page, example_page(), encode_page),
        Decoder("index page", index.decode_page, example_index(), encode_index),
        Decoder("catalog page", decode_catalog, example_catalog(), encode_catalog),
        Decoder("root", decode_root, encode_root(root), encode_root_of),
        Decoder("entry root", decode_root, encode_root(entry_root), encode_root_of),
        Decoder("head", with_sketch(decode_head), example_head()[:-SKETCH_SIZE_BYTES]),
        Decoder("slot", keyslots.decode_slot, example_slot()),
        Decoder("slot directory", keyslots.decode_directory, keyslots.encode_directory(infos, 110)),
        Decoder("slot stamp", keyslots.decode_stamp, keyslots.encode_directory(infos, 150, stamp)),
        Decoder("keyslots", open_keyslots, example_keyslots()),
        Decoder("segment", open_segment, example_segment()),
        Decoder("fingerprints", decode_sketch_and_list, example_list(), encode_list),
    )


def sloppy() -> Decoder:
    """A decoder with faults that people make: the controls of the fuzz tests are that it is caught.

    It trusts a count, a length and a text, and reads bytes that are not there.
    """

    def decode(data: bytes) -> object:
        count = data[0]
        sizes = [data[1 + number] for number in range(count)]
        at = 1 + count
        words = []
        for size in sizes:
            words.append(data[at : at + size].decode())
            at += size
        if not words:
            raise FormatError("nothing")
        return words

    def encode(words: object) -> bytes:
        assert isinstance(words, list)
        return bytes([len(words), *map(len, words)]) + "".join(words).encode()

    return Decoder("sloppy", decode, bytes([2, 3, 3]) + b"abcdef", encode)
