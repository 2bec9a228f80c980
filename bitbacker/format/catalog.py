"""Pages of a catalog table: snapshots, segments and hashes of heads by key.  docs/format.md section 8.

A later table overrules an earlier one; a record without a value says that there is none any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from bitbacker.errors import FormatError
from bitbacker.format.head import ANCESTOR_SIZE_BYTES, Head
from bitbacker.format.names import SEGMENT_ID_SIZE_BYTES
from bitbacker.format.root import TABLE_REF_SIZE_BYTES, TableRef, read_table_ref, write_table_ref
from bitbacker.format.wire import Reader, Writer

SNAPSHOT_KEY = b"s"
SEGMENT_KEY = b"g"
HEAD_KEY = b"h"
HEAD_IDENTITY_SIZE_BYTES = 16
SNAPSHOT_ID_SIZE_BYTES = 16


@dataclass(frozen=True, slots=True)
class CatalogRecord:
    """`key` is a kind and an identity; `value` is None for a record that removes."""

    key: bytes
    value: bytes | None


def encode_page(records: list[CatalogRecord]) -> bytes:
    """Records ascend by key."""
    writer = Writer()
    writer.u32(len(records))
    for record in records:
        writer.blob(record.key)
        writer.u8(record.value is not None)
        if record.value is not None:
            writer.blob(record.value)
    return writer.bytes()


def decode_page(raw: bytes | memoryview) -> list[CatalogRecord]:
    """Raises `FormatError`."""
    reader = Reader(raw)
    records = list(reader.many(lambda: _read_record(reader), 5))
    reader.end()
    if any(low.key >= high.key for low, high in pairwise(records)):
        raise FormatError("catalog records out of order")
    return records


def _read_record(reader: Reader) -> CatalogRecord:
    key = reader.blob()
    return CatalogRecord(key, reader.blob() if reader.flag() else None)


class SegmentState(IntEnum):
    """Live segments hold what snapshots need; condemned ones are being deleted."""

    LIVE = 0
    CONDEMNED = 1


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment of the repository; `born` is the number of the head that first listed it."""

    identity: bytes
    state: SegmentState
    size_bytes: int
    born: int

    @property
    def key(self) -> bytes:
        return SEGMENT_KEY + self.identity


def encode_segment(record: SegmentRecord) -> CatalogRecord:
    writer = Writer()
    writer.u8(record.state)
    writer.u32(record.size_bytes)
    writer.u64(record.born)
    return CatalogRecord(record.key, writer.bytes())


def decode_segment(record: CatalogRecord) -> SegmentRecord:
    """Raises `FormatError`."""
    identity = record.key[1:]
    if len(identity) != SEGMENT_ID_SIZE_BYTES or record.value is None:
        raise FormatError("a segment record that no writer makes")
    reader = Reader(record.value)
    state, size, born = reader.u8(), reader.u32(), reader.u64()
    reader.end()
    if state not in tuple(SegmentState):
        raise FormatError("a segment in an unknown state")
    return SegmentRecord(identity, SegmentState(state), size, born)


def hash_record(number: int, prefix: bytes) -> CatalogRecord:
    """The record of a head: the first 16 bytes of its hash.  It never changes."""
    return CatalogRecord(HEAD_KEY + number.to_bytes(HEAD_IDENTITY_SIZE_BYTES, "big"), prefix)


def head_hashes(records: Mapping[bytes, bytes]) -> dict[int, bytes]:
    """The hashes of heads that a catalog records, by number.  Raises `FormatError`."""
    found = {key: prefix for key, prefix in records.items() if key.startswith(HEAD_KEY)}
    for key, prefix in found.items():
        if len(key) != 1 + HEAD_IDENTITY_SIZE_BYTES or len(prefix) != ANCESTOR_SIZE_BYTES:
            raise FormatError("a record of a head that no writer makes")
    return {int.from_bytes(key[1:], "big"): prefix for key, prefix in found.items()}


def hashes_before(head: Head) -> dict[int, bytes]:
    """What a head says of those before it: the first 16 bytes of the hash of each, by number."""
    prefixes = (head.previous_hash[:ANCESTOR_SIZE_BYTES], *head.ancestors)
    return {head.number - back: prefix for back, prefix in enumerate(prefixes, 1) if head.number - back > 0}


def head_records(head: Head, head_hash: bytes) -> list[CatalogRecord]:
    """The records of a head and of those that it names: up to 17, ascending by key."""
    known = {**hashes_before(head), head.number: head_hash[:ANCESTOR_SIZE_BYTES]}
    return [hash_record(number, known[number]) for number in sorted(known)]


@dataclass(frozen=True, slots=True)
class Owner:
    """A number and the name that it had on the machine that was backed up."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class SnapshotStats:
    """What a session did; sizes in bytes.

    `files_changed` are new or changed since the parent; `files_unmodified` are all others of `files`.
    """

    files: int = 0
    directories: int = 0
    others: int = 0
    size_bytes: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    added_bytes: int = 0
    stored_bytes: int = 0
    problems: int = 0
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point in time of one source: entry tables, oldest first, later ones overruling.

    `parent` is the snapshot that it was compared with, or None.  `partial` marks a checkpoint of a
    session that had not ended.
    """

    identity: bytes
    time_ns: int
    host: str
    source: str
    roots: tuple[str, ...]
    tags: tuple[str, ...]
    tables: tuple[TableRef, ...]
    program: str
    parent: bytes | None = None
    partial: bool = False
    stats: SnapshotStats = SnapshotStats()
    users: tuple[Owner, ...] = ()
    groups: tuple[Owner, ...] = ()

    @property
    def key(self) -> bytes:
        return SNAPSHOT_KEY + self.identity

    @property
    def id(self) -> str:
        """The identity as users see it."""
        return self.identity.hex()


_STATS = tuple(SnapshotStats.__dataclass_fields__)


def encode_snapshot(snapshot: Snapshot) -> CatalogRecord:
    writer = Writer()
    writer.i64(snapshot.time_ns)
    writer.u8(snapshot.partial)
    writer.blob(snapshot.parent or b"")
    for text in (snapshot.host, snapshot.source, snapshot.program):
        writer.text(text)
    for texts in (snapshot.roots, snapshot.tags):
        writer.u32(len(texts))
        for text in texts:
            writer.text(text)
    writer.u32(len(snapshot.tables))
    for table in snapshot.tables:
        write_table_ref(writer, table)
    for name in _STATS:
        writer.u64(getattr(snapshot.stats, name))
    for owners in (snapshot.users, snapshot.groups):
        writer.u32(len(owners))
        for owner in owners:
            writer.u32(owner.number)
            writer.text(owner.name)
    return CatalogRecord(snapshot.key, writer.bytes())


def decode_snapshot(record: CatalogRecord) -> Snapshot:
    """Raises `FormatError`."""
    identity = record.key[1:]
    if len(identity) != SNAPSHOT_ID_SIZE_BYTES or record.value is None:
        raise FormatError("a snapshot record that no writer makes")
    reader = Reader(record.value)
    time_ns, partial, parent = reader.i64(), reader.flag(), reader.blob()
    if len(parent) not in (0, SNAPSHOT_ID_SIZE_BYTES):
        raise FormatError("a snapshot record that no writer makes")
    host, source, program = reader.text(), reader.text(), reader.text()
    roots = reader.many(reader.text, 4)
    tags = reader.many(reader.text, 4)
    tables = reader.many(lambda: read_table_ref(reader), TABLE_REF_SIZE_BYTES)
    stats = SnapshotStats(*(reader.u64() for _ in _STATS))
    users = reader.many(lambda: Owner(reader.u32(), reader.text()), 8)
    groups = reader.many(lambda: Owner(reader.u32(), reader.text()), 8)
    reader.end()
    return Snapshot(
        identity,
        time_ns,
        host,
        source,
        roots,
        tags,
        tables,
        program,
        parent or None,
        partial,
        stats,
        users,
        groups,
    )
