"""A repository whose snapshots are each wrong in one way, and objects that are wrong as a whole."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zstandard

from bitbacker.format import index, names
from bitbacker.format.block import BlockKind, BlockRef, Codec, PackedBlock
from bitbacker.format.catalog import Snapshot
from bitbacker.format.entries import EntryPage, encode_page
from bitbacker.format.head import SKETCH_SIZE_BYTES, Head, SourceTip, encode_head
from bitbacker.format.index import IDS_DTYPE, LOCATION_DTYPE, IndexPage
from bitbacker.format.root import PageRef, TableRef, TableRoot
from vectors.generators import sketching
from vectors.generators.builder import (
    OVERHEAD_BYTES,
    Builder,
    KeyslotsPlan,
    Session,
    checksummed,
    derived,
    entry_page,
    keyslots,
    seal,
    tip_of,
)
from vectors.generators.entry import Made, directory
from vectors.generators.example import Example
from vectors.generators.repositories import DIRECTORY, snapshot_of

HEAD_PLAINTEXT_BYTES = names.HEAD_SIZE_BYTES - OVERHEAD_BYTES


@dataclass(frozen=True)
class Fault:
    """One snapshot: what is wrong with it, and what a reader says."""

    name: str
    comment: str
    expect: str


class Faults:
    """One segment with all faults."""

    def __init__(self) -> None:
        self.builder = Builder("faults", KeyslotsPlan(derived("root key faults", 32)))
        self.session = Session(self.builder, "1")
        self.snapshots: list[tuple[Fault, Snapshot]] = []
        self._data()
        self._names()
        self._contents()
        self._pages()
        self._references()
        self._index()
        self.session.catalog_table([snapshot for _, snapshot in self.snapshots], born=2)
        self.builder.commit(self.session, born=2)

    def _data(self) -> None:
        self.good = self.session.data([b"good\n"])
        # A chunk under the id of another one, as a careless or hostile writer would store it.
        self.wrong = self.builder.keys.chunk_identity(b"what it should be\n")
        self.block = self.session.block(BlockKind.DATA, b"what it is instead", self.wrong, (18,))

    def _add(self, fault: Fault, table: TableRef) -> None:
        snapshot = snapshot_of(self.builder, fault.name, (table,), len(self.snapshots) + 1)
        self.snapshots.append((fault, snapshot))

    def _page(self, fault: Fault, page: EntryPage) -> None:
        self._add(fault, self.session.entry_table([page]))

    def _raw(self, fault: Fault, raw: bytes) -> None:
        ref = self.session.block(BlockKind.ENTRIES, raw)
        self._add(fault, self.session.table(TableRoot(BlockKind.ENTRIES, (PageRef(ref, b"", 1),))))

    def _of(self, *items: Made, path: bytes = b"") -> EntryPage:
        return entry_page([directory(self.builder.keys, path, items)])

    def file(self, name: bytes = b"file", **options: Any) -> Made:
        return Made(name, content=b"good\n", chunk_ids=self.good, **options)

    def _names(self) -> None:
        for word, name in (("slash", b"../escape"), ("dots", b".."), ("dot", b"."), ("absolute", b"/etc")):
            fault = Fault(f"name-{word}", f"An entry is called {name.decode()} (F-6.7).", "format")
            self._page(fault, self._of(self.file(name)))
        page = self._of(self.file(b"a"), self.file(b"b"))
        self._page(
            Fault("names-order", "The names of a directory do not ascend (F-6.6).", "format"),
            replace(page, names=b"b\0a"),
        )
        self._page(
            Fault("names-twice", "A name is there twice (F-6.6).", "format"), replace(page, names=b"a\0a")
        )
        self._page(
            Fault("names-count", "There are more names than entries (F-6.3).", "format"),
            replace(page, names=b"a\0b\0c", name_sizes=np.array([5], np.uint32)),
        )
        self._page(
            Fault("orphan", "A directory has entries, but is no entry itself (F-6.29).", "damage"),
            entry_page(
                [
                    directory(self.builder.keys, b"", [self.file()]),
                    directory(self.builder.keys, b"nowhere", [self.file()]),
                ]
            ),
        )
        self._page(
            Fault("directories-order", "Directories do not ascend by their keys (F-6.4).", "format"),
            entry_page(
                [
                    directory(self.builder.keys, b"", [Made(b"a", DIRECTORY), Made(b"a-b", DIRECTORY)]),
                    directory(self.builder.keys, b"a-b", [self.file()]),
                    directory(self.builder.keys, b"a", [self.file()]),
                ]
            ),
        )

    def _contents(self) -> None:
        extents = ((0, 3), (2, 2))
        for fault, made in (
            (
                Fault("chunk-id", "A chunk is not what its id says (F-7.5).", "damage"),
                Made(b"file", content=b"what it should be\n", chunk_ids=self.wrong),
            ),
            (
                Fault("chunk-unknown", "No index table knows a chunk.", "damage"),
                Made(b"file", content=b"x", chunk_ids=bytes(16)),
            ),
            (
                Fault(
                    "chunk-outside", "The index says that a chunk ends behind its block (F-7.5).", "format"
                ),
                Made(b"file", content=b"x" * 99, chunk_ids=b"\1" * 16),
            ),
            (
                Fault("size", "Content is shorter than its row says (F-6.15).", "format"),
                self.file(size_bytes=6),
            ),
            (
                Fault("extents-order", "Extents overlap (F-6.21).", "format"),
                self.file(extents=extents),
            ),
            (
                Fault("extents-size", "Content does not fill its extents (F-6.23).", "format"),
                self.file(extents=((0, 4),)),
            ),
            (
                Fault("extents-outside", "An extent ends behind 2^63 - 1 (F-6.21).", "format"),
                self.file(extents=((2**63 - 1, 5),)),
            ),
            (
                Fault("mark", "An entry has a mark that version 1 does not know (section 6.5).", "format"),
                self.file(mark=4),
            ),
        ):
            self._page(fault, self._of(made))

    def _pages(self) -> None:
        raw = encode_page(self._of(self.file()))
        self._raw(
            Fault("page-tail", "A byte follows the last field of a page (F-2.2).", "format"), raw + b"\0"
        )
        self._raw(Fault("page-cut", "A page ends in its last field (F-2.1).", "format"), raw[:-1])
        self._raw(
            Fault("page-count", "A page claims 2^32 - 1 entries (F-2.1).", "format"),
            raw[:4] + b"\xff" * 4 + raw[8:],
        )
        link = Made(b"link", stat.S_IFLNK | 0o777, target=b"x")
        page = self._of(link)
        self._page(
            Fault("links", "There is a symlink without a target (F-6.13).", "format"), replace(page, links=())
        )
        self._page(
            Fault("drops-order", "Drops do not ascend (F-6.28).", "format"),
            replace(self._of(self.file()), drops=np.array([2, 1], np.uint64)),
        )
        frames = {
            "frame-size": (b"1000 bytes " * 200, 1000, "A frame has another size than its block (F-4.4)."),
            "frame-bomb": (bytes(256 * 1024 * 1024), 1000, "A frame of 256 MiB in a block of 1,000 bytes."),
        }
        for name, (data, raw_bytes, comment) in frames.items():
            frame = zstandard.ZstdCompressor(level=3).compress(data)
            self._stored(Fault(name, comment, "format"), frame, raw_bytes)
        self._stored(
            Fault("frame-garbage", "A block is no frame at all (F-4.4).", "format"), b"no frame at all", 1000
        )

    def _stored(self, fault: Fault, stored: bytes, raw_bytes: int) -> None:
        block = PackedBlock(BlockKind.ENTRIES, Codec.ZSTD, raw_bytes, stored)
        ref = BlockRef(self.session.identity, self.session.writer.add(block), raw_bytes)
        self._add(fault, self.session.table(TableRoot(BlockKind.ENTRIES, (PageRef(ref, b"", 1),))))

    def _references(self) -> None:
        page = encode_page(self._of(self.file()))
        place = self.session.block(BlockKind.ENTRIES, page)
        root = TableRoot(BlockKind.ENTRIES, (PageRef(place, b"", 1),))
        good = self.session.table(root)
        elsewhere = replace(place, segment=self.builder.random("nowhere", 16))
        pages: Sequence[tuple[Fault, BlockRef]] = (
            (
                Fault("page-missing", "A page is in a segment that is not there.", "missing-segment"),
                elsewhere,
            ),
            (Fault("page-kind", "A page is a data block (F-5.1).", "format"), self.block),
            (
                Fault("page-size", "A page has another raw size than its reference (F-5.1).", "format"),
                replace(place, raw_bytes=place.raw_bytes + 1),
            ),
            (
                Fault("page-number", "A page is in a block that is not there.", "format"),
                replace(place, number=60_000),
            ),
        )
        for fault, at in pages:
            self._add(fault, self.session.table(TableRoot(BlockKind.ENTRIES, (PageRef(at, b"", 1),))))
        self._add(
            Fault(
                "root-records", "The pages have another number of records than the table (F-5.2).", "format"
            ),
            replace(good, records=2),
        )
        rung = PageRef(self.session.block(BlockKind.FINGERPRINTS, bytes(8)), b"\x03", 0)
        self._add(
            Fault("rung-kind", "A rung is neither a sketch nor a list (F-5.8).", "format"),
            self.session.table(replace(root, rungs=(rung,))),
        )
        self._add(
            Fault("root-kind", "The root of an index table stands for one of entries.", "format"),
            self.session.table(TableRoot(BlockKind.INDEX, (PageRef(place, b"", 1),))),
        )

    def _index(self) -> None:
        """By hand, because one record points behind its block."""
        rows = sorted(
            [
                (self.good, (0, 0, 0, 5)),
                (self.wrong, (0, self.block.number, 0, 18)),
                (b"\1" * 16, (0, 0, 3, 99)),
            ]
        )
        page = IndexPage(
            np.frombuffer(b"".join(row[0] for row in rows), IDS_DTYPE),
            np.array([row[1] for row in rows], LOCATION_DTYPE),
        )
        at = self.session.block(BlockKind.INDEX, index.encode_page(page))
        ref = PageRef(at, rows[0][0], len(rows))
        self.session.indexes.append(
            self.session.table(TableRoot(BlockKind.INDEX, (ref,), (self.session.identity,)))
        )


@dataclass(frozen=True)
class Spoiled:
    """An object that takes the place of another one of the repository `example`, or joins it."""

    fault: Fault
    target: str
    data: bytes


class SpoiledObjects:
    """Heads, a segment and keyslots that are sealed well and wrong inside."""

    def __init__(self) -> None:
        self._example = Example()
        self._builder = self._example.builder
        self._third = names.head_name(3)
        self._head = self._builder.next_head()

    def __iter__(self) -> Iterator[Spoiled]:
        yield from self._heads()
        yield from self._old_heads()
        yield self._segment()
        yield from self._keyslots()

    def _sealed(self, name: str, plaintext: bytes, label: str) -> bytes:
        keys = self._builder.keys
        key = keys.head if name.startswith(names.HEADS) else keys.segment
        return seal("aes-256-gcm", key, name, plaintext, derived(f"salt of {label}", 32)).sealed

    def _heads(self) -> Iterator[Spoiled]:
        good = encode_head(self._head, HEAD_PLAINTEXT_BYTES)
        size = int.from_bytes(good[:4], "little")
        body = good[4 : 4 + size]

        def framed(changed: bytes) -> bytes:
            return (len(changed).to_bytes(4, "little") + changed).ljust(HEAD_PLAINTEXT_BYTES, b"\0")

        def encoded(**changes: Any) -> bytes:
            return encode_head(replace(self._head, **changes), HEAD_PLAINTEXT_BYTES)

        catalog = self._head.catalogs[0]
        bad_catalog = replace(catalog, root=replace(catalog.root, raw_bytes=catalog.root.raw_bytes + 1))
        noise = good[: 4 + size] + derived("noise", HEAD_PLAINTEXT_BYTES - 4 - size)
        room = HEAD_PLAINTEXT_BYTES - SKETCH_SIZE_BYTES
        plaintexts: dict[Fault, bytes] = {
            Fault("head-sketch", "Padding and sketch are not zeros: readers ignore them.", "success"): noise,
            Fault(
                "head-tips", "Three sources share the room for sketches; a fourth has no tip.", "success"
            ): encode_head(self.shared(), HEAD_PLAINTEXT_BYTES),
            Fault("head-number", "A head has another number than its name (F-9.2).", "damage"): encoded(
                number=4
            ),
            Fault("head-tail", "A byte follows the last field of a head (F-2.2).", "format"): framed(
                body + b"\0"
            ),
            Fault("head-long", "The body of a head reaches into its sketch (F-9.3).", "format"): (
                (room - 3).to_bytes(4, "little") + good[4:]
            ),
            Fault("head-sum", "The live segments are others than the head says (F-9.6).", "damage"): encoded(
                segments_sum=self._head.segments_sum ^ 1
            ),
            Fault(
                "head-sketches", "The sketches of a head take more room than it has (F-9.10).", "format"
            ): encoded(tips=(replace(self._head.tips[0], part_cells=1667, sketch=b""),)),
            Fault(
                "head-reference", "A head names a catalog with a wrong raw size (F-5.1).", "format"
            ): encoded(catalogs=(bad_catalog,)),
        }
        for fault, plaintext in plaintexts.items():
            yield Spoiled(fault, self._third, self._sealed(self._third, plaintext, fault.name))

    def _old_heads(self) -> Iterator[Spoiled]:
        number, old = 20, tuple(derived(f"ancestor {at}", 16) for at in range(16))
        for fault, ancestors in (
            (Fault("head-old", "A head with as many ancestors as there may be.", "success"), old[:15]),
            (Fault("head-ancestors", "A head has 16 ancestors (F-9.9).", "format"), old),
        ):
            head = replace(self._head, number=number, ancestors=ancestors)
            name = names.head_name(number)
            plaintext = encode_head(head, HEAD_PLAINTEXT_BYTES)
            yield Spoiled(fault, name, self._sealed(name, plaintext, fault.name))

    def shared(self) -> Head:
        """A head in which the sketches of three sources share the room."""
        tips = tuple(self._tip(number) for number in range(3))
        return replace(self._head, tips=tips, tips_complete=False)

    def _tip(self, number: int) -> SourceTip:
        """One of three: the fingerprints of its snapshot are made up, it has none to be read."""
        source, found = derived(f"source {number}", 16), derived(f"fingerprints {number}", 8 * 5**number)
        words = sketching.numbers(found[at : at + 8] for at in range(0, len(found), 8))
        snapshot = replace(self._example.snapshot, identity=derived(f"snapshot {number}", 16))
        return tip_of(source, snapshot, words, tips=3)

    def _segment(self) -> Spoiled:
        name = next(name for name in self._builder.objects if name.startswith(names.SEGMENTS))
        plaintext = bytearray(self._builder.plaintexts[name])
        plaintext[:4] = (len(plaintext) - 4).to_bytes(4, "little")
        fault = Fault(
            "segment-contents", "The table of contents lies outside of its segment (F-3.9).", "format"
        )
        return Spoiled(fault, name, self._sealed(name, bytes(plaintext), fault.name))

    def _keyslots(self) -> Iterator[Spoiled]:
        plan = self._builder.plan
        later = Fault("keyslots-version", "The format version is 2.", "version")
        yield Spoiled(later, names.KEYSLOTS, keyslots(replace(plan, version=2)))
        single = Fault(
            "keyslots-single-writer",
            "That there is one writer is no concern of a reader (F-10.18).",
            "success",
        )
        yield Spoiled(single, names.KEYSLOTS, keyslots(replace(plan, single_writer=True)))
        data = bytearray(keyslots(plan)[:-32])
        data[500] ^= 1
        torn = Fault(
            "keyslots-tag", "The commitment of a slot is right and its tag wrong (F-10.5).", "damage"
        )
        yield Spoiled(torn, names.KEYSLOTS, checksummed(bytes(data)))
