#!/usr/bin/env python3
"""Restores from a BitBacker repository without BitBacker; F-3.2 is a sentence of docs/format.md."""

from __future__ import annotations

import argparse
import getpass
import glob
import hmac
import itertools
import os
import re
import stat
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

VERSION, KEY_SIZE, MORE = 1, 17, 2
CIPHERS: dict[bytes, Any] = {b"aes-256-gcm": AESGCM, b"chacha20-poly1305": ChaCha20Poly1305}
MAX_RAW_SIZE, MAX_INDEX_RECORDS, MAX_ANCESTORS, SKETCH_SIZE = 67_108_864, 8_192, 15, 60_000
DATA, ENTRIES, INDEX, CATALOG, ROOT, FINGERPRINTS = 1, 2, 3, 4, 5, 6
TABLE, PAGE = (16, "H", "I", "Q"), (16, "H", "I", "I", "blob")
HEAD = ("Q", 64, "Q", 32, (16,), TABLE, TABLE, "flag", (16, 16, 24, "H", TABLE))

Location = tuple[bytes, int, int, int]  # Segment, block, offset, size.
Page = tuple[bytes | None, list[Any], list[Any], list[int]]  # First key, what ascends, records, drops.


class ReaderError(Exception):
    """What the user is told in one line."""


class Damage(ReaderError):
    """Bytes are missing or are not what they must be."""


def need(condition: object, otherwise: str) -> None:
    if not condition:
        raise Damage(f"damage: {otherwise}")


def show(name: bytes) -> str:
    """A name for the terminal, without anything that a terminal obeys."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name.decode(errors="surrogateescape"))


class Cursor:
    """Takes values off the front of some bytes, and never reads behind their end (F-2.1)."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, size: int) -> bytes:
        need(0 <= size <= len(self.data) - self.position, "a value reaches behind the end of what has it")
        self.position += size
        return self.data[self.position - size : self.position]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def pieces(self, size: int, count: int) -> list[bytes]:
        data = self.take(size * count)
        return [data[start : start + size] for start in range(0, len(data), size)]

    def read(self, *layout: Any) -> list[Any]:
        """Fields: a number as `struct` names it, a flag, a blob, n bytes, a list of such fields."""
        values: list[Any] = []
        for field in layout:
            if isinstance(field, int):
                values.append(self.take(field))
            elif isinstance(field, tuple):
                values.append([self.read(*field) for _ in range(*self.unpack("I"))])
            elif field == "blob":
                values.append(self.take(*self.unpack("I")))
            else:
                values.extend(self.unpack("B" if field == "flag" else field))
                need(field != "flag" or values[-1] <= 1, "a flag is neither 0 nor 1")
        return values

    def end(self) -> None:
        need(self.position == len(self.data), "there are bytes behind the last field")


def unseal(secret: bytes, info: bytes, name: bytes, sealed: bytes, cipher: Any = AESGCM) -> bytes:
    """The plaintext of an object or a slot, or nothing when the secret is another (sections 3.1 and 10.2)."""
    material = HKDF(algorithm=SHA256(), length=64, salt=sealed[:32], info=info).derive(secret)
    if not hmac.compare_digest(material[32:], sealed[32:64]):
        return b""
    try:
        return bytes(cipher(material[:32]).decrypt(bytes(12), sealed[64:], name))
    except InvalidTag:
        raise Damage(f"damage: {name.decode()}: broken seal: the tag does not verify") from None


def unlock(keyslots: bytes, password: bytes) -> tuple[bytes, Any]:
    """Root key and cipher in the slot that the password opens (section 10)."""
    checksum = blake3(keyslots[:-32], derive_key_context="bitbacker 2026 keyslots checksum").digest()
    need(checksum == keyslots[-32:], "keyslots: the checksum is wrong")
    recovery = b""
    if re.fullmatch(rb"bbr1(-[0-9a-f]{4}){17}", code := password.strip()):
        recovery, check = struct.unpack("32s2s", bytes.fromhex(code[4:].replace(b"-", b"").decode()))
        if blake3(recovery, derive_key_context="bitbacker 2026 recovery code").digest()[:2] != check:
            raise ReaderError("the recovery code has a typing error: its checksum is wrong")
    for slot in Cursor(keyslots).pieces(508, 7):
        level = blake3(slot[:32], derive_key_context="bitbacker 2026 slot cost level").digest()[0] % 4
        argon2id = Argon2id(salt=slot[:32], length=32, iterations=3 << level, lanes=4, memory_cost=65_536)
        if plaintext := unseal(recovery or argon2id.derive(password), b"bitbacker/1/slot", b"slot", slot):
            break
    else:
        raise ReaderError("wrong password")
    content = Cursor(plaintext)
    if (version := content.read("H")[0]) != VERSION:
        raise ReaderError(f"the repository has format version {version}, and this program reads {VERSION}")
    root, cipher, _, distribution = content.read(32, "blob", "blob", "blob")
    if cipher not in CIPHERS:
        raise ReaderError(f"unknown cipher {show(cipher)}, which {show(distribution)} has")
    return root, CIPHERS[cipher]


class Block(NamedTuple):
    kind: int
    codec: int
    stored: bytes
    raw_size: int
    chunks: list[tuple[bytes, int, int]]

    def raw(self) -> bytes:
        if self.codec == 0:
            return self.stored
        try:
            frame = zstandard.get_frame_parameters(self.stored)
            need(frame.content_size == self.raw_size > 0 and not frame.dict_id, "a block has another size")
            return zstandard.ZstdDecompressor().decompress(self.stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise Damage(f"damage: a block cannot be decompressed: {error}") from None


def parse_segment(plaintext: bytes) -> list[Block]:
    front = Cursor(plaintext)
    start, size = front.unpack("II")
    stored, contents = Cursor(front.take(start - front.position)), Cursor(front.take(size))
    blocks = []
    for _ in range(*contents.unpack("I")):
        kind, codec, zero, stored_size, raw_size, chunks = contents.unpack("BBHIII")
        ids, sizes = contents.pieces(16, chunks), contents.unpack(f"{chunks}I")
        need(DATA <= kind <= FINGERPRINTS and codec <= 1 and zero == 0, "a block of unknown kind or codec")
        need(raw_size <= MAX_RAW_SIZE and (codec or raw_size == stored_size), "a block of a wrong size")
        need((kind == DATA) == bool(ids) and all(sizes) and sum(sizes) in {0, raw_size}, "chunks do not fit")
        places = list(zip(ids, itertools.accumulate(sizes, initial=0), sizes, strict=False))
        blocks.append(Block(kind, codec, stored.take(stored_size), raw_size, places))
    contents.end()
    stored.end()
    return blocks


class Entry(NamedTuple):
    """One name of a snapshot, with the ids of its chunks (section 6)."""

    directory: bytes
    name: bytes
    path: bytes
    mode: int
    uid: int
    gid: int
    nlink: int
    filesystem: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    fingerprint: int
    target: bytes
    marks: int
    chunks: list[bytes]
    attributes: list[list[bytes]]
    extents: list[list[int]] | None

    def file_size(self, content_size: int) -> int:
        """How large the file gets; raises `Damage` when its content does not fit (F-6.15, F-6.23)."""
        end = sum(self.extents[-1]) if self.extents else 0
        if self.marks & 1:
            return content_size if self.extents is None else max(self.size_bytes, end)
        room = self.size_bytes if self.extents is None else sum(size for _, size in self.extents)
        need(content_size == room and end <= self.size_bytes, "its content has another size than the file")
        return self.size_bytes


def join(first: Entry, *more: Entry) -> Entry:
    """An entry out of its pieces: the ids of very many chunks do not fit into one page (F-6.31)."""
    pieces = (first, *more)
    marks = [piece.marks - first.marks % MORE for piece in pieces]
    alike = marks == [MORE] * len(more) + [0] and len({piece[:-4] for piece in pieces}) == 1
    need(alike and not any(piece.attributes or piece.extents for piece in more), "its pieces do not fit")
    return first._replace(chunks=[chunk for piece in pieces for chunk in piece.chunks])


def parse_index_page(page: Cursor, segments: list[bytes]) -> Page:
    (count,) = page.unpack("I")
    need(1 <= count <= MAX_INDEX_RECORDS, "an index page has no or too many records")
    ids, positions = page.pieces(16, count), page.unpack(f"{count}I")
    need(max(positions) < len(segments), "an index page names a segment that its root does not list")
    columns = [page.unpack(f"{count}{layout}") for layout in "HII"]
    page.end()
    places = [(segments[at], *place) for at, *place in zip(positions, *columns, strict=True)]
    return ids[0], ids, list(zip(ids, places, strict=True)), []


def parse_catalog_page(page: Cursor, _segments: list[bytes]) -> Page:
    records = []
    for _ in range(*page.unpack("I")):
        key, has_value = page.read("blob", "flag")
        need(len(key) == KEY_SIZE or key[:1] not in {b"", b"g", b"s"}, "a catalog record has a malformed key")
        records.append((key, page.read("blob")[0] if has_value else None))
    page.end()
    return records[0][0] if records else b"", [key for key, _ in records], records, []


def parse_entry_page(page: Cursor, _segments: list[bytes]) -> Page:
    directory_count, count, link_count, extra_count, drop_count = page.unpack("5I")
    paths = split(page.read("blob")[0], directory_count)
    counts, sizes = page.unpack(f"{directory_count}I"), page.unpack(f"{directory_count}I")
    need(sum(counts) == count, "the directories of a page do not hold its entries")
    places: list[tuple[bytes, bytes, bytes]] = []
    for path, names_count, size in zip(paths, counts, sizes, strict=True):
        names = split(page.take(size), names_count)
        for name in (*names, *(path.split(b"/") if path else ())):
            need(name not in {b"", b".", b".."} and b"/" not in name, f"forbidden name {show(name)!r}")
        places.extend((path, name, path + b"/" + name if path else name) for name in names)
    rows = parse_rows(page, count)
    fingerprints, marks = page.unpack(f"{count}Q"), page.take(count)
    need(not marks.strip(b"\0\1\2\3"), "an entry has an unknown mark")
    chunks = [page.pieces(16, chunk_count) for chunk_count in page.unpack(f"{count}I")]
    links = [number for number, row in enumerate(rows) if stat.S_ISLNK(row[0])]
    need(len(links) == link_count, "a page has another number of symlinks than it says")
    targets = dict(zip(links, split(page.read("blob")[0], link_count), strict=True))
    extras = parse_extras(page, count, extra_count)
    drops = [*page.unpack(f"{drop_count}Q")]
    need(drops == sorted(drops), "the drops of a page do not ascend")
    page.end()
    entries: list[Entry] = []
    for number, (place, row) in enumerate(zip(places, rows, strict=True)):
        need(stat.S_ISREG(row[0]) or not chunks[number], "an entry that is no regular file has content")
        content: Any = fingerprints[number], targets.get(number, b""), marks[number], chunks[number]
        entries.append(Entry._make((*place, *row, *content, *extras.get(number, ([], None)))))
    order = [(entry.directory.replace(b"/", b"\0"), entry.name) for entry in entries if entry.marks < MORE]
    return paths[0].replace(b"/", b"\0") if paths else None, order, entries, drops


def split(joined: bytes, count: int) -> list[bytes]:
    """The items of a list that is joined by zero bytes (F-6.3)."""
    items = joined.split(b"\0") if count else []
    need(len(items) == count and (count or not joined), f"a list does not have its {count} items")
    return items


def parse_rows(page: Cursor, count: int) -> list[tuple[int, ...]]:
    """Mode, uid, gid, nlink, filesystem, size, mtime, ctime and inode of each entry (section 6.2)."""
    has_planes, data = page.read("flag", 52 * count)
    if not has_planes:
        return list(struct.iter_unpack("<5I3qQ", data))
    bytes_of_rows, rows, last = bytearray(len(data)), [], [0, 0, 0]
    for plane in range(52):
        bytes_of_rows[plane::52] = data[plane * count : (plane + 1) * count]
    for *front, mtime, ctime, inode in struct.iter_unpack("<5Iq3Q", bytes_of_rows):
        steps = ((step >> 1) ^ -(step & 1) for step in (mtime, ctime, inode))
        last = [(value + step) % 2**64 for value, step in zip(last, steps, strict=True)]
        rows.append(struct.unpack("<5I3qQ", struct.pack("<5Iq3Q", *front, *last)))
    return rows


def parse_extras(page: Cursor, entries: int, count: int) -> dict[int, tuple[Any, Any]]:
    """Extended attributes and extents by the position of the entry (section 6.4)."""
    positions, sizes = page.unpack(f"{count}I"), page.unpack(f"{count}I")
    need(sorted({*positions, entries}) == [*positions, entries], "the extras of a page do not ascend")
    extras = {}
    for position, size in zip(positions, sizes, strict=True):
        data = Cursor(page.take(size) or bytes(5))
        attributes, has_extents = data.read(("blob", "blob"), "flag")
        extents = data.read(("Q", "Q"))[0] if has_extents else None
        data.end()
        edges = [(start, start + length) for start, length in extents or []]
        apart = all(a[1] <= b[0] for a, b in itertools.pairwise([*edges, (2**63 - 1, 0)]))
        need(apart and all(start < end for start, end in edges), "the extents of a file do not ascend")
        extras[position] = (attributes, extents)
    return extras


class Snapshot(NamedTuple):
    identity: bytes
    time_ns: int
    host: bytes
    source: bytes
    tables: list[list[Any]]


def parse_snapshot(key: bytes, value: bytes) -> Snapshot:
    record, texts = Cursor(value), ("blob",)
    time_ns, _, parent, host, source = record.read("q", "flag", "blob", "blob", "blob")
    _, _, _, tables, _, _, _ = record.read("blob", texts, texts, TABLE, 80, ("I", "blob"), ("I", "blob"))
    record.end()
    need(len(parent) in {0, 16}, "the parent of a snapshot is no identity")
    return Snapshot(key[1:], time_ns, host, source, tables)


class Repository:
    """What a password opens; `problems` has what could not be read, and the rest is read all the same."""

    def __init__(self, directory: str, password: bytes, problems: list[str]) -> None:
        self.directory, self.problems = os.path.abspath(directory), problems
        self.root_key, self.cipher = unlock(self.get("keyslots", 4_096), password)
        self.chunk_key = self.key(b"chunk-id")
        self.segment = lru_cache(maxsize=8)(self.read_segment)
        self.block = lru_cache(maxsize=8)(self.read_block)
        self.index: dict[bytes, Location] = {}
        self.snapshots, self.live = list[Snapshot](), list[bytes]()

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except (Damage, OSError, OverflowError, ValueError) as error:
            self.problems.append(f"{what}: {error}")

    def get(self, name: str, *sizes: int) -> bytes:
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                data = file.read(max(sizes) + 1)
        except OSError as error:
            raise Damage(f"damage: {name}: {error.strerror}") from None
        need(len(data) in sizes, f"{name}: has a size that no object of its name has")
        return data

    def key(self, purpose: bytes) -> bytes:
        return HKDFExpand(algorithm=SHA256(), length=32, info=b"bitbacker/1/" + purpose).derive(self.root_key)

    def opened(self, purpose: str, name: str, *sizes: int) -> bytes:
        key, info, sealed = self.key(purpose.encode()), f"bitbacker/1/object/{name}", self.get(name, *sizes)
        plaintext = unseal(key, info.encode(), name.encode(), sealed, self.cipher)
        need(plaintext, f"{name}: broken seal: damaged, or of another repository")
        return plaintext

    def read_segment(self, identity: bytes) -> list[Block]:
        return parse_segment(self.opened("segment", f"segments/{identity.hex()}", 262_144, 4_194_304))

    def read_block(self, segment: bytes, number: int, kind: int) -> bytes:
        blocks = self.segment(segment)
        found = blocks[number].kind if number < len(blocks) else None
        need(found == kind, f"segments/{segment.hex()}: block {number} is of another kind")
        return blocks[number].raw()

    def pages(self, tables: list[Any], kind: int) -> Iterator[tuple[list[Any], list[int]]]:
        """The records and drops of those pages that can be read (section 5)."""
        parse = {ENTRIES: parse_entry_page, INDEX: parse_index_page, CATALOG: parse_catalog_page}[kind]
        for segment, number, raw_size, total in tables:
            last: list[Any] = []
            with self.noting("a table"):
                root = Cursor(self.block(segment, number, ROOT))
                found, segments, pages = root.read("B", (16,), PAGE)
                rungs = root.read(PAGE)[0] if found == ENTRIES else []
                root.end()
                need(all(rung[3:] in ([0, b"\1"], [0, b"\2"]) for rung in rungs), "a rung of unknown kind")
                need(found == kind and (kind == INDEX or not segments), "its root is of another kind")
                fits = (len(root.data), sum(page[3] for page in pages)) == (raw_size, total)
                need(fits, "its root is not what refers to it says")
                listed = list(itertools.chain(*segments))
                for page in pages:
                    with self.noting("a page of a table"):
                        raw = self.block(*page[:2], kind)
                        key, order, records, drops = parse(Cursor(raw), listed)
                        facts = [len(raw), len(records), page[4] if key is None else key]
                        need(facts == page[2:], "it is not what its root says")
                        need(sorted({*last, *order}) == last + order, "its records are not in order")
                        last = order[-1:] or last
                        yield records, drops

    def load(self) -> None:
        """Read the newest head, its catalog and its index (sections 8 and 9)."""
        digits = min(glob.glob("[0-9a-f]" * 16, root_dir=f"{self.directory}/heads"), default="f" * 16)
        need(digits != "f" * 16, "there is no head; --without-heads finds snapshots all the same")
        body = Cursor(*Cursor(self.opened("head", f"heads/{digits}", 65_536)[:-SKETCH_SIZE]).read("blob"))
        number, _, count, total, ancestors, catalogs, indexes, _, tips = body.read(*HEAD)
        body.end()
        need(len(ancestors) <= MAX_ANCESTORS, f"heads/{digits}: it has too many ancestors")
        need(36 * sum(tip[3] for tip in tips) <= SKETCH_SIZE, f"heads/{digits}: its sketches have no room")
        need(number == 2**64 - 1 - int(digits, 16), f"heads/{digits}: it holds another number")
        catalog = dict(record for page, _ in self.pages(catalogs, CATALOG) for record in page)
        for key, value in catalog.items():
            if value is not None and key[:1] == b"s":
                self.snapshots.append(parse_snapshot(key, value))
            elif value is not None and key[:1] == b"g":
                need(len(value) == struct.calcsize("<BIQ") and value[0] <= 1, "a malformed segment record")
                self.live += [key[1:]] if value[0] == 0 else []
        hashes = (blake3(segment, key=self.key(b"sketch")).digest() for segment in self.live)
        found = sum(int.from_bytes(digest, "little") for digest in hashes) % 2**256
        if (count, total) != (len(self.live), found.to_bytes(32, "little")):
            self.problems.append("the catalog: damage: it does not list the segments of the head (F-9.6)")
        self.index = dict(record for page, _ in self.pages(indexes, INDEX) for record in page)

    def load_without_heads(self) -> None:
        """Read all segments; of each snapshot take the record with which most is there (section 14.3)."""
        records: dict[bytes, set[bytes | None]] = defaultdict(set)
        for digits in sorted(glob.glob("[0-9a-f]" * 32, root_dir=f"{self.directory}/segments")):
            with self.noting(f"segments/{digits}"):
                blocks = self.segment(identity := bytes.fromhex(digits))
                self.live.append(identity)
                for number, block in enumerate(blocks):
                    for chunk, start, size in block.chunks:
                        self.index[chunk] = (identity, number, start, size)
                    if block.kind == CATALOG:
                        for key, value in parse_catalog_page(Cursor(block.raw()), [])[2]:
                            records[key].add(value)
        for key, values in records.items():
            if key[:1] == b"s" and None not in values:
                candidates = [parse_snapshot(key, value) for value in values if value is not None]
                self.snapshots.append(min(candidates, key=lambda snapshot: len(self.flaws(snapshot))))

    def flaws(self, snapshot: Snapshot) -> list[str]:
        """What a restore of the snapshot would lack."""
        problems, self.problems = self.problems, []
        for entry in itertools.chain(*self.tree(snapshot).values()):
            if stat.S_ISREG(entry.mode):
                with self.noting(show(entry.path)):
                    entry.file_size(self.content_size(entry))
        flaws, self.problems = self.problems, problems
        return flaws

    def choose(self, name: str) -> Snapshot:
        named = [snapshot for snapshot in self.snapshots if snapshot.identity.hex().startswith(name)]
        found = self.snapshots[-1:] if name == "latest" else named
        if len(found) != 1:
            raise ReaderError(f"{len(found)} snapshots have this name: {name}")
        return found[0]

    def tree(self, snapshot: Snapshot) -> dict[bytes, list[Entry]]:
        """The entries of each directory, all tables of the snapshot overlaid (section 6.5)."""
        entries: dict[tuple[bytes, bytes], Entry] = {}
        for table in snapshot.tables:
            pages = list(self.pages([table], ENTRIES))
            drops = {drop for _, drops in pages for drop in drops}
            entries = {place: entry for place, entry in entries.items() if entry.fingerprint not in drops}
            pieces = (entry for records, _ in pages for entry in records)
            for place, group in itertools.groupby(pieces, key=lambda entry: (entry.directory, entry.name)):
                with self.noting(show(b"/".join(place))):
                    entries[place] = join(*group)
        children: dict[bytes, list[Entry]] = defaultdict(list)
        for _, entry in sorted(entries.items()):
            children[entry.directory].append(entry)
        directories = {entry.path for entry in entries.values() if stat.S_ISDIR(entry.mode)}
        for directory in sorted(children.keys() - directories - {b""}):
            self.problems.append(f"{show(directory)}: damage: it has entries, and is no directory")
        return children

    def content_size(self, entry: Entry) -> int:
        need({*entry.chunks} <= self.index.keys(), "a part of its content is missing")
        return sum(self.index[chunk][3] for chunk in entry.chunks)

    def chunk(self, identity: bytes) -> bytes:
        segment, number, offset, size = self.index[identity]
        data = self.block(segment, number, DATA)[offset : offset + size]
        right = len(data) == size and blake3(data, key=self.chunk_key).digest()[:16] == identity
        need(right, f"segments/{segment.hex()}: chunk {identity.hex()} has another content")
        return data

    def verify(self) -> None:
        """Note everything that does not open, is not there or has another content than its id says."""
        indexed, self.index, places = self.index, dict[bytes, Location](), set[tuple[bytes, Location]]()
        for segment in self.live:
            with self.noting(f"segments/{segment.hex()}"):
                for number, block in enumerate(self.segment(segment)):
                    self.block(segment, number, block.kind)
                    for chunk, start, size in block.chunks:
                        self.index[chunk] = (segment, number, start, size)
                        self.chunk(chunk)
                        places.add((chunk, self.index[chunk]))
        if misplaced := indexed.items() - places:
            self.problems.append(f"the index: damage: {len(misplaced)} chunks are not where it says")
        for snapshot in self.snapshots:
            self.problems += self.flaws(snapshot)

    def restore(self, snapshot: Snapshot, target: str) -> None:
        """Write all entries, by relative names, because whole paths may be too long."""
        children = self.tree(snapshot)
        os.makedirs(target, exist_ok=True)
        os.chdir(target)
        if os.listdir():
            raise ReaderError("the target is not empty")
        first_names: dict[tuple[int, int], Entry] = {}
        todo = [(entry, False) for entry in reversed(children[b""])]
        while todo:
            entry, is_full = todo.pop()
            with self.noting(show(entry.path)):
                is_shared = not stat.S_ISDIR(entry.mode) and entry.nlink > 1 and entry.inode
                first = first_names.setdefault((entry.filesystem, entry.inode), entry) if is_shared else entry
                if is_full:
                    os.chdir("..")
                    self.finish(entry)
                elif stat.S_ISDIR(entry.mode):
                    os.mkdir(entry.name)
                    os.chdir(entry.name)
                    todo += [(entry, True), *((child, False) for child in reversed(children[entry.path]))]
                elif first is not entry:
                    path = os.path.relpath(b"/" + first.path, b"/" + entry.directory)
                    os.link(path, entry.name, follow_symlinks=False)
                else:
                    self.make(entry)
                    self.finish(entry)

    def make(self, entry: Entry) -> None:
        kind = stat.S_IFMT(entry.mode)
        if kind == stat.S_IFLNK:
            os.symlink(entry.target, entry.name)
        elif kind == stat.S_IFREG:
            size = entry.file_size(self.content_size(entry))
            content, rest = (memoryview(self.chunk(chunk)) for chunk in entry.chunks), memoryview(b"")
            try:
                with open(entry.name, "xb") as file:
                    for offset, length in [(0, size)] if entry.extents is None else entry.extents:
                        end = file.seek(offset) + length
                        while file.tell() < end and (rest := rest or next(content, rest)):
                            rest = rest[file.write(rest[: end - file.tell()]) :]
                    file.truncate(size)
            except (Damage, OSError):
                os.unlink(entry.name)
                raise
        else:
            need(kind in {stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK}, f"unknown type {kind:o}")
            os.mknod(entry.name, kind | 0o600, entry.size_bytes)

    def finish(self, entry: Entry) -> None:
        """Set owner, attributes, mode and time, in an order in which none undoes another."""
        name, shown = entry.name, show(entry.path)
        if os.geteuid() == 0:
            with self.noting(shown):
                os.chown(name, entry.uid, entry.gid, follow_symlinks=False)
        for attribute, value in entry.attributes:
            with self.noting(shown):
                os.setxattr(name, attribute, value, follow_symlinks=False)
        with self.noting(shown):
            if not stat.S_ISLNK(entry.mode):
                os.chmod(name, stat.S_IMODE(entry.mode))
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def run(arguments: argparse.Namespace, repository: Repository) -> None:
    repository.load_without_heads() if arguments.without_heads else repository.load()
    repository.snapshots.sort(key=lambda snapshot: snapshot.time_ns)
    if arguments.command == "list":
        for snapshot in repository.snapshots:
            when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(snapshot.time_ns // 10**9))
            print(snapshot.identity.hex(), when, show(snapshot.host), show(snapshot.source))
    elif arguments.command == "verify":
        repository.verify()
        print(f"{len(repository.live)} segments, {len(repository.index)} chunks were read")
    elif arguments.command == "restore":
        repository.restore(repository.choose(arguments.snapshot), arguments.target)
    else:
        for entry in itertools.chain(*repository.tree(repository.choose(arguments.snapshot)).values()):
            line = (stat.filemode(entry.mode), entry.uid, entry.gid, entry.size_bytes, show(entry.path))
            print(*line, sep="\t")


def main() -> None:
    parser = argparse.ArgumentParser(description="Restore from a BitBacker repository in a directory.")
    parser.add_argument("--password-file", help="its first line is the password, else BITBACKER_PASSWORD")
    parser.add_argument("--without-heads", action="store_true", help="find snapshots in the segments alone")
    parser.add_argument("command", choices=("list", "ls", "restore", "verify"))
    parser.add_argument("repository", help="the directory that holds keyslots, heads and segments")
    parser.add_argument("snapshot", nargs="?", default="latest", help="its name or the start of it")
    parser.add_argument("target", nargs="?", default=".", help="an empty directory, or one to be made")
    arguments, problems = parser.parse_intermixed_args(), list[str]()
    os.umask(0o077)
    if not os.path.exists(os.path.join(arguments.repository, "keyslots")):
        sys.exit("there is no repository: its keyslots are missing")
    try:
        if arguments.password_file:
            with open(arguments.password_file, "rb") as file:
                password = file.readline().rstrip(b"\r\n")
        else:
            password = os.environb.get(b"BITBACKER_PASSWORD") or getpass.getpass("password: ").encode()
        run(arguments, Repository(arguments.repository, password, problems))
    except (ReaderError, EOFError, OSError, OverflowError, ValueError) as error:
        problems.append(str(error))
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
