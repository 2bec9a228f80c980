"""Hypothesis strategies for every value that the format can hold."""

from __future__ import annotations

import stat
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

from bitbacker.format.block import BlockKind, BlockRef
from bitbacker.format.catalog import (
    CatalogRecord,
    Owner,
    SegmentRecord,
    SegmentState,
    Snapshot,
    SnapshotStats,
)
from bitbacker.format.entries import Directory, EntryPage, Extra, page_of
from bitbacker.format.extras import EntryExtras, ExtentRef, Xattr
from bitbacker.format.head import ANCESTORS_MAX, DIGEST_SIZE_BYTES, PART_CELL_SIZE_BYTES, Head, SourceTip
from bitbacker.format.index import IDS_DTYPE, LOCATION_DTYPE, IndexPage
from bitbacker.format.keyslots import SLOTS, Constants, PluginChoice, SlotContent, SlotInfo, SlotKind, Stamp
from bitbacker.format.root import RUNG_LIST, RUNG_SKETCH, TABLE_KINDS, PageRef, TableRef, TableRoot
from bitbacker.spi import ROW

u8 = st.integers(0, 2**8 - 1)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
texts = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))
words = st.text(st.characters(codec="utf-8"), max_size=12)
identities = st.binary(min_size=16, max_size=16)
names = st.binary(min_size=1, max_size=8).filter(
    lambda name: name not in {b".", b".."} and not {b"/"[0], 0} & set(name)
)


T = TypeVar("T")


def many(items: st.SearchStrategy[T], size: int = 4) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(items, max_size=size).map(tuple)


xattrs = st.builds(Xattr, st.binary(max_size=6), st.binary(max_size=6))


@st.composite
def extents(draw: st.DrawFn) -> tuple[ExtentRef, ...]:
    """Runs of data that ascend and do not touch more than they may."""
    found: list[ExtentRef] = []
    at = 0
    for gap, size in draw(st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 2**40)), max_size=4)):
        found.append(ExtentRef(at + gap, size))
        at += gap + size
    return tuple(found)


extras = st.builds(EntryExtras, many(xattrs), st.none() | extents())

block_refs = st.builds(BlockRef, identities, u16, u32)
table_refs = st.builds(TableRef, block_refs, u64)
page_refs = many(st.builds(PageRef, block_refs, st.binary(max_size=8), u32))
rungs = many(st.builds(PageRef, block_refs, st.sampled_from((RUNG_SKETCH, RUNG_LIST)), st.just(0)))
entry_roots = st.builds(TableRoot, st.just(BlockKind.ENTRIES), page_refs, many(identities), rungs)
roots = entry_roots | st.builds(TableRoot, st.sampled_from(TABLE_KINDS), page_refs, many(identities))


@st.composite
def source_tips(draw: st.DrawFn) -> SourceTip:
    """Tips with small sketches, so that some of them find room in any head."""
    cells = draw(st.integers(0, 3))
    digest = draw(st.binary(min_size=DIGEST_SIZE_BYTES, max_size=DIGEST_SIZE_BYTES))
    size = cells * PART_CELL_SIZE_BYTES
    sketch = draw(st.binary(min_size=size, max_size=size))
    return SourceTip(draw(identities), draw(identities), draw(many(table_refs)), digest, cells, sketch)


heads = st.builds(
    Head,
    number=st.integers(1, 2**64 - 1),
    previous_hash=st.binary(min_size=32, max_size=32),
    time_ns=i64,
    writer=identities,
    prunes=u64,
    segments=u64,
    segments_sum=st.integers(0, 2**256 - 1),
    catalogs=many(table_refs),
    indexes=many(table_refs),
    tips=many(source_tips()),
    ancestors=many(identities, ANCESTORS_MAX),
    tips_complete=st.booleans(),
)

owners = st.builds(Owner, u32, texts)
snapshots = st.builds(
    Snapshot,
    identity=identities,
    time_ns=i64,
    host=texts,
    source=texts,
    roots=many(texts),
    tags=many(texts),
    tables=many(table_refs),
    program=texts,
    parent=st.none() | identities,
    partial=st.booleans(),
    stats=st.builds(SnapshotStats, *[u64] * len(SnapshotStats.__dataclass_fields__)),
    users=many(owners),
    groups=many(owners),
)
segment_records = st.builds(SegmentRecord, identities, st.sampled_from(SegmentState), u32, u64)
catalog_pages = st.lists(
    st.builds(CatalogRecord, st.binary(max_size=17), st.none() | st.binary(max_size=20)),
    max_size=6,
    unique_by=lambda record: record.key,
).map(lambda records: sorted(records, key=lambda record: record.key))


@st.composite
def index_pages(draw: st.DrawFn) -> IndexPage:
    ids = sorted(draw(st.lists(identities, min_size=1, max_size=8, unique=True)))
    locations = draw(st.lists(st.tuples(u32, u16, u32, u32), min_size=len(ids), max_size=len(ids)))
    return IndexPage(np.frombuffer(b"".join(ids), IDS_DTYPE), np.array(locations, LOCATION_DTYPE))


plugin_choices = st.builds(PluginChoice, words, words, words)
slot_contents = st.builds(
    SlotContent, st.binary(min_size=32, max_size=32), st.builds(Constants, plugin_choices, plugin_choices)
)
slot_infos = st.lists(
    st.builds(SlotInfo, st.sampled_from(SlotKind), u64, st.text(st.characters(codec="ascii"), max_size=40)),
    min_size=SLOTS,
    max_size=SLOTS,
).map(tuple)

stamps = st.builds(Stamp, u64, st.binary(min_size=32, max_size=32))

kinds = st.sampled_from([stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK])
modes = st.builds(lambda kind, bits: kind | bits, kinds, st.integers(0, 0o7777))
rows = st.builds(ROW.pack, modes, u32, u32, u32, u32, i64, i64, i64, u64)


@st.composite
def directories(draw: st.DrawFn, path: bytes = b"") -> Directory:
    """Any directory: links where rows say so, extras and chunks anywhere."""
    found = sorted(draw(st.lists(names, max_size=6, unique=True)))
    packed = [draw(rows) for _ in found]
    links = [row for row in packed if stat.S_ISLNK(int.from_bytes(row[:4], "little"))]
    counts = draw(st.lists(st.integers(0, 3), min_size=len(found), max_size=len(found)))
    positions = sorted(draw(st.sets(st.sampled_from(range(len(found)))))) if found else []
    return Directory(
        path,
        b"\0".join(found),
        b"".join(packed),
        draw(st.binary(min_size=8 * len(found), max_size=8 * len(found))),
        bytes(draw(st.lists(st.integers(0, 1), min_size=len(found), max_size=len(found)))),
        np.array(counts, dtype=np.uint32),
        draw(st.binary(min_size=16 * sum(counts), max_size=16 * sum(counts))),
        tuple(draw(names) for _ in links),
        tuple(Extra(position, draw(st.binary(max_size=9))) for position in positions),
    )


@st.composite
def entry_pages(draw: st.DrawFn) -> EntryPage:
    """Directories in order, one path perhaps several times, and drops."""
    paths = sorted(draw(st.lists(st.lists(names, max_size=3), max_size=4)))
    found = [draw(directories(path=b"/".join(path))) for path in paths]
    drops = sorted(draw(st.lists(u64, max_size=4)))
    return page_of(found, np.array(drops, dtype=np.uint64))
