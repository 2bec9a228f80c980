"""The catalog of a head: which snapshots and which segments there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from bitbacker.crypto.keys import Keys
from bitbacker.errors import DamageError
from bitbacker.format import catalog as catalog_format
from bitbacker.format.catalog import (
    SEGMENT_KEY,
    SNAPSHOT_KEY,
    CatalogRecord,
    SegmentRecord,
    SegmentState,
    Snapshot,
)
from bitbacker.format.head import Head
from bitbacker.repo.tables import TableReader

SUM_MODULUS = 2**256


@dataclass(frozen=True)
class Catalog:
    """The records of a head by key; removed ones are gone."""

    records: dict[bytes, bytes]

    @cached_property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """All snapshots, oldest first."""
        found = [
            catalog_format.decode_snapshot(CatalogRecord(key, value))
            for key, value in self.records.items()
            if key.startswith(SNAPSHOT_KEY)
        ]
        return tuple(sorted(found, key=lambda snapshot: (snapshot.time_ns, snapshot.identity)))

    @cached_property
    def segments(self) -> dict[bytes, SegmentRecord]:
        """All segments by identity, condemned ones too."""
        found = [
            catalog_format.decode_segment(CatalogRecord(key, value))
            for key, value in self.records.items()
            if key.startswith(SEGMENT_KEY)
        ]
        return {record.identity: record for record in found}

    @property
    def head_hashes(self) -> dict[int, bytes]:
        """The first 16 bytes of the hashes of older heads, by number.  Raises `FormatError`."""
        return catalog_format.head_hashes(self.records)

    @property
    def live(self) -> frozenset[bytes]:
        """Identities of the live segments."""
        return frozenset(i for i, record in self.segments.items() if record.state is SegmentState.LIVE)

    @property
    def condemned(self) -> frozenset[bytes]:
        """Identities of the segments that are being deleted."""
        return frozenset(i for i, record in self.segments.items() if record.state is SegmentState.CONDEMNED)


def load_catalog(reader: TableReader, keys: Keys, head: Head) -> Catalog:
    """Merge the catalog tables of a head and hold them against what the head commits to.

    Raises `DamageError` when the live segments are not those of the head.
    """
    records: dict[bytes, bytes] = {}
    for ref in head.catalogs:
        for raw in reader.catalog_pages(ref):
            for record in catalog_format.decode_page(raw):
                if record.value is None:
                    records.pop(record.key, None)
                else:
                    records[record.key] = record.value
    catalog = Catalog(records)
    live = catalog.live
    if len(live) != head.segments or segments_sum(keys, live) != head.segments_sum:
        raise DamageError(f"the catalog does not list the segments that head {head.number} commits to")
    return catalog


def segments_sum(keys: Keys, identities: Iterable[bytes]) -> int:
    """The sum by which a head commits to a set of segments."""
    return sum(keys.segment_hash(identity) for identity in identities) % SUM_MODULUS
