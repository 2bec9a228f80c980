"""A writing session: blocks, tables and the change that a commit makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from bitbacker.format import catalog as catalog_format
from bitbacker.format import entries as entries_format
from bitbacker.format import index as index_format
from bitbacker.format.block import BlockKind, BlockRef, PackedBlock
from bitbacker.format.catalog import CatalogRecord, SegmentRecord, SegmentState
from bitbacker.format.entries import Directory, EntryPage, directory_key, page_of
from bitbacker.format.root import PageRef, TableRef, TableRoot, encode_root
from bitbacker.format.sketch import Fingerprints
from bitbacker.repo.index import PAGE_RECORDS, IndexTable, by_segments, keep_table, pages_of
from bitbacker.repo.known import PlacedChunks, ids_of
from bitbacker.repo.rungs import Rung, rungs_of
from bitbacker.repo.storage import DiscardingStorage
from bitbacker.repo.tips import FingerprintSet, FirstPieces
from bitbacker.repo.write import RawBlock, SegmentStore, WrittenSegment

if TYPE_CHECKING:
    from bitbacker.repo.open import Repository

COMPRESSION_LEVEL = 3
CATALOG_PAGE_TARGET_BYTES = 128 * 1024
INDEX_SEGMENTS_MAX = 65_536
_ROOT_ROOM_BYTES = 4096
_TAIL_SEGMENTS_MAX = 32
_SEGMENT_RECORD_BYTES = 39
_HEAD_RECORDS_BYTES = 17 * 43
_INDEX_RECORD_BYTES = 30
_INDEX_PAGE_BYTES = _INDEX_RECORD_BYTES * PAGE_RECORDS
_PAGE_OF_ROOT_BYTES = 64
_DROPS_OF_PAGE = (entries_format.PAGE_TARGET_BYTES - 1024) // entries_format.FINGERPRINT_SIZE_BYTES


@dataclass(frozen=True, slots=True)
class Coming:
    """What a session will place after it is settled, so that its volume is known before.

    `catalog_bytes`: raw size of the records but those of segments; `root_pages`: the number of pages
    of each entry table, `rung_bytes` the size of each piece of its rungs; `index_records` in all, which
    name `index_segments` older segments.  A session that knows the pages of its catalog and its index
    already gives their `page_bytes` as they are stored; else they are taken for as large as they can be.
    """

    catalog_bytes: int = 0
    root_pages: tuple[int, ...] = ()
    index_records: int = 0
    index_segments: int = 0
    rung_bytes: tuple[int, ...] = ()
    page_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What a session has stored: its segments, its index tables, and the catalog table."""

    segments: tuple[SegmentRecord, ...]
    indexes: tuple[TableRef, ...]
    catalog: TableRef


class Session:
    """Stores blocks and tables; nothing counts before its `Written` is committed."""

    def __init__(
        self, repository: Repository, compression_level: int = COMPRESSION_LEVEL, *, dry_run: bool = False
    ) -> None:
        """With `dry_run` everything is done but the storing."""
        self._cache = repository.cache
        self._heads = repository.heads
        self.tables = repository.tables
        storage = DiscardingStorage(repository.storage.transport) if dry_run else repository.storage
        self.store = SegmentStore(storage, repository.segment_sealer, compression_level, repository.padding)
        self.chunks = PlacedChunks()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

    def submit_data(self, block: RawBlock) -> None:
        """Store a block of chunks; their locations are collected."""
        self.store.submit(block, lambda ref, part: self.chunks.add(ref, part.chunk_ids, part.chunk_sizes))

    def table(
        self, kind: BlockKind, pages: Sequence[tuple[bytes, int, bytes]], segments: tuple[bytes, ...] = ()
    ) -> TableRef:
        """Place a table of (first key, records, raw page) in the tail; only after `settle`."""
        refs = tuple(
            PageRef(self.store.place(kind, raw), first_key, records) for first_key, records, raw in pages
        )
        return self.root(TableRoot(kind, refs, segments))

    def root(self, root: TableRoot) -> TableRef:
        """Place the root of a table whose pages have their places."""
        return TableRef(self.store.place(BlockKind.ROOT, encode_root(root)), root.records)

    def write_indexes(self, table: IndexTable) -> tuple[TableRef, ...]:
        """Place the records in the tail, as tables whose roots fit into a block."""
        return tuple(self._write_index(part) for part in by_segments(table, INDEX_SEGMENTS_MAX))

    def _write_index(self, table: IndexTable) -> TableRef:
        ref = self.table(BlockKind.INDEX, list(_index_pages(table)), table.segments)
        keep_table(self._cache, ref, table)
        return ref

    def write_catalog(
        self, records: Sequence[CatalogRecord], born: int
    ) -> tuple[TableRef, list[SegmentRecord]]:
        """Place a catalog table with these records and one for each segment of this session.

        Room is reserved first, so that no segment is opened behind the record that would name it.
        """
        records = _of_each_key([*self._heads.records(), *records])
        _, draft = self._catalog_pages(records, born)
        for _, _, raw in draft:
            self.store.reserve(self._catalog_page_bytes(raw))
        segments, pages = self._catalog_pages(records, born)
        ref = self.table(BlockKind.CATALOG, pages)
        if len(segments) != len(self.store.written):
            raise AssertionError("a segment was opened behind the catalog that should name it")
        return ref, segments

    def _catalog_page_bytes(self, raw: bytes) -> int:
        """The size of a page as it is stored, with room for the root and for records of some segments."""
        return self.store.packed_bytes(BlockKind.CATALOG, raw) + _ROOT_ROOM_BYTES + len(raw) // 8

    def page_bytes(self, records: Sequence[CatalogRecord], index: IndexTable | None) -> tuple[int, ...]:
        """How much room the pages of a catalog and an index need that will be written."""
        parts = () if index is None else by_segments(index, INDEX_SEGMENTS_MAX)
        return (
            *(self._catalog_page_bytes(raw) for _, _, raw in catalog_pages(_by_key(records))),
            *(
                self.store.packed_bytes(BlockKind.INDEX, raw)
                for part in parts
                for _, _, raw in _index_pages(part)
            ),
        )

    def _catalog_pages(
        self, records: Sequence[CatalogRecord], born: int
    ) -> tuple[list[SegmentRecord], list[tuple[bytes, int, bytes]]]:
        segments = [_record(segment, born) for segment in self.store.written]
        every = [*records, *(catalog_format.encode_segment(segment) for segment in segments)]
        return segments, catalog_pages(_by_key(every))

    def finish(
        self, records: Sequence[CatalogRecord], born: int, indexes: tuple[TableRef, ...] = ()
    ) -> Written:
        """Write the catalog table, store the tail and wait until everything is stored."""
        catalog, segments = self.write_catalog(records, born)
        self.store.finish()
        return Written(tuple(segments), indexes, catalog)

    def settle(self, coming: Coming) -> None:
        """Give every submitted block its place, with room for what is coming."""
        segments = len(self.store.written) + _TAIL_SEGMENTS_MAX
        catalog_bytes = coming.catalog_bytes + segments * _SEGMENT_RECORD_BYTES + _HEAD_RECORDS_BYTES
        pages_at_most = (
            *_in_pages(coming.index_records * _INDEX_RECORD_BYTES, _INDEX_PAGE_BYTES),
            *_in_pages(catalog_bytes, CATALOG_PAGE_TARGET_BYTES),
        )
        later = [
            *(_root_bytes(pages) for pages in coming.root_pages),
            *coming.rung_bytes,
            *(coming.page_bytes or pages_at_most),
            _root_bytes(catalog_bytes // CATALOG_PAGE_TARGET_BYTES + 1),
        ]
        if coming.index_records:
            named = min(coming.index_segments + segments, INDEX_SEGMENTS_MAX)
            pages = coming.index_records * _INDEX_RECORD_BYTES // _INDEX_PAGE_BYTES + 1
            later.append(_root_bytes(pages) + 16 * named)
        self.store.settle(later)

    def settle_indexes(self, coming: Coming) -> tuple[TableRef, ...]:
        """Give every block its place, and write the index of the new chunks."""
        self.settle(replace(coming, index_records=self.store.submitted_chunks))
        table = self.chunks.table()
        return () if table is None else self.write_indexes(table)


def _index_pages(table: IndexTable) -> Iterator[tuple[bytes, int, bytes]]:
    for page in pages_of(ids_of(table), table.locations):
        yield page.ids[:1].tobytes(), len(page.ids), index_format.encode_page(page)


def _root_bytes(pages: int) -> int:
    return _PAGE_OF_ROOT_BYTES * (pages + 1)


def _in_pages(size_bytes: int, page_bytes: int) -> list[int]:
    """So many bytes as pages, each with the room for its header."""
    full, rest = divmod(size_bytes, page_bytes)
    return [page_bytes + _PAGE_OF_ROOT_BYTES] * full + [rest + _PAGE_OF_ROOT_BYTES] * bool(rest)


def _record(segment: WrittenSegment, born: int) -> SegmentRecord:
    return SegmentRecord(segment.identity, SegmentState.LIVE, segment.size_bytes, born)


def _of_each_key(records: Sequence[CatalogRecord]) -> list[CatalogRecord]:
    """The last record of each key."""
    return list({record.key: record for record in records}.values())


def _by_key(records: Sequence[CatalogRecord]) -> list[CatalogRecord]:
    return sorted(records, key=lambda record: record.key)


def size_of(records: Sequence[CatalogRecord]) -> int:
    """How many bytes records take in a catalog page, at most."""
    return sum(len(record.key) + len(record.value or b"") + 9 for record in records)


def catalog_pages(records: Sequence[CatalogRecord]) -> list[tuple[bytes, int, bytes]]:
    """Cut sorted records into pages of (first key, records, raw)."""
    pages: list[tuple[bytes, int, bytes]] = []
    batch: list[CatalogRecord] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.key) + len(record.value or b"") + 9
        if size > CATALOG_PAGE_TARGET_BYTES:
            pages.append((batch[0].key, len(batch), catalog_format.encode_page(batch)))
            batch, size = [], 0
    if batch:
        pages.append((batch[0].key, len(batch), catalog_format.encode_page(batch)))
    return pages


class EntryWriter:
    """Collects directories into the pages of an entry table, which are stored as they fill."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._batch: list[Directory] = []
        self._size = 0
        self._places: list[BlockRef | None] = []
        self._keys: list[bytes] = []
        self._records: list[int] = []
        self._cached: list[bytes] = []
        self._pieces = FirstPieces()
        self._added: list[Fingerprints] = []
        self._dropped: Fingerprints = np.empty(0, np.uint64)
        self._rungs: list[Rung] = []
        self.drops: list[bytes] = []

    @property
    def empty(self) -> bool:
        return not self._batch and not self._places and not self.drops

    @property
    def coming(self) -> Coming:
        """What `finish` will place, after `flush`."""
        pages = len(self._places) + len(self._rungs)
        return Coming(root_pages=(pages,), rung_bytes=tuple(len(rung.raw) for rung in self._rungs))

    def change(self, fingerprints: FingerprintSet) -> FingerprintSet:
        """The set of a snapshot after this table, after `flush`."""
        return fingerprints.changed(self._all_added, self._dropped)

    @property
    def _all_added(self) -> Fingerprints:
        return np.concatenate([np.empty(0, np.uint64), *self._added])

    def add(self, directory: Directory) -> None:
        """Directories come in table order; a large one is cut here."""
        for part in _parts(directory):
            size = part.size_bytes
            if self._batch and self._size + size > entries_format.PAGE_TARGET_BYTES:
                self._flush(page_of(self._batch))
            self._batch.append(part)
            self._size += size

    def _flush(self, page: EntryPage) -> None:
        number = len(self._places)
        self._places.append(None)
        # A page of nothing but drops is not searched; keys of pages ascend all the same.
        last_key = self._keys[-1] if self._keys else b""
        self._keys.append(directory_key(page.paths[0]) if page.paths else last_key)
        self._records.append(page.entries)
        self._cached.append(entries_format.encode_page(page, planes=False))
        self._added.append(self._pieces.of(page))
        self._batch, self._size = [], 0

        def placed(ref: BlockRef, _: PackedBlock) -> None:
            self._places[number] = ref

        self._session.store.submit(RawBlock(BlockKind.ENTRIES, entries_format.encode_page(page)), placed)

    def flush(self) -> None:
        """Store the last pages, those of the drops behind all others; before the session is settled."""
        drops = np.sort(np.frombuffer(b"".join(self.drops), dtype="<u8")).astype(np.uint64)
        if self._batch or not (len(drops) or self._places):
            self._flush(page_of(self._batch))
        for at in range(0, len(drops), _DROPS_OF_PAGE):
            self._flush(page_of([], drops[at : at + _DROPS_OF_PAGE]))
        self._dropped = drops
        self._rungs = rungs_of(self._all_added)
        self.drops = []

    def finish(self) -> TableRef:
        """Write the root, after the session is settled, and keep a copy in the cache."""
        pages = tuple(
            PageRef(_known(place), key, records)
            for place, key, records in zip(self._places, self._keys, self._records, strict=True)
        )
        rungs = tuple(
            PageRef(self._session.store.place(BlockKind.FINGERPRINTS, rung.raw), rung.kind, 0)
            for rung in self._rungs
        )
        ref = self._session.root(TableRoot(BlockKind.ENTRIES, pages, rungs=rungs))
        self._session.tables.keep_entries(ref, tuple(self._keys), self._cached)
        return ref


def _known(place: BlockRef | None) -> BlockRef:
    if place is None:
        raise AssertionError("a page without a place: the session was not settled")
    return place


def _parts(directory: Directory) -> list[Directory]:
    """A directory that is larger than a page, cut into parts that are not."""
    if directory.size_bytes <= entries_format.PAGE_TARGET_BYTES or not directory.entries:
        return [directory]
    if directory.entries > 1:
        first, second = entries_format.split_directory(directory, directory.entries // 2)
    elif len(directory.chunk_ids) > entries_format.PAGE_TARGET_BYTES:
        first, second = entries_format.split_entry(directory)
    else:
        return [directory]
    return _parts(first) + _parts(second)
