"""What only few entries have: extended attributes and holes.  docs/format.md section 6.4."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.errors import FormatError
from bitbacker.format.wire import Reader, Writer

_FILE_SIZE_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ExtentRef:
    """A run of data in a file with holes."""

    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Xattr:
    """One extended attribute; POSIX ACLs are extended attributes too."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class EntryExtras:
    """Extended attributes, and where data lies in a file with holes (None: everywhere)."""

    xattrs: tuple[Xattr, ...] = ()
    extents: tuple[ExtentRef, ...] | None = None


NOTHING = EntryExtras()


def encode_extras(extras: EntryExtras) -> bytes:
    """Empty when there is nothing to say."""
    if extras == NOTHING:
        return b""
    writer = Writer()
    writer.u32(len(extras.xattrs))
    for xattr in extras.xattrs:
        writer.blob(xattr.name)
        writer.blob(xattr.value)
    writer.u8(extras.extents is not None)
    if extras.extents is not None:
        writer.u32(len(extras.extents))
        for extent in extras.extents:
            writer.u64(extent.offset_bytes)
            writer.u64(extent.size_bytes)
    return writer.bytes()


def decode_extras(raw: bytes) -> EntryExtras:
    """Raises `FormatError`, also for extents that overlap, do not ascend or end behind 2^63 - 1."""
    if not raw:
        return NOTHING
    reader = Reader(raw)
    xattrs = reader.many(lambda: Xattr(reader.blob(), reader.blob()), 8)
    extents: tuple[ExtentRef, ...] | None = None
    if reader.flag():
        extents = reader.many(lambda: ExtentRef(reader.u64(), reader.u64()), 16)
        at = 0
        for extent in extents:
            if extent.offset_bytes < at or not extent.size_bytes:
                raise FormatError("extents out of order")
            at = extent.offset_bytes + extent.size_bytes
        if at > _FILE_SIZE_MAX:
            raise FormatError("an extent behind the largest file")
    reader.end()
    return EntryExtras(xattrs, extents)
