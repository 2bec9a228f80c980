"""The head: what the repository is after a session.  docs/format.md section 9.

A head's plaintext has one size.  Its body stands first; the last `SKETCH_SIZE_BYTES` are for the
sketch of the newest snapshot; between them are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.errors import FormatError
from bitbacker.format.root import TABLE_REF_SIZE_BYTES, TableRef, read_table_ref, write_table_ref
from bitbacker.format.wire import Reader, Writer

SKETCH_SIZE_BYTES = 60_000
HASH_SIZE_BYTES = 32


@dataclass(frozen=True, slots=True)
class SourceTip:
    """The last snapshot of a source; `source` is a keyed 16-byte hash of host and source name."""

    source: bytes
    snapshot: bytes
    tables: tuple[TableRef, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """A state of the repository.

    `previous_hash` is the BLAKE3 of the object of head `number - 1`.  `prunes` counts commits that
    condemned segments.  `segments` and `segments_sum` commit to the live segments: their count and
    the sum of their keyed hashes (docs/decisions/0003).  Tables stand oldest first.
    """

    number: int
    previous_hash: bytes
    time_ns: int
    writer: bytes
    prunes: int
    segments: int
    segments_sum: int
    catalogs: tuple[TableRef, ...]
    indexes: tuple[TableRef, ...]
    tips: tuple[SourceTip, ...] = ()


def encode_head(head: Head, size_bytes: int) -> bytes:
    """The plaintext of `size_bytes`; the oldest tips are left out when there is no room for all."""
    fixed = _encode_fixed(head)
    room = size_bytes - SKETCH_SIZE_BYTES - 4 - len(fixed) - 4
    tips: list[bytes] = []
    for tip in head.tips:
        data = _encode_tip(tip)
        if len(data) > room:
            break
        room -= len(data)
        tips.append(data)
    writer = Writer()
    writer.raw(fixed)
    writer.u32(len(tips))
    writer.raw(b"".join(tips))
    body = writer.bytes()
    if room < 0:
        raise FormatError("the tables of the repository are too many for a head", hint="run bitbacker prune")
    framed = Writer()
    framed.blob(body)
    framed.raw(bytes(size_bytes - 4 - len(body)))
    return framed.bytes()


def _encode_fixed(head: Head) -> bytes:
    writer = Writer()
    writer.u64(head.number)
    writer.raw(head.previous_hash)
    writer.i64(head.time_ns)
    writer.raw(head.writer)
    writer.u64(head.prunes)
    writer.u64(head.segments)
    writer.raw(head.segments_sum.to_bytes(HASH_SIZE_BYTES, "little"))
    for tables in (head.catalogs, head.indexes):
        writer.u32(len(tables))
        for table in tables:
            write_table_ref(writer, table)
    return writer.bytes()


def _encode_tip(tip: SourceTip) -> bytes:
    writer = Writer()
    writer.raw(tip.source)
    writer.raw(tip.snapshot)
    writer.u32(len(tip.tables))
    for table in tip.tables:
        write_table_ref(writer, table)
    return writer.bytes()


def decode_head(plaintext: bytes | bytearray | memoryview) -> Head:
    """Raises `FormatError`."""
    framed = Reader(plaintext)
    reader = Reader(framed.blob())
    if framed.left < SKETCH_SIZE_BYTES:
        raise FormatError("a head whose body reaches into its sketch")
    number, previous_hash = reader.u64(), reader.raw(HASH_SIZE_BYTES)
    time_ns, writer = reader.i64(), reader.raw(16)
    prunes, segments = reader.u64(), reader.u64()
    segments_sum = int.from_bytes(reader.raw(HASH_SIZE_BYTES), "little")
    catalogs = reader.many(lambda: read_table_ref(reader), TABLE_REF_SIZE_BYTES)
    indexes = reader.many(lambda: read_table_ref(reader), TABLE_REF_SIZE_BYTES)
    tips = reader.many(lambda: _read_tip(reader), 36)
    reader.end()
    if number == 0:
        raise FormatError("a head without a number")
    return Head(
        number, previous_hash, time_ns, writer, prunes, segments, segments_sum, catalogs, indexes, tips
    )


def _read_tip(reader: Reader) -> SourceTip:
    source, snapshot = reader.raw(16), reader.raw(16)
    return SourceTip(source, snapshot, reader.many(lambda: read_table_ref(reader), TABLE_REF_SIZE_BYTES))
