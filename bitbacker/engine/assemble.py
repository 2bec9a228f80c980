"""A changed directory, entry by entry: what is carried over, what was read anew, what is gone."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bitbacker.crypto.keys import Keys
from bitbacker.engine.content import Content
from bitbacker.format.entries import (
    FINGERPRINT_SIZE_BYTES,
    MARK_CHANGED_WHILE_READ,
    Directory,
    Extra,
)
from bitbacker.format.extras import EntryExtras, Xattr, encode_extras
from bitbacker.format.rows import ROW_SIZE_BYTES
from bitbacker.spi import ROW, Description, Listing


@dataclass(frozen=True, slots=True)
class Comparison:
    """A listing held against what is stored.

    `changed` (or new) and `kept` are positions in the listing; `replaced` are stored ones, of entries
    that changed or are gone.
    """

    changed: tuple[int, ...]
    kept: tuple[int, ...]
    replaced: tuple[int, ...]


def positions_by_name(directory: Directory) -> dict[bytes, int]:
    """Where each entry stands; the first piece of one that has several."""
    positions: dict[bytes, int] = {}
    for position, name in enumerate(directory.name_list):
        positions.setdefault(name, position)
    return positions


def compare(listing: Listing, old: Directory | None, *, read_all: bool) -> Comparison:
    """Which entries changed, which are kept, which are replaced."""
    if old is None:
        return Comparison(tuple(range(len(listing.names))), (), ())
    stored = positions_by_name(old)
    changed: list[int] = []
    kept: list[int] = []
    size = ROW_SIZE_BYTES
    for index, name in enumerate(listing.names):
        position = stored.get(name)
        if (
            position is None
            or read_all
            or old.marks[position] & MARK_CHANGED_WHILE_READ
            or listing.rows[index * size : index * size + size]
            != old.rows[position * size : position * size + size]
        ):
            changed.append(index)
        else:
            kept.append(index)
            del stored[name]
    return Comparison(tuple(changed), tuple(kept), tuple(stored.values()))


class Assembler:
    """Builds the directories that are written."""

    def __init__(self, keys: Keys) -> None:
        self._fingerprint = keys.fingerprint

    def fresh(
        self,
        listing: Listing,
        contents: dict[int, Content],
        descriptions: Sequence[Description],
        order: Sequence[int],
    ) -> Directory:
        """A directory of the entries in `order` that have contents; descriptions go with `order`."""
        prefix = listing.path + b"/" if listing.path else b""
        names: list[bytes] = []
        rows: list[bytes] = []
        fingerprints: list[bytes] = []
        marks = bytearray()
        ids: list[bytes] = []
        links: list[bytes] = []
        extras: list[Extra] = []
        for index, description in zip(order, descriptions, strict=True):
            content = contents.get(index)
            if content is None:
                continue
            name, target, row = listing.names[index], description.link_target, content.row
            if target:
                row = row_of_link(row, target)
                links.append(target)
            elif stat.S_ISLNK(int.from_bytes(row[:4], "little")):
                # Its target could not be read, which was reported, so there is nothing to store.
                continue
            extra = _extra(description, content)
            if extra:
                extras.append(Extra(len(names), extra))
            names.append(name)
            rows.append(row)
            fingerprints.append(self._fingerprint(prefix + name, row, target, marked=content.changed))
            marks.append(MARK_CHANGED_WHILE_READ if content.changed else 0)
            ids.append(content.chunk_ids)
        return Directory(
            listing.path,
            b"\0".join(names),
            b"".join(rows),
            b"".join(fingerprints),
            bytes(marks),
            np.array([len(part) // 16 for part in ids], dtype=np.uint32),
            b"".join(ids),
            tuple(links),
            tuple(extras),
        )


def row_of_link(row: bytes, target: bytes) -> bytes:
    """A symlink's size is the length of the target that was read."""
    fields = ROW.unpack(row)
    return row if fields[5] == len(target) else ROW.pack(*fields[:5], len(target), *fields[6:])


def _extra(description: Description, content: Content) -> bytes:
    if not description.xattrs and content.extents is None:
        return b""
    xattrs = tuple(Xattr(name, value) for name, value in description.xattrs)
    return encode_extras(EntryExtras(xattrs, content.extents))


def drops(directory: Directory, positions: Iterable[int]) -> list[bytes]:
    """The fingerprints of these entries."""
    size = FINGERPRINT_SIZE_BYTES
    return [directory.fingerprints[at * size : at * size + size] for at in positions]
