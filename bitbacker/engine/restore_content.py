"""The chunks of a restore: where they lie, whether they make up their files, and in which order to go."""

from __future__ import annotations

import stat
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitbacker.engine.restore_entries import Entries
from bitbacker.errors import FormatError
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ
from bitbacker.format.extras import ExtentRef
from bitbacker.format.index import LOCATION_DTYPE
from bitbacker.repo.index import UNKNOWN, ChunkIndex

_LOOKUP_IDS = 65_536
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)


@dataclass(frozen=True, slots=True)
class Chunks:
    """Columns by chunk number: its entry, where it begins in the content, where it is stored.

    `stored` counts the bytes of content of each entry; what lies in holes is not among them.
    """

    entry: npt.NDArray[np.uint32]
    position: npt.NDArray[np.int64]
    location: npt.NDArray[np.void]
    stored: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The size that each file is to have, which have holes, and why entries cannot be restored."""

    sizes: npt.NDArray[np.int64]
    with_holes: npt.NDArray[np.bool_]
    reasons: dict[int, str]


@dataclass(frozen=True, slots=True)
class Order:
    """Chunk numbers, segment by segment and block by block.

    `blocks` are the positions in `chunks` where a new block begins, and the end.
    """

    chunks: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]


def locate_chunks(entries: Entries, index: ChunkIndex) -> Chunks:
    """Look up every chunk, a part at a time."""
    ids = entries.chunk_ids
    location = np.empty(len(ids), LOCATION_DTYPE)
    for at in range(0, len(ids), _LOOKUP_IDS):
        part = ids[at : at + _LOOKUP_IDS]
        location[at : at + len(part)] = index.locate(part.tobytes())
    ends = np.concatenate(([0], np.cumsum(location["size"], dtype=np.int64)))
    starts = ends[entries.first_chunk]
    counts = np.diff(entries.first_chunk)
    return Chunks(
        entry=np.repeat(np.arange(len(entries), dtype=np.uint32), counts),
        position=ends[:-1] - np.repeat(starts[:-1], counts),
        location=location,
        stored=np.diff(starts),
    )


def judge(entries: Entries, chunks: Chunks, own_content: npt.NDArray[np.bool_]) -> Judgement:
    """See whether the chunks of the entries in `own_content` make up what they were."""
    reasons = dict.fromkeys(np.flatnonzero(~np.isin(entries.kinds, _KINDS)).tolist(), "its kind is unknown")
    sizes = chunks.stored.copy()
    with_holes = np.zeros(len(entries), np.bool_)
    changed = (entries.marks & MARK_CHANGED_WHILE_READ) > 0
    wrong = own_content & ~changed & (chunks.stored != entries.rows["size_bytes"])
    for entry in entries.raw_extras:
        if own_content[entry]:
            stored, marked = int(chunks.stored[entry]), bool(changed[entry])
            try:
                extents = entries.extras(entry).extents
                if extents is None:
                    continue
                sizes[entry] = _size_with_holes(
                    extents, stored, int(entries.rows["size_bytes"][entry]), changed=marked
                )
                with_holes[entry], wrong[entry] = True, False
            except FormatError as error:
                reasons[entry] = error.message
    for entry in np.flatnonzero(wrong).tolist():
        reasons[entry] = "its content is not as long as it was"
    unknown = np.unique(chunks.entry[chunks.location["segment"] == UNKNOWN])
    for entry in unknown[own_content[unknown]].tolist():
        reasons[entry] = "a part of its content is not in the repository"
    return Judgement(sizes, with_holes, reasons)


def _size_with_holes(extents: tuple[ExtentRef, ...], stored: int, size: int, *, changed: bool) -> int:
    """The size of a file with holes.  Raises `FormatError` when its content does not fill what is none."""
    room = sum(extent.size_bytes for extent in extents)
    end = extents[-1].offset_bytes + extents[-1].size_bytes if extents else 0
    if stored > room or (not changed and (stored != room or end > size)):
        raise FormatError("its content does not fill the space between its holes")
    return max(size, end)


def order_chunks(chunks: Chunks, wanted: npt.NDArray[np.bool_]) -> Order:
    """All chunks of `wanted` entries: segments by first use, then by place, so that each is read once."""
    order = np.flatnonzero(wanted[chunks.entry])
    location = chunks.location[order]
    _, first_use, which = np.unique(location["segment"], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first_use))[which]
    sorting = np.lexsort((location["offset"], location["block"], rank))
    order, location = order[sorting], location[sorting]
    segment, block = location["segment"], location["block"]
    new = np.flatnonzero((segment[1:] != segment[:-1]) | (block[1:] != block[:-1])) + 1
    ends = [len(order)] if len(order) else []
    return Order(order, np.concatenate(([0], new, ends)).astype(np.int64))
