"""The root of a table: which pages it has and where.  docs/format.md section 5.

A table is an immutable run of records sorted by key, cut in pages of one block each.  Its root lists
the pages with the first key of each, so that a reader finds a key without reading the other pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.errors import FormatError
from bitbacker.format.block import BlockKind, BlockRef
from bitbacker.format.names import SEGMENT_ID_SIZE_BYTES
from bitbacker.format.wire import Reader, Writer

TABLE_KINDS = (BlockKind.ENTRIES, BlockKind.INDEX, BlockKind.CATALOG)
RUNG_SKETCH = b"\x01"
RUNG_LIST = b"\x02"


@dataclass(frozen=True, slots=True)
class PageRef:
    """One page: where it lies, its first key, and how many records it has."""

    block: BlockRef
    first_key: bytes
    records: int


@dataclass(frozen=True, slots=True)
class TableRoot:
    """All pages of a table, and the segments that its records name by position.

    `rungs` of an entry table hold the fingerprints of its entries once more, as a sketch and as a list;
    their first key, `RUNG_SKETCH` or `RUNG_LIST`, says which, and they have no records.
    """

    kind: BlockKind
    pages: tuple[PageRef, ...]
    segments: tuple[bytes, ...] = ()
    rungs: tuple[PageRef, ...] = ()

    @property
    def records(self) -> int:
        return sum(page.records for page in self.pages)


@dataclass(frozen=True, slots=True)
class TableRef:
    """What names a table: the block of its root, and how many records it has."""

    root: BlockRef
    records: int

    @property
    def identity(self) -> str:
        """A word that no other table shares."""
        return f"{self.root.segment.hex()}-{self.root.number}"


def write_block_ref(writer: Writer, ref: BlockRef) -> None:
    writer.raw(ref.segment)
    writer.u16(ref.number)
    writer.u32(ref.raw_bytes)


def read_block_ref(reader: Reader) -> BlockRef:
    return BlockRef(reader.raw(SEGMENT_ID_SIZE_BYTES), reader.u16(), reader.u32())


BLOCK_REF_SIZE_BYTES = SEGMENT_ID_SIZE_BYTES + 2 + 4
TABLE_REF_SIZE_BYTES = BLOCK_REF_SIZE_BYTES + 8


def write_table_ref(writer: Writer, ref: TableRef) -> None:
    write_block_ref(writer, ref.root)
    writer.u64(ref.records)


def read_table_ref(reader: Reader) -> TableRef:
    return TableRef(read_block_ref(reader), reader.u64())


def encode_root(root: TableRoot) -> bytes:
    """Pages and the segments behind them."""
    writer = Writer()
    writer.u8(root.kind)
    writer.u32(len(root.segments))
    writer.raw(b"".join(root.segments))
    _write_pages(writer, root.pages)
    if root.kind is BlockKind.ENTRIES:
        _write_pages(writer, root.rungs)
    return writer.bytes()


def _write_pages(writer: Writer, pages: tuple[PageRef, ...]) -> None:
    writer.u32(len(pages))
    for page in pages:
        write_block_ref(writer, page.block)
        writer.u32(page.records)
        writer.blob(page.first_key)


def decode_root(raw: bytes | memoryview) -> TableRoot:
    """Raises `FormatError`."""
    reader = Reader(raw)
    kind = reader.u8()
    if kind not in TABLE_KINDS:
        raise FormatError(f"a table of unknown kind {kind}")
    segments = reader.many(lambda: reader.raw(SEGMENT_ID_SIZE_BYTES), SEGMENT_ID_SIZE_BYTES)
    pages = reader.many(lambda: _read_page(reader), BLOCK_REF_SIZE_BYTES + 8)
    rungs: tuple[PageRef, ...] = ()
    if kind == BlockKind.ENTRIES:
        rungs = reader.many(lambda: _read_page(reader), BLOCK_REF_SIZE_BYTES + 8)
    reader.end()
    if any(rung.first_key not in (RUNG_SKETCH, RUNG_LIST) or rung.records for rung in rungs):
        raise FormatError("a rung of unknown kind")
    return TableRoot(BlockKind(kind), pages, segments, rungs)


def _read_page(reader: Reader) -> PageRef:
    block = read_block_ref(reader)
    records = reader.u32()
    return PageRef(block, reader.blob(), records)
