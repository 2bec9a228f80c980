"""Tables: their roots and pages, read through the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitbacker.errors import FormatError
from bitbacker.format import entries
from bitbacker.format.block import BlockKind
from bitbacker.format.entries import EntryPage
from bitbacker.format.root import PageRef, TableRef, TableRoot, decode_root
from bitbacker.repo.cache import TableCache
from bitbacker.repo.read import SegmentReader


@dataclass(frozen=True, slots=True)
class EntryTable:
    """An entry table that is open: the first key of each page, and the pages, decoded when asked."""

    first_keys: tuple[bytes, ...]
    _blobs: tuple[bytes | memoryview, ...]

    @property
    def pages(self) -> int:
        return len(self._blobs)

    def page(self, number: int) -> EntryPage:
        return entries.decode_page(self._blobs[number])

    def __iter__(self) -> Iterator[EntryPage]:
        return (self.page(number) for number in range(self.pages))


class TableReader:
    """Opens tables by their references."""

    def __init__(self, segments: SegmentReader, cache: TableCache) -> None:
        self._segments = segments
        self._cache = cache

    def root(self, ref: TableRef, kind: BlockKind) -> TableRoot:
        """The root of a table.  Raises `DamageError`."""
        root = decode_root(self._segments.block(ref.root, BlockKind.ROOT))
        if root.kind is not kind or root.records != ref.records:
            raise FormatError("the root of a table is not what was asked for")
        return root

    def blobs(self, ref: TableRef, kind: BlockKind) -> Iterator[bytes | memoryview]:
        """The raw pages of a table, in order, from the repository."""
        for page in self.root(ref, kind).pages:
            yield self._segments.block(page.block, kind)

    def catalog_pages(self, ref: TableRef) -> list[bytes | memoryview]:
        """The raw pages of a catalog table, from the cache when they are there."""
        cached = self._cache.load(ref.identity)
        if cached is not None:
            return list(cached)
        pages = list(self.blobs(ref, BlockKind.CATALOG))
        self._cache.store(ref.identity, pages)
        return pages

    def entry_table(self, ref: TableRef) -> EntryTable:
        """An entry table, from the cache when it is there, else from the repository."""
        cached = self._cache.load(ref.identity)
        if cached:
            return _from_cache(tuple(cached))
        root = self.root(ref, BlockKind.ENTRIES)
        blobs = [
            entries.encode_page(
                entries.decode_page(self._segments.block(page.block, BlockKind.ENTRIES)), planes=False
            )
            for page in root.pages
        ]
        keys = tuple(page.first_key for page in root.pages)
        self.keep_entries(ref, keys, blobs)
        return EntryTable(keys, tuple(blobs))

    def cached(self, ref: TableRef) -> bool:
        """Whether the cache has an entry table, undamaged."""
        return bool(self._cache.load(ref.identity))

    def entry_page(self, page: PageRef) -> EntryPage:
        """One page of an entry table, from the repository.  Raises `DamageError`, `StorageError`."""
        return entries.decode_page(self._segments.block(page.block, BlockKind.ENTRIES))

    def rungs(self, root: TableRoot, kind: bytes) -> list[bytes | memoryview]:
        """The pieces of a rung of an entry table, in order.  Raises `DamageError`, `StorageError`."""
        return [
            self._segments.block(rung.block, BlockKind.FINGERPRINTS)
            for rung in root.rungs
            if rung.first_key == kind
        ]

    def keep_entries(self, ref: TableRef, keys: tuple[bytes, ...], blobs: list[bytes]) -> None:
        """Put an entry table into the cache: its first keys, each followed by its page."""
        self._cache.store(ref.identity, [part for pair in zip(keys, blobs, strict=True) for part in pair])


def _from_cache(blobs: tuple[memoryview, ...]) -> EntryTable:
    return EntryTable(tuple(bytes(key) for key in blobs[::2]), blobs[1::2])
