"""Makes repositories in which every byte is decided: for examples and vectors, never for real data.

Salts, identities and keys follow from labels, so that a repository can be made again byte for byte.
Sealing is written here a second time, from docs/format.md, because the real code draws its own salts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bitbacker.crypto.keys import Keys, keys_of
from bitbacker.format import catalog, entries, index, names
from bitbacker.format.block import BlockKind, BlockRef, Codec, PackedBlock, pack
from bitbacker.format.catalog import CatalogRecord, SegmentRecord, SegmentState, Snapshot
from bitbacker.format.entries import Directory, EntryPage, directory_key, page_of
from bitbacker.format.head import ANCESTOR_SIZE_BYTES, ANCESTORS_MAX, Head, SourceTip, encode_head
from bitbacker.format.index import IDS_DTYPE, LOCATION_DTYPE, IndexPage
from bitbacker.format.keyslots import (
    SLOTS,
    Constants,
    PluginChoice,
    SlotContent,
    SlotInfo,
    SlotKind,
    Stamp,
    encode_directory,
    encode_slot,
)
from bitbacker.format.root import PageRef, TableRef, TableRoot, encode_root
from bitbacker.format.segment import SegmentWriter
from vectors.generators import sketching

TAG_BYTES = 16
OVERHEAD_BYTES = 32 + 32 + TAG_BYTES
NONCE = bytes(12)
AEADS: dict[str, type[AESGCM | ChaCha20Poly1305]] = {
    "aes-256-gcm": AESGCM,
    "chacha20-poly1305": ChaCha20Poly1305,
}
PASSWORD = "correct horse battery staple"
RECOVERY_ENTROPY = bytes(range(32))


def derived(label: str, size_bytes: int) -> bytes:
    """Bytes that look random and follow from a label."""
    return hashlib.shake_256(b"bitbacker vectors: " + label.encode()).digest(size_bytes)


def hkdf(secret: bytes, salt: bytes, info: bytes, size_bytes: int) -> bytes:
    return HKDF(SHA256(), size_bytes, salt, info).derive(secret)


@dataclass(frozen=True)
class SealedParts:
    """A sealed object with what lies between it and its plaintext."""

    salt: bytes
    key: bytes
    commitment: bytes
    sealed: bytes


def seal(cipher: str, purpose_key: bytes, name: str, plaintext: bytes, salt: bytes) -> SealedParts:
    """Section 3.1 with a salt of one's own."""
    material = hkdf(purpose_key, salt, b"bitbacker/1/object/" + name.encode(), 64)
    key, commitment = material[:32], material[32:]
    body = AEADS[cipher](key).encrypt(NONCE, plaintext, name.encode())
    return SealedParts(salt, key, commitment, salt + commitment + body)


def recovery_code(entropy: bytes = RECOVERY_ENTROPY) -> str:
    """Section 10.4."""
    checksum = blake3(entropy, derive_key_context="bitbacker 2026 recovery code").digest()[:2]
    digits = (entropy + checksum).hex()
    return "bbr1" + "".join("-" + digits[at : at + 4] for at in range(0, 68, 4))


def slot_salt(label: str) -> bytes:
    """The first salt of a series that implies the cheapest level."""
    number = 0
    while True:
        salt = derived(f"slot salt {label} {number}", 32)
        if blake3(salt, derive_key_context="bitbacker 2026 slot cost level").digest()[0] % 4 == 0:
            return salt
        number += 1


def stretched(password: str, salt: bytes) -> bytes:
    """Argon2id at level 0."""
    return Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=65536).derive(password.encode())


def seal_slot(strong: bytes, salt: bytes, content: bytes) -> SealedParts:
    """Section 10.2."""
    material = hkdf(strong, salt, b"bitbacker/1/slot", 64)
    key, commitment = material[:32], material[32:]
    return SealedParts(
        salt, key, commitment, salt + commitment + AESGCM(key).encrypt(NONCE, content, b"slot")
    )


def constants(cipher: str) -> Constants:
    """What the repositories of the vectors are made with."""
    parameters = '{"average_size_bytes":524288,"max_size_bytes":2097152,"min_size_bytes":131072}'
    return Constants(PluginChoice(cipher, "", "bitbacker"), PluginChoice("gear", parameters, "bitbacker"))


@dataclass(frozen=True)
class KeyslotsPlan:
    """What goes into a keyslots object; slots by their number."""

    root_key: bytes
    cipher: str = "aes-256-gcm"
    passwords: dict[int, str] = field(default_factory=lambda: {0: PASSWORD})
    recovery: dict[int, bytes] = field(default_factory=dict)
    version: int = 1
    single_writer: bool = False

    def content(self) -> bytes:
        """The plaintext of every used slot."""
        chosen = replace(constants(self.cipher), single_writer=self.single_writer)
        content = encode_slot(SlotContent(self.root_key, chosen), 428)
        return self.version.to_bytes(2, "little") + content[2:]

    def infos(self) -> tuple[SlotInfo, ...]:
        kinds = dict.fromkeys(self.passwords, SlotKind.PASSPHRASE)
        kinds |= dict.fromkeys(self.recovery, SlotKind.RECOVERY)
        return tuple(
            SlotInfo(kinds[number], 1_700_000_000, f"key {number}")
            if number in kinds
            else SlotInfo(SlotKind.UNUSED)
            for number in range(SLOTS)
        )

    def slot(self, number: int) -> bytes:
        salt = slot_salt(f"{self.root_key.hex()} {number}")
        if number in self.passwords:
            return seal_slot(stretched(self.passwords[number], salt), salt, self.content()).sealed
        if number in self.recovery:
            return seal_slot(self.recovery[number], salt, self.content()).sealed
        return salt + derived(f"unused slot {self.root_key.hex()} {number}", 508 - 32)


def checksummed(body: bytes) -> bytes:
    """Section 10.1."""
    return body + blake3(body, derive_key_context="bitbacker 2026 keyslots checksum").digest()


def keyslots(plan: KeyslotsPlan) -> bytes:
    """Section 10."""
    salt = derived(f"directory salt {plan.root_key.hex()}", 32)
    key = hkdf(plan.root_key, salt, b"bitbacker/1/slot-directory", 32)
    slots = b"".join(plan.slot(number) for number in range(SLOTS))
    content = encode_directory(plan.infos(), 460, Stamp(1, blake3(slots).digest()))
    return checksummed(slots + salt + AESGCM(key).encrypt(NONCE, content, b"directory"))


class Builder:
    """A repository that grows by sessions; `objects` is what the storage holds."""

    def __init__(self, label: str, plan: KeyslotsPlan) -> None:
        self.label = label
        self.plan = plan
        self.keys: Keys = keys_of(plan.root_key)
        self.objects: dict[str, bytes] = {names.KEYSLOTS: keyslots(plan)}
        self.plaintexts: dict[str, bytes] = {}
        self.head = Head(
            1, bytes(32), 1_700_000_000_000_000_000, self.random("writer 1", 16), 0, 0, 0, (), ()
        )
        self.put_head(self.head)

    def random(self, label: str, size_bytes: int) -> bytes:
        return derived(f"{self.label}: {label}", size_bytes)

    def put(self, name: str, plaintext: bytes) -> None:
        """Seal an object under its name."""
        key = self.keys.head if name.startswith(names.HEADS) else self.keys.segment
        salt = self.random(f"salt {name}", 32)
        self.plaintexts[name] = plaintext
        self.objects[name] = seal(self.plan.cipher, key, name, plaintext, salt).sealed

    def put_head(self, head: Head) -> None:
        """Make `head` the newest one."""
        self.put(names.head_name(head.number), encode_head(head, names.HEAD_SIZE_BYTES - OVERHEAD_BYTES))
        self.head = head

    def head_hash(self) -> bytes:
        return blake3(self.objects[names.head_name(self.head.number)]).digest()

    def known_heads(self) -> list[tuple[int, bytes]]:
        """Number and start of the hash of the newest head and of those that it knows, newest first."""
        number, before = self.head.number, [self.head.previous_hash[:ANCESTOR_SIZE_BYTES]]
        hashes = [self.head_hash()[:ANCESTOR_SIZE_BYTES], *before, *self.head.ancestors]
        return [(number - at, digest) for at, digest in enumerate(hashes) if at < number]

    def next_head(self, **changes: Any) -> Head:
        """The newest head with what a commit fills in, and these changes."""
        number = self.head.number + 1
        ancestors = tuple(digest for _, digest in self.known_heads()[1:])
        head = replace(
            self.head,
            number=number,
            previous_hash=self.head_hash(),
            time_ns=self.head.time_ns + 60_000_000_000,
            writer=self.random(f"writer {number}", 16),
            ancestors=ancestors[:ANCESTORS_MAX],
        )
        return replace(head, **changes)

    def commit(
        self, session: Session, *, born: int, tip: SourceTip | None = None, empty: Sequence[Session] = ()
    ) -> None:
        """Store the session's segment, `empty` ones for its volume, and a head that holds what it wrote."""
        head = self.head
        total = head.segments_sum
        for segment in (session, *empty):
            total += self.keys.segment_hash(segment.identity)
            self.put(segment.name, bytes(segment.writer.finish()))
        assert born <= head.number + 1
        self.put_head(
            self.next_head(
                segments=head.segments + 1 + len(empty),
                segments_sum=total % 2**256,
                catalogs=(*head.catalogs, *session.catalogs),
                indexes=(*head.indexes, *session.indexes),
                tips=head.tips if tip is None else (tip, *head.tips),
            )
        )


class Session:
    """One segment that is being filled."""

    def __init__(self, builder: Builder, label: str, *, large: bool = False, compress: bool = True) -> None:
        self._keys = builder.keys
        self._heads = builder.known_heads()
        self._compressor = zstandard.ZstdCompressor(level=3) if compress else None
        self.identity = builder.random(f"segment {label}", 16)
        self.name = names.segment_name(self.identity)
        self.size_bytes = names.LARGE_SEGMENT_SIZE_BYTES if large else names.SMALL_SEGMENT_SIZE_BYTES
        self.writer = SegmentWriter(self.size_bytes - OVERHEAD_BYTES)
        self.raw_blocks: list[bytes] = []
        self.indexes: list[TableRef] = []
        self.catalogs: list[TableRef] = []
        self._placed: list[tuple[bytes, int, int, int]] = []

    def block(self, kind: BlockKind, raw: bytes, ids: bytes = b"", sizes: tuple[int, ...] = ()) -> BlockRef:
        """Add any block."""
        if self._compressor is None:
            packed = PackedBlock(kind, Codec.STORED, len(raw), raw, ids, sizes)
        else:
            packed = pack(kind, raw, self._compressor, ids, sizes)
        self.raw_blocks.append(raw)
        return BlockRef(self.identity, self.writer.add(packed), len(raw))

    def data(self, chunks: Sequence[bytes]) -> bytes:
        """A block of chunks; returns their ids."""
        ids = [self._keys.chunk_identity(chunk) for chunk in chunks]
        ref = self.block(BlockKind.DATA, b"".join(chunks), b"".join(ids), tuple(map(len, chunks)))
        at = 0
        for identity, chunk in zip(ids, chunks, strict=True):
            self._placed.append((identity, ref.number, at, len(chunk)))
            at += len(chunk)
        return b"".join(ids)

    def table(self, root: TableRoot) -> TableRef:
        return TableRef(self.block(BlockKind.ROOT, encode_root(root)), root.records)

    def rungs(self, key: bytes, data: bytes, pieces: int = 1) -> list[PageRef]:
        """Blocks of fingerprints that hold `data` in so many pieces (section 9.1)."""
        size = -(-len(data) // pieces)
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        return [PageRef(self.block(BlockKind.FINGERPRINTS, piece), key, 0) for piece in cut]

    def entry_table(self, pages: Sequence[EntryPage], rungs: Sequence[PageRef] = ()) -> TableRef:
        refs = [
            PageRef(
                self.block(BlockKind.ENTRIES, entries.encode_page(page)),
                directory_key(page.paths[0]) if page.paths else b"",
                page.entries,
            )
            for page in pages
        ]
        return self.table(TableRoot(BlockKind.ENTRIES, tuple(refs), rungs=tuple(rungs)))

    def index_table(self) -> None:
        """The index of all data blocks up to now."""
        placed = sorted({row[0]: row for row in self._placed}.values())
        ids = np.frombuffer(b"".join(row[0] for row in placed), IDS_DTYPE)
        locations = np.array([(0, *row[1:]) for row in placed], dtype=LOCATION_DTYPE)
        page = IndexPage(ids, locations)
        ref = PageRef(self.block(BlockKind.INDEX, index.encode_page(page)), ids[:1].tobytes(), len(placed))
        self.indexes.append(self.table(TableRoot(BlockKind.INDEX, (ref,), (self.identity,))))

    def catalog_table(self, snapshots: Sequence[Snapshot], born: int, removed: Sequence[bytes] = ()) -> None:
        """The catalog of the session, its own segment included."""
        own = SegmentRecord(self.identity, SegmentState.LIVE, self.size_bytes, born)
        records = [catalog.encode_snapshot(snapshot) for snapshot in snapshots]
        records += [catalog.encode_segment(own), *self.head_records()]
        records += [CatalogRecord(key, None) for key in removed]
        self.catalog_records(sorted(records, key=lambda record: record.key))

    def head_records(self) -> list[CatalogRecord]:
        """What section 8.3 asks of every commit: the heads that it knows."""
        return [CatalogRecord(b"h" + number.to_bytes(16, "big"), digest) for number, digest in self._heads]

    def catalog_records(self, records: list[CatalogRecord]) -> None:
        ref = PageRef(
            self.block(BlockKind.CATALOG, catalog.encode_page(records)), records[0].key, len(records)
        )
        self.catalogs.append(self.table(TableRoot(BlockKind.CATALOG, (ref,))))


def tip_of(source: bytes, snapshot: Snapshot, fingerprints: list[int], tips: int = 1) -> SourceTip:
    """The tip of a snapshot with these fingerprints, in a head with so many tips."""
    part_cells = sketching.cells_of_each(tips)
    sketch = sketching.sketch(fingerprints, part_cells)
    digest = sketching.digest(fingerprints)
    return SourceTip(source, snapshot.identity, snapshot.tables, digest, part_cells, sketch)


def entry_page(directories: list[Directory], drops: Sequence[bytes] = ()) -> EntryPage:
    """A page of directories, and the fingerprints that it drops."""
    return page_of(directories, np.sort(np.frombuffer(b"".join(drops), "<u8").astype(np.uint64)))
