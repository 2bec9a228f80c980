"""One file of a snapshot as a stream of bytes."""

from __future__ import annotations

import stat
from collections import OrderedDict
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import BinaryIO

import numpy as np

from bitbacker.engine.restore_content import Chunks, judge, locate_chunks
from bitbacker.engine.restore_entries import Collector, Entries, pick
from bitbacker.engine.restore_holes import Layout
from bitbacker.errors import DamageError, FormatError, PathUnknown
from bitbacker.format.catalog import Snapshot
from bitbacker.repo.index import ChunkIndex
from bitbacker.repo.open import Repository
from bitbacker.repo.read import OpenSegment
from bitbacker.repo.tree import SnapshotTree

_SEGMENTS_AHEAD = 2
_SEGMENTS_KEPT = 4
_BLOCKS_KEPT = 4
_ZEROS = bytes(1024 * 1024)


def dump(repository: Repository, snapshot: Snapshot, path: bytes, out: BinaryIO) -> None:
    """Write the content of one file to `out`, front to back, holes as zeros.

    Memory is bounded whatever the size of the file.  Raises `PathUnknown`, also for what is no file,
    `StorageError`, and `DamageError` when the content is not what was stored; then `out` has got what
    comes before the damage.  Errors of `out` itself are passed on.
    """
    path = path.strip(b"/")
    shown = "/" + path.decode("utf-8", "backslashreplace")
    entries = _find(repository, snapshot, path, shown)
    index = repository.index(repository.newest())
    chunks = locate_chunks(entries, index)
    judgement = judge(entries, chunks, np.ones(1, np.bool_))
    if judgement.reasons:
        raise DamageError(f"{shown} cannot be read: {judgement.reasons[0]}")
    extents = entries.extras(0).extents
    layout = None if extents is None else Layout(extents)
    written = 0
    with closing(_contents(repository, index, chunks)) as contents:
        for number, data in enumerate(contents):
            if repository.keys.chunk_identity(data) != entries.chunk_ids[number].tobytes():
                raise DamageError(f"{shown} is damaged: a chunk is not what it was when it was stored")
            position = int(chunks.position[number])
            for offset, part in [(position, data)] if layout is None else layout.place(position, data):
                _write_zeros(out, offset - written)
                out.write(part)
                written = offset + len(part)
    _write_zeros(out, int(judgement.sizes[0]) - written)


def _find(repository: Repository, snapshot: Snapshot, path: bytes, shown: str) -> Entries:
    """The columns of one regular file."""
    above, _, name = path.rpartition(b"/")
    directory = SnapshotTree(repository.tables, snapshot.tables).directory(above)
    names = [] if directory is None else directory.name_list
    if directory is None or name not in names:
        raise PathUnknown(f"the snapshot does not hold {shown}")
    found: list[str] = []
    collector = Collector(lambda _, text: found.append(text))
    collector.add(pick(directory, [names.index(name)]))
    if found:
        raise FormatError(f"{shown}: {found[0]}")
    entries = collector.entries()
    if entries.kinds[0] != stat.S_IFREG:
        raise PathUnknown(f"{shown} is not a file", hint="bitbacker restore restores everything else")
    return entries


def _contents(repository: Repository, index: ChunkIndex, chunks: Chunks) -> Generator[memoryview, None, None]:
    """The chunks in order; segments are fetched a little ahead, and the last few are kept."""
    segment = chunks.location["segment"]
    starts = [0, *(np.flatnonzero(segment[1:] != segment[:-1]) + 1).tolist()][: len(segment)]
    with _Fetched(repository) as fetched:
        for number, start in enumerate(starts):
            ahead = starts[number : number + 1 + _SEGMENTS_AHEAD]
            fetched.expect(index.segments[int(segment[at])] for at in ahead)
            identity = index.segments[int(segment[start])]
            end = starts[number + 1] if number + 1 < len(starts) else len(segment)
            for _, block, offset, size in chunks.location[start:end].tolist():
                yield fetched.block(identity, block)[offset : offset + size]


class _Fetched:
    """Segments on their way and the last blocks of them."""

    def __init__(self, repository: Repository) -> None:
        self._reader = repository.segments
        self._pool = ThreadPoolExecutor(self._reader.threads, "fetch")
        self._segments: OrderedDict[bytes, Future[OpenSegment]] = OrderedDict()
        self._blocks: OrderedDict[tuple[bytes, int], memoryview] = OrderedDict()

    def expect(self, identities: Iterable[bytes]) -> None:
        """Fetch what will be needed soon, the first of it soonest."""
        for identity in identities:
            if identity not in self._segments:
                self._segments[identity] = self._pool.submit(self._reader.fetch, identity)
            self._segments.move_to_end(identity)
        while len(self._segments) > _SEGMENTS_KEPT:
            self._segments.popitem(last=False)

    def block(self, identity: bytes, number: int) -> memoryview:
        """One block of a segment that is expected.  Raises `DamageError`, `StorageError`."""
        key = (identity, number)
        if key not in self._blocks:
            self._blocks[key] = memoryview(self._segments[identity].result().block(number))
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[key]

    def __enter__(self) -> _Fetched:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _write_zeros(out: BinaryIO, size: int) -> None:
    while size > 0:
        out.write(_ZEROS[:size])
        size -= len(_ZEROS)
