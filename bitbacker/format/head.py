"""The head: what the repository is after a session.  docs/format.md section 9.

A head's plaintext has one size.  Its body stands first; the last `SKETCH_SIZE_BYTES` hold the sketches
of the newest snapshots of all sources, one behind the other; between them are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.errors import FormatError
from bitbacker.format.root import TABLE_REF_SIZE_BYTES, TableRef, read_table_ref, write_table_ref
from bitbacker.format.wire import Reader, Writer

SKETCH_SIZE_BYTES = 60_000
HASH_SIZE_BYTES = 32
ANCESTOR_SIZE_BYTES = 16
ANCESTORS_MAX = 15
DIGEST_SIZE_BYTES = 24
PART_CELL_SIZE_BYTES = 36
"""What one cell in each of the three parts of a sketch takes."""

_TIP_SIZE_MIN_BYTES = 16 + 16 + DIGEST_SIZE_BYTES + 2 + 4


@dataclass(frozen=True, slots=True)
class SourceTip:
    """The last snapshot of a source; `source` is a keyed 16-byte hash of host and source name.

    `digest` (24 bytes) and `sketch` (36 bytes for each of `part_cells`) are those of the fingerprints
    of the snapshot: docs/format.md section 9.1.  A tip of 0 cells has no sketch.
    """

    source: bytes
    snapshot: bytes
    tables: tuple[TableRef, ...]
    digest: bytes = bytes(DIGEST_SIZE_BYTES)
    part_cells: int = 0
    sketch: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """A state of the repository.

    `previous_hash` is the BLAKE3 of the object of head `number - 1`.  `prunes` counts commits that
    condemned segments.  `segments` and `segments_sum` commit to the live segments: their count and
    the sum of their keyed hashes (docs/decisions/0003).  Tables stand oldest first.  `ancestors` are the
    first 16 bytes of the hashes of the heads before the previous one, newest first.  Unless
    `tips_complete`, sources may have snapshots and no tip.
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
    ancestors: tuple[bytes, ...] = ()
    tips_complete: bool = True


def encode_head(head: Head, size_bytes: int) -> bytes:
    """The plaintext of `size_bytes`; the oldest tips are left out when there is no room for all.

    Raises `FormatError` when the tables take more room than there is.
    """
    fixed = _encode_fixed(head)
    room = size_bytes - SKETCH_SIZE_BYTES - 4 - len(fixed) - 1 - 4
    if room < 0:
        raise FormatError("the tables of the repository are too many for a head", hint="run bitbacker prune")
    tips: list[bytes] = []
    sketches: list[bytes] = []
    sketch_room = SKETCH_SIZE_BYTES
    for tip in head.tips:
        data = _encode_tip(tip)
        room -= len(data)
        sketch_room -= len(tip.sketch)
        if room < 0 or sketch_room < 0:
            break
        tips.append(data)
        sketches.append(tip.sketch)
    writer = Writer()
    writer.raw(fixed)
    writer.u8(int(head.tips_complete and len(tips) == len(head.tips)))
    writer.u32(len(tips))
    writer.raw(b"".join(tips))
    body = writer.bytes()
    framed = Writer()
    framed.blob(body)
    framed.raw(bytes(size_bytes - 4 - len(body) - SKETCH_SIZE_BYTES))
    framed.raw(b"".join(sketches).ljust(SKETCH_SIZE_BYTES, b"\0"))
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
    writer.u32(len(head.ancestors))
    writer.raw(b"".join(head.ancestors))
    for tables in (head.catalogs, head.indexes):
        writer.u32(len(tables))
        for table in tables:
            write_table_ref(writer, table)
    return writer.bytes()


def _encode_tip(tip: SourceTip) -> bytes:
    writer = Writer()
    writer.raw(tip.source)
    writer.raw(tip.snapshot)
    writer.raw(tip.digest)
    writer.u16(tip.part_cells)
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
    ancestors = reader.many(lambda: reader.raw(ANCESTOR_SIZE_BYTES), ANCESTOR_SIZE_BYTES)
    catalogs = reader.many(lambda: read_table_ref(reader), TABLE_REF_SIZE_BYTES)
    indexes = reader.many(lambda: read_table_ref(reader), TABLE_REF_SIZE_BYTES)
    tips_complete = reader.flag()
    sketches = Reader(memoryview(plaintext)[len(plaintext) - SKETCH_SIZE_BYTES :])
    tips = reader.many(lambda: _read_tip(reader, sketches), _TIP_SIZE_MIN_BYTES)
    reader.end()
    if number == 0:
        raise FormatError("a head without a number")
    if len(ancestors) > ANCESTORS_MAX:
        raise FormatError("a head with more ancestors than are kept")
    return Head(
        number,
        previous_hash,
        time_ns,
        writer,
        prunes,
        segments,
        segments_sum,
        catalogs,
        indexes,
        tips,
        ancestors,
        tips_complete,
    )


def _read_tip(reader: Reader, sketches: Reader) -> SourceTip:
    source, snapshot = reader.raw(16), reader.raw(16)
    digest, part_cells = reader.raw(DIGEST_SIZE_BYTES), reader.u16()
    tables = reader.many(lambda: read_table_ref(reader), TABLE_REF_SIZE_BYTES)
    sketch = sketches.raw(part_cells * PART_CELL_SIZE_BYTES)
    return SourceTip(source, snapshot, tables, digest, part_cells, sketch)
