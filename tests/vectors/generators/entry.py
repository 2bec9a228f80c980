"""Entries of made-up trees, in words, and the directories that are made of them."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitbacker.crypto.keys import Keys
from bitbacker.format.entries import Directory, Extra
from bitbacker.format.extras import EntryExtras, ExtentRef, Xattr, encode_extras
from bitbacker.spi import ROW

MTIME_NS = 1_700_000_000_123_456_789


@dataclass(frozen=True)
class Made:
    """One entry.  `size_bytes` is only given where it is not that of `content` or `target`."""

    name: bytes
    mode: int = 0o100644
    content: bytes = b""
    chunk_ids: bytes = b""
    target: bytes = b""
    mtime_ns: int = MTIME_NS
    size_bytes: int | None = None
    nlink: int = 1
    inode: int = 0
    mark: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[tuple[int, int], ...] | None = None
    owner: tuple[int, int] = (1000, 1000)
    filesystem: int = 0

    def row(self) -> bytes:
        """Section 6.2, row form 0."""
        size = len(self.target or self.content) if self.size_bytes is None else self.size_bytes
        return ROW.pack(
            self.mode, *self.owner, self.nlink, self.filesystem, size, self.mtime_ns, 0, self.inode
        )

    def extras(self) -> bytes:
        extents = None if self.extents is None else tuple(ExtentRef(*extent) for extent in self.extents)
        return encode_extras(EntryExtras(tuple(Xattr(*pair) for pair in self.xattrs), extents))


def fingerprint(keys: Keys, path: bytes, made: Made) -> bytes:
    """Section 6.3."""
    whole = path + b"/" + made.name if path else made.name
    marked = b"\0\1" if made.mark & 1 else b""
    return keys.fingerprint(whole, made.row(), made.target + marked)


def directory(keys: Keys, path: bytes, items: Sequence[Made]) -> Directory:
    """A directory of these entries, put in order."""
    items = sorted(items, key=lambda item: item.name)
    extras = tuple(Extra(at, item.extras()) for at, item in enumerate(items) if item.extras())
    return Directory(
        path,
        b"\0".join(item.name for item in items),
        b"".join(item.row() for item in items),
        b"".join(fingerprint(keys, path, item) for item in items),
        bytes(item.mark for item in items),
        np.array([len(item.chunk_ids) // 16 for item in items], dtype=np.uint32),
        b"".join(item.chunk_ids for item in items),
        tuple(item.target for item in items if stat.S_ISLNK(item.mode)),
        extras,
    )
