"""Reading segments: whole objects in, blocks out."""

from __future__ import annotations

import threading
from collections import OrderedDict

from bitbacker.crypto.seal import Sealer
from bitbacker.errors import DamageError, FormatError, ObjectMissing, SealBroken
from bitbacker.format import names
from bitbacker.format.block import BlockInfo, BlockKind, BlockRef, Decompressor, unpack
from bitbacker.format.segment import read_contents, stored_part, used_bytes
from bitbacker.repo.storage import Storage

SEGMENT_SIZES_BYTES = (names.SMALL_SEGMENT_SIZE_BYTES, names.LARGE_SEGMENT_SIZE_BYTES)
_KEPT = 6


class SegmentMissing(DamageError):
    """A segment that the repository relies on is gone."""

    code = "segment-missing"


class OpenSegment:
    """The plaintext of one segment, and what is in it."""

    __slots__ = ("_plaintext", "contents", "identity")

    def __init__(self, identity: bytes, plaintext: bytearray) -> None:
        self.identity = identity
        self._plaintext = plaintext
        self.contents: list[BlockInfo] = read_contents(plaintext)

    @property
    def size_bytes(self) -> int:
        """How long the plaintext is."""
        return len(self._plaintext)

    @property
    def padding_bytes(self) -> int:
        """How much of the plaintext holds nothing."""
        return self.size_bytes - used_bytes(self.contents)

    def block(self, number: int) -> bytes | memoryview:
        """The raw bytes of one block.  Raises `FormatError`."""
        if number >= len(self.contents):
            raise FormatError(f"segment {self.identity.hex()} has no block {number}")
        info = self.contents[number]
        return unpack(info, stored_part(self._plaintext, info), Decompressor())


class SegmentReader:
    """Fetches and opens segments; keeps the last few for tables, whose pages lie together."""

    def __init__(self, storage: Storage, sealer: Sealer) -> None:
        self._storage = storage
        self._sealer = sealer
        self._kept: OrderedDict[bytes, OpenSegment] = OrderedDict()
        self._lock = threading.Lock()

    def fetch(self, identity: bytes) -> OpenSegment:
        """Get, open and parse one segment.

        Raises `SegmentMissing`, `SealBroken`, `FormatError`, `StorageError`.
        """
        name = names.segment_name(identity)
        try:
            data = self._storage.get(name)
        except ObjectMissing as error:
            raise SegmentMissing(f"{name} is missing from the storage") from error
        if len(data) not in SEGMENT_SIZES_BYTES:
            raise SealBroken(f"{name} has {len(data)} bytes, which no segment has")
        return OpenSegment(identity, self._sealer.open(name, data))

    def block(self, ref: BlockRef, kind: BlockKind) -> bytes | memoryview:
        """The block that `ref` names.  Raises `DamageError` when it is of another kind or size."""
        segment = self._segment(ref.segment)
        raw = segment.block(ref.number)
        if segment.contents[ref.number].kind is not kind or len(raw) != ref.raw_bytes:
            raise FormatError(f"block {ref.number} of segment {ref.segment.hex()} is not what a table says")
        return raw

    def _segment(self, identity: bytes) -> OpenSegment:
        with self._lock:
            if identity in self._kept:
                self._kept.move_to_end(identity)
                return self._kept[identity]
        segment = self.fetch(identity)
        with self._lock:
            self._kept[identity] = segment
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return segment

    def forget(self) -> None:
        """Let go of the segments that are kept."""
        with self._lock:
            self._kept.clear()
