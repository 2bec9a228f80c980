"""Our reader as a function from objects and a password to lines of text, strict about everything.

It stands on the floors that every command stands on, and restores into memory.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path

from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import (
    BitBackerError,
    DamageError,
    FormatError,
    RepositoryMissing,
    RollbackDetected,
    SealBroken,
    SizeWrong,
    SnapshotUnknown,
    VersionUnknown,
    WrongPassword,
)
from bitbacker.format.block import BlockKind, BlockRef
from bitbacker.format.catalog import (
    SNAPSHOT_KEY,
    CatalogRecord,
    Snapshot,
    decode_page,
    decode_snapshot,
)
from bitbacker.format.columns import Columns
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ, Directory, check_names
from bitbacker.format.extras import EntryExtras, decode_extras
from bitbacker.format.keyslots import PluginChoice
from bitbacker.format.names import SEGMENTS, segment_identity
from bitbacker.repo.index import UNKNOWN
from bitbacker.repo.open import Repository, open_repository
from bitbacker.repo.read import SegmentMissing
from bitbacker.repo.settings import LocalPaths
from bitbacker.repo.tree import SnapshotTree
from bitbacker.spi import ROW, Chunker, Cipher, NoConfig
from bitbacker_plugins.aes256gcm import Aes256Gcm
from bitbacker_plugins.chacha20poly1305 import ChaCha20Poly1305Cipher
from bitbacker_plugins.memory import MemoryTransport
from vectors.vector import Vector, quoted

URL = "memory://vectors"
WORDS: dict[type[BitBackerError], str] = {
    DamageError: "damage",
    FormatError: "format",
    RepositoryMissing: "no-repository",
    RollbackDetected: "rollback",
    SealBroken: "seal-broken",
    SizeWrong: "seal-broken",
    SegmentMissing: "missing-segment",
    SnapshotUnknown: "no-snapshot",
    VersionUnknown: "version",
    WrongPassword: "wrong-password",
}
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character-device",
    stat.S_IFBLK: "block-device",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Outcome:
    """The word that `expect` holds, and the listing of a success."""

    word: str
    listing: list[str]


class Ciphers:
    """The plugins that the vectors need: no chunker is needed to read."""

    def cipher(self, choice: PluginChoice) -> Cipher:
        gcm = choice.name == "aes-256-gcm"
        return Aes256Gcm(NoConfig()) if gcm else ChaCha20Poly1305Cipher(NoConfig())

    def chunker(self, choice: PluginChoice, key: bytes) -> Chunker:
        raise AssertionError(f"a reader made the chunker {choice.name} with {len(key)} bytes of key")


def read(vector: Vector, state: Path) -> Outcome:
    """What our reader makes of a vector."""
    MemoryTransport.drop(URL)
    transport = MemoryTransport(URL, NoConfig())
    for name, data in vector.objects.items():
        transport.put(name, data)
    try:
        repository = open_repository(
            transport,
            Unlocker(vector.fields.get("password", "")),
            Ciphers(),
            LocalPaths(state / "cache", state / "state"),
        )
        if vector.fields.get("mode") == "without-heads":
            listing = Recovery(repository).listing(vector.fields.get("snapshot", ""))
        else:
            listing = listing_of(repository, vector.fields.get("snapshot", ""))
    except BitBackerError as error:
        return Outcome(WORDS[type(error)], [])
    finally:
        MemoryTransport.drop(URL)
    return Outcome("success", listing)


def listing_of(repository: Repository, identity: str) -> list[str]:
    """The chosen snapshot, or the newest one."""
    head = repository.newest()
    index = repository.index(head)

    def chunk(chunk_id: bytes) -> bytes:
        (place,) = index.locate(chunk_id)
        if int(place["segment"]) == UNKNOWN:
            raise DamageError(f"the index does not know chunk {chunk_id.hex()}")
        segment = index.segments[int(place["segment"])]
        return piece(repository, segment, (int(place["block"]), int(place["offset"]), int(place["size"])))

    snapshot = chosen(repository.catalog(head).snapshots, identity)
    return sorted(Lines(repository, snapshot, chunk))


def chosen(snapshots: tuple[Snapshot, ...], identity: str) -> Snapshot:
    for snapshot in reversed(snapshots):
        if identity in ("", snapshot.id):
            return snapshot
    raise SnapshotUnknown(f"there is no snapshot {identity}")


def piece(repository: Repository, segment: bytes, place: tuple[int, int, int]) -> bytes:
    """A part of a data block."""
    number, offset, size = place
    raw = repository.segments.fetch(segment).block(number)
    if offset + size > len(raw):
        raise FormatError("a chunk outside of its block")
    return bytes(raw[offset : offset + size])


class Lines:
    """The lines of one snapshot."""

    def __init__(self, repository: Repository, snapshot: Snapshot, chunk: object) -> None:
        self._repository = repository
        self._snapshot = snapshot
        self._chunk = chunk
        self._directories = {b""}
        self._names: dict[tuple[int, int], bytes] = {}

    def __iter__(self) -> Iterator[str]:
        tree = SnapshotTree(self._repository.tables, self._snapshot.tables)
        for _, parts in groupby(tree.directories(), key=lambda directory: directory.path):
            every = list(parts)
            check_names([name for part in every for name in part.name_list])
            for part in every:
                yield from self._directory(part)

    def _directory(self, directory: Directory) -> Iterator[str]:
        if directory.entries and directory.path not in self._directories:
            raise DamageError("entries in a directory that is none")
        columns = Columns(directory)
        for at, name in enumerate(directory.name_list):
            path = directory.path + b"/" + name if directory.path else name
            yield from self._entry(path, columns, at)

    def _entry(self, path: bytes, columns: Columns, at: int) -> Iterator[str]:
        mode, uid, gid, nlink, filesystem, size, mtime_ns, _, inode = ROW.unpack(columns.row(at))
        extras = decode_extras(columns.extras.get(at, b""))
        kind, digest = KINDS[stat.S_IFMT(mode)], "-"
        if kind == "directory":
            self._directories.add(path)
        elif kind == "symlink":
            digest = sha256(columns.links[at]).hexdigest()
        elif kind == "file":
            content = self._content(columns, at, extras)
            size, digest = len(content), sha256(content).hexdigest()
            if nlink > 1 and inode:
                first = self._names.setdefault((filesystem, inode), path)
                if first != path:
                    yield f"same: {quoted(first)} {quoted(path)}"
        fields = (quoted(path), kind, f"{mode & 0o7777:04o}", uid, gid, mtime_ns, size, digest)
        yield "entry: " + " ".join(map(str, fields))
        for xattr in extras.xattrs:
            yield f"xattr: {quoted(path)} {quoted(xattr.name)} {xattr.value.hex() or '-'}"

    def _content(self, columns: Columns, at: int, extras: EntryExtras) -> bytes:
        size, mark = ROW.unpack(columns.row(at))[5], columns.directory.marks[at]
        ids = columns.chunk_ids(at)
        stored = b"".join(self._verified(ids[n : n + 16]) for n in range(0, len(ids), 16))
        if extras.extents is None:
            if len(stored) != size and not mark & MARK_CHANGED_WHILE_READ:
                raise FormatError("a file of another size than its row says")
            return stored
        room = sum(extent.size_bytes for extent in extras.extents)
        end = max((extent.offset_bytes + extent.size_bytes for extent in extras.extents), default=0)
        if not mark & MARK_CHANGED_WHILE_READ and (room != len(stored) or end > size):
            raise FormatError("content that does not fill its extents")
        content, used = bytearray(max(size, end)), 0
        for extent in extras.extents:
            part = stored[used : used + extent.size_bytes]
            content[extent.offset_bytes : extent.offset_bytes + len(part)] = part
            used += len(part)
        return bytes(content)

    def _verified(self, chunk_id: bytes) -> bytes:
        data: bytes = self._chunk(chunk_id)  # type: ignore[operator]  # a function from id to chunk
        if self._repository.keys.chunk_identity(data) != chunk_id:
            raise DamageError(f"chunk {chunk_id.hex()} is not what its id says")
        return data


class Recovery:
    """Section 14.3: snapshots from segments alone."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._places: dict[bytes, tuple[bytes, tuple[int, int, int]]] = {}
        self._records: dict[bytes, list[CatalogRecord]] = {}
        for info in repository.storage.list(SEGMENTS):
            self._collect(segment_identity(info.name))

    def _collect(self, identity: bytes) -> None:
        segment = self._repository.segments.fetch(identity)
        for number, block in enumerate(segment.contents):
            at = 0
            for position, size in enumerate(block.chunk_sizes.tolist()):
                chunk_id = bytes(block.chunk_ids[16 * position : 16 * position + 16])
                self._places[chunk_id] = (identity, (number, at, size))
                at += size
            if block.kind is BlockKind.CATALOG:
                ref = BlockRef(identity, number, block.raw_bytes)
                for record in decode_page(self._repository.segments.block(ref, BlockKind.CATALOG)):
                    self._records.setdefault(record.key, []).append(record)

    def listing(self, identity: str) -> list[str]:
        """Any record of the snapshot that leads to everything it needs."""
        records = self._records.get(SNAPSHOT_KEY + bytes.fromhex(identity), [])
        if not records or any(record.value is None for record in records):
            raise SnapshotUnknown(f"there is no snapshot {identity}")
        problems: list[DamageError] = []
        for record in records:
            try:
                return sorted(Lines(self._repository, decode_snapshot(record), self._chunk))
            except DamageError as error:
                problems.append(error)
        raise problems[0]

    def _chunk(self, chunk_id: bytes) -> bytes:
        if chunk_id not in self._places:
            raise DamageError(f"no segment holds chunk {chunk_id.hex()}")
        return piece(self._repository, *self._places[chunk_id])
