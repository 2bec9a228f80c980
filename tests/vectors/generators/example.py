"""The worked example of docs/format.md: every byte with what it means.

`python -m vectors.generators.example` from the directory `tests` writes the example into the document.
"""

from __future__ import annotations

import re
from pathlib import Path

from blake3 import blake3

from bitbacker.format import names
from bitbacker.format.catalog import Owner, Snapshot, SnapshotStats
from bitbacker.format.head import SKETCH_SIZE_BYTES
from vectors.generators import entry, sketching
from vectors.generators.builder import (
    OVERHEAD_BYTES,
    PASSWORD,
    Builder,
    KeyslotsPlan,
    Session,
    entry_page,
    seal,
    seal_slot,
    slot_salt,
    stretched,
    tip_of,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "format.md"
MARKER = re.compile(r"<!-- example: (?P<name>[\w-]+) -->\n(\n```text\n.*?\n```\n)?", re.DOTALL)
CONTENT = b"Hello, world!\n"
HEX_COLUMNS = 64


class Dump:
    """Bytes with remarks; `text` shows both, `data` is all bytes."""

    def __init__(self) -> None:
        self.data = b""
        self._lines: list[str] = []

    def add(self, data: bytes, remark: str) -> None:
        self.data += data
        digits = data.hex() or "-"
        for at in range(0, len(digits), HEX_COLUMNS):
            line = f"{digits[at : at + HEX_COLUMNS]:<{HEX_COLUMNS}}  {'' if at else remark}"
            self._lines.append(line.rstrip())

    def u(self, size: int, value: int, remark: str) -> None:
        """An integer of so many bytes."""
        self.add(value.to_bytes(size, "little"), f"{remark} {value}")

    def blob(self, data: bytes, remark: str) -> None:
        self.add(len(data).to_bytes(4, "little"), f"size of {remark}")
        if data:
            self.add(data, remark)

    def note(self, text: str) -> None:
        self._lines.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


class Example:
    """The repository of the example, and its parts as text."""

    def __init__(self) -> None:
        self.builder = Builder("example", KeyslotsPlan(bytes(range(32))))
        self.session = session = Session(self.builder, "1", compress=False)
        keys = self.builder.keys
        self.ids = session.data([CONTENT])
        self.made = entry.Made(b"hello.txt", content=CONTENT, chunk_ids=self.ids)
        self.entries = session.entry_table([entry_page([entry.directory(keys, b"", [self.made])])])
        session.index_table()
        self.snapshot = Snapshot(
            identity=self.builder.random("snapshot", 16),
            time_ns=1_700_000_060_000_000_000,
            host="host",
            source="home",
            roots=("/home",),
            tags=(),
            tables=(self.entries,),
            program="bitbacker",
            stats=SnapshotStats(files=1, size_bytes=len(CONTENT), files_changed=1),
            users=(Owner(1000, "user"),),
        )
        session.catalog_table([self.snapshot], born=2)
        self.numbers = sketching.numbers([entry.fingerprint(keys, b"", self.made)])
        tip = tip_of(keys.source_identity("host", "home"), self.snapshot, self.numbers)
        self.builder.commit(session, born=2, tip=tip)

    def parts(self) -> dict[str, str]:
        """The text behind each marker of the document."""
        shown = {
            "keys": self._keys(),
            "chunk": self._chunk(),
            "entries": self._entries(),
            "entries-root": self._entries_root(),
            "index": self._index(),
            "catalog": self._catalog(),
            "segment": self._segment(),
            "sealed": self._sealed(self.session.name),
            "sketch": self._sketch(),
            "head": self._head(),
            "keyslots": self._keyslots(),
        }
        return {name: dump.text for name, dump in shown.items()}

    def _keys(self) -> Dump:
        dump, keys = Dump(), self.builder.keys
        dump.add(self.builder.plan.root_key, "root key")
        for purpose in ("chunk_id", "chunker", "stat", "segment", "head", "sketch", "source"):
            dump.add(getattr(keys, purpose), purpose.replace("_", "-"))
        dump.add(bytes.fromhex(keys.repository_id), "repository-id")
        return dump

    def _chunk(self) -> Dump:
        dump = Dump()
        dump.add(CONTENT, "the chunk: block 0, raw")
        assert dump.data == self.session.raw_blocks[0]
        dump.add(self.ids, "its id")
        return dump

    def _entries(self) -> Dump:
        dump, row = Dump(), self.made.row()
        for what, count in (("directories", 1), ("entries", 1), ("links", 0), ("extras", 0), ("drops", 0)):
            dump.u(4, count, what)
        dump.blob(b"", "paths: the root alone, whose path is empty")
        dump.u(4, 1, "entry count of the root")
        dump.u(4, 9, "name size of the root")
        dump.add(b"hello.txt", "names")
        dump.u(1, 1, "row form")
        columns = ("mode 0100644", "uid 1000", "gid 1000", "nlink 1", "filesystem 0")
        for number, column in enumerate(columns):
            dump.add(row[4 * number : 4 * number + 4], f"planes of {column}")
        dump.add(row[20:28], "planes of size_bytes 14")
        dump.add((2 * self.made.mtime_ns).to_bytes(8, "little"), f"mtime_ns {self.made.mtime_ns}, zigzag")
        dump.add(bytes(8), "ctime_ns 0")
        dump.add(bytes(8), "inode 0")
        dump.add(entry.fingerprint(self.builder.keys, b"", self.made), "fingerprint")
        dump.u(1, 0, "mark")
        dump.u(4, 1, "chunk count")
        dump.add(self.ids, "chunk id")
        dump.blob(b"", "link targets")
        assert dump.data == self.session.raw_blocks[1]
        return dump

    def _root(self, dump: Dump, number: int, *, segments: int = 0, key: bytes) -> None:
        before = len(dump.data)
        page = self.session.raw_blocks[number - 1]
        kind = {2: 2, 4: 3, 6: 4}[number]
        dump.u(1, kind, "kind")
        dump.u(4, segments, "segments")
        if segments:
            dump.add(self.session.identity, "segment 0")
        dump.u(4, 1, "pages")
        dump.add(self.session.identity, "page 0: segment")
        dump.u(2, number - 1, "page 0: block")
        dump.u(4, len(page), "page 0: raw size")
        dump.u(4, 3 if kind == 4 else 1, "page 0: records")
        dump.blob(key, "the first key")
        if kind == 2:
            dump.u(4, 0, "rungs")
        assert dump.data[before:] == self.session.raw_blocks[number]

    def _entries_root(self) -> Dump:
        dump = Dump()
        self._root(dump, 2, key=b"")
        return dump

    def _index(self) -> Dump:
        dump = Dump()
        dump.note("page:")
        dump.u(4, 1, "records")
        dump.add(self.ids, "chunk id")
        dump.u(4, 0, "segment")
        dump.u(2, 0, "block")
        dump.u(4, 0, "offset")
        dump.u(4, len(CONTENT), "size")
        assert dump.data == self.session.raw_blocks[3]
        dump.note("root:")
        self._root(dump, 4, segments=1, key=self.ids)
        return dump

    def _catalog(self) -> Dump:
        dump = Dump()
        dump.note("page:")
        dump.u(4, 3, "records")
        dump.blob(b"g" + self.session.identity, "key: a segment")
        dump.u(1, 1, "has value")
        dump.u(4, 13, "size of value")
        dump.u(1, 0, "state")
        dump.u(4, names.SMALL_SEGMENT_SIZE_BYTES, "size")
        dump.u(8, 2, "born")
        dump.blob(b"h" + (1).to_bytes(16, "big"), "key: head 1")
        dump.u(1, 1, "has value")
        first = self.builder.objects[names.head_name(1)]
        dump.blob(blake3(first).digest()[:16], "value: the start of its BLAKE3")
        dump.blob(b"s" + self.snapshot.identity, "key: a snapshot")
        dump.u(1, 1, "has value")
        self._snapshot(dump)
        assert dump.data == self.session.raw_blocks[5]
        dump.note("root:")
        self._root(dump, 6, key=b"g" + self.session.identity)
        return dump

    def _snapshot(self, dump: Dump) -> None:
        value = Dump()
        value.u(8, self.snapshot.time_ns, "time_ns")
        value.u(1, 0, "partial")
        value.blob(b"", "parent")
        for field in ("host", "source", "program"):
            value.blob(getattr(self.snapshot, field).encode(), field)
        value.u(4, 1, "roots")
        value.blob(b"/home", "root 0")
        value.u(4, 0, "tags")
        self._table_list(value, "tables", 2)
        for name in SnapshotStats.__dataclass_fields__:
            value.u(8, getattr(self.snapshot.stats, name), name)
        value.u(4, 1, "users")
        value.u(4, 1000, "uid")
        value.blob(b"user", "its name")
        value.u(4, 0, "groups")
        dump.u(4, len(value.data), "size of value")
        dump.data += value.data
        dump.note(value.text)

    def _table_list(self, dump: Dump, what: str, block: int) -> None:
        dump.u(4, 1, what)
        dump.add(self.session.identity, "root: segment")
        dump.u(2, block, "root: block")
        dump.u(4, len(self.session.raw_blocks[block]), "root: raw size")
        dump.u(8, 3 if block == 6 else 1, "records")

    def _segment(self) -> Dump:
        dump, plaintext = Dump(), self.builder.plaintexts[self.session.name]
        blocks = self.session.raw_blocks
        offset = 8 + sum(map(len, blocks))
        size = 4 + 16 * len(blocks) + 20
        dump.u(4, offset, "contents offset")
        dump.u(4, size, "contents size")
        dump.note(f"... {offset - 8} bytes: blocks 0 to {len(blocks) - 1} as shown above")
        dump.data += b"".join(blocks)
        dump.u(4, len(blocks), "blocks")
        for number, (kind, raw) in enumerate(zip((1, 2, 5, 3, 5, 4, 5), blocks, strict=True)):
            head = bytes([kind, 0, 0, 0]) + 2 * len(raw).to_bytes(4, "little")
            chunks = 1 if kind == 1 else 0
            dump.add(head + chunks.to_bytes(4, "little"), f"block {number}: kind {kind}, {len(raw)} bytes")
            if chunks:
                dump.add(self.ids, "id of its chunk")
                dump.u(4, len(CONTENT), "size of its chunk")
        dump.note(f"... {len(plaintext) - len(dump.data)} bytes: zeros")
        assert dump.data.ljust(len(plaintext), b"\0") == plaintext
        return dump

    def _sealed(self, name: str) -> Dump:
        dump, plaintext = Dump(), self.builder.plaintexts[name]
        keys = self.builder.keys
        key = keys.head if name.startswith(names.HEADS) else keys.segment
        parts = seal("aes-256-gcm", key, name, plaintext, self.builder.random(f"salt {name}", 32))
        assert parts.sealed == self.builder.objects[name]
        dump.note(f"name: {name}")
        dump.add(parts.key, "cipher key (not stored)")
        dump.add(parts.salt, "salt")
        dump.add(parts.commitment, "commitment")
        dump.add(parts.sealed[64:96], "the first 32 bytes of the ciphertext")
        dump.note(f"... {len(plaintext) - 32} bytes")
        dump.add(parts.sealed[-16:], "tag")
        dump.add(blake3(parts.sealed).digest(), f"BLAKE3 of all {len(parts.sealed)} bytes")
        return dump

    def _sketch(self) -> Dump:
        dump, (number,) = Dump(), self.numbers
        part_cells = sketching.cells_of_each(1)
        dump.u(8, number, "the fingerprint as a number:")
        dump.u(8, sketching.mix(number), "mix of it:")
        for part, cell in enumerate(sketching.cells(number, part_cells)):
            dump.note(f"part {part}: slice {number >> 21 * part & 0x1FFFFF}, cell {cell}")
        dump.note("digest:")
        dump.u(8, 1, "count")
        dump.u(8, number, "sum of the fingerprints")
        dump.u(8, sketching.mix(number), "sum of their mixes")
        dump.note("sketch:")
        sketch, at = sketching.sketch(self.numbers, part_cells), 0
        for size, start, what in ((8, 0, "sum"), (4, 8 * 3 * part_cells, "check")):
            for cell in sketching.cells(number, part_cells):
                place = start + size * cell
                dump.note(f"... {place - at} bytes: zeros")
                dump.add(sketch[place : place + size], f"{what} of cell {cell}")
                at = place + size
        dump.note(f"... {len(sketch) - at} bytes: zeros up to byte {len(sketch)}")
        return dump

    def _head(self) -> Dump:
        dump, head = Dump(), self.builder.head
        plaintext = self.builder.plaintexts[names.head_name(2)]
        dump.note("plaintext:")
        dump.add(plaintext[:4], f"size of body {int.from_bytes(plaintext[:4], 'little')}")
        dump.u(8, 2, "number")
        first = self.builder.objects[names.head_name(1)]
        dump.add(blake3(first).digest(), "previous hash: BLAKE3 of head 1")
        dump.u(8, head.time_ns, "time_ns")
        dump.add(head.writer, "writer")
        dump.u(8, 0, "prunes")
        dump.u(8, 1, "segments")
        keyed = blake3(self.session.identity, key=self.builder.keys.sketch).digest()
        dump.add(keyed, "segments sum: of one segment, its hash")
        dump.u(4, 0, "ancestors")
        self._table_list(dump, "catalogs", 6)
        self._table_list(dump, "indexes", 4)
        dump.u(1, 1, "tips complete")
        dump.u(4, 1, "tips")
        dump.add(blake3(b"host\0home", key=self.builder.keys.source).digest()[:16], "source")
        dump.add(self.snapshot.identity, "snapshot")
        dump.add(sketching.digest(self.numbers), "digest")
        dump.u(2, sketching.HEAD_PART_CELLS, "part cells")
        self._table_list(dump, "tables", 2)
        sketch = sketching.sketch(self.numbers, sketching.HEAD_PART_CELLS).ljust(SKETCH_SIZE_BYTES, b"\0")
        padding = len(plaintext) - len(dump.data) - len(sketch)
        dump.note(f"... {padding} bytes: zeros")
        dump.note(f"... {len(sketch)} bytes: the sketch as shown above, and zeros")
        assert dump.data + bytes(padding) + sketch == plaintext
        assert len(plaintext) == names.HEAD_SIZE_BYTES - OVERHEAD_BYTES
        dump.note("sealed:")
        dump.note(self._sealed(names.head_name(2)).text)
        return dump

    def _keyslots(self) -> Dump:
        dump, plan = Dump(), self.builder.plan
        data = self.builder.objects[names.KEYSLOTS]
        salt = slot_salt(f"{plan.root_key.hex()} 0")
        strong = stretched(PASSWORD, salt)
        parts = seal_slot(strong, salt, plan.content())
        assert parts.sealed == data[:508]
        dump.note(f"password: {PASSWORD}")
        dump.add(strong, "output of Argon2id (not stored)")
        dump.add(parts.key, "slot key (not stored)")
        content = plan.content().rstrip(b"\0")
        dump.add(content, "content of slot 0, without its zeros")
        dump.add(salt, "slot 0: salt, which implies level 0")
        dump.add(parts.commitment, "slot 0: commitment")
        dump.add(parts.sealed[64:96], "slot 0: the first 32 bytes of 428")
        dump.add(parts.sealed[-16:], "slot 0: tag")
        dump.note("... 6 unused slots, directory")
        dump.add(data[-32:], "checksum")
        return dump


def filled(document: str, parts: dict[str, str]) -> str:
    """The document with each marker followed by its part."""
    return MARKER.sub(
        lambda match: f"<!-- example: {match['name']} -->\n\n```text\n{parts[match['name']]}\n```\n", document
    )


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), Example().parts()))
