"""What is to be restored, column by column: about a hundred bytes an entry, no object per file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitbacker.engine.target_metadata import Attributes
from bitbacker.errors import FormatError
from bitbacker.format.block import CHUNK_ID_SIZE_BYTES
from bitbacker.format.entries import Directory, Extra, check_names, directory_key, is_link
from bitbacker.format.extras import NOTHING, EntryExtras, decode_extras
from bitbacker.format.rows import ROW_DTYPE, Rows, as_rows

KIND_MASK = 0o170000

Damaged = Callable[[bytes, str], None]
"""Told the path and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries in table order, named by their number; directories by theirs.

    `directory` says in which directory an entry lies, `directories` where that is.  The chunks of
    an entry are `first_chunk[entry]` up to `first_chunk[entry + 1]` of `chunk_ids`.
    """

    directories: list[bytes]
    directory: npt.NDArray[np.uint32]
    names: bytearray
    name_starts: npt.NDArray[np.int64]
    rows: Rows
    marks: npt.NDArray[np.uint8]
    first_chunk: npt.NDArray[np.int64]
    chunk_ids: npt.NDArray[np.void]
    links: dict[int, bytes]
    raw_extras: dict[int, bytes]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def kinds(self) -> npt.NDArray[np.uint32]:
        """The type bits of each entry's mode."""
        kinds: npt.NDArray[np.uint32] = self.rows["mode"] & np.uint32(KIND_MASK)
        return kinds

    def name(self, entry: int) -> bytes:
        """The name of one entry in its directory."""
        return bytes(self.names[self.name_starts[entry] : self.name_starts[entry + 1] - 1])

    def parent(self, entry: int) -> bytes:
        """The path of the directory that an entry lies in."""
        return self.directories[int(self.directory[entry])]

    def path(self, entry: int) -> bytes:
        """The whole path of one entry."""
        return join(self.parent(entry), self.name(entry))

    def extras(self, entry: int) -> EntryExtras:
        """Extended attributes and holes of one entry.  Raises `FormatError`."""
        raw = self.raw_extras.get(entry)
        return NOTHING if raw is None else decode_extras(raw)

    def attributes(self, entry: int) -> Attributes:
        """What one entry gets besides its content.  Raises `FormatError`."""
        row = self.rows[entry]
        mode, uid, gid, mtime_ns = (row[name].item() for name in ("mode", "uid", "gid", "mtime_ns"))
        return Attributes(mode, uid, gid, mtime_ns, self.extras(entry).xattrs)


def join(directory: bytes, name: bytes) -> bytes:
    """The path of an entry."""
    return directory + b"/" + name if directory else name


class Collector:
    """Collects directories, in table order, into columns; leaves out what no directory can hold."""

    def __init__(self, damaged: Damaged) -> None:
        self._damaged = damaged
        self._paths: list[bytes] = []
        self._counts: list[int] = []
        self._names = bytearray()
        self._rows = bytearray()
        self._marks = bytearray()
        self._chunk_counts = bytearray()
        self._chunk_ids = bytearray()
        self._links: dict[int, bytes] = {}
        self._extras: dict[int, bytes] = {}
        self._same: dict[bytes, bytes] = {}
        self._last = (b"", b"")

    def add(self, directory: Directory) -> None:
        """Take a directory, or the next part of it."""
        directory = self._checked(directory)
        if not directory.entries:
            return
        first = len(self._marks)
        if not self._paths or self._paths[-1] != directory.path:
            self._paths.append(directory.path)
            self._counts.append(0)
        self._counts[-1] += directory.entries
        self._names += directory.names
        self._names.append(0)
        self._rows += directory.rows
        self._marks += directory.marks
        self._chunk_counts += directory.chunk_counts.astype("<u4").tobytes()
        self._chunk_ids += directory.chunk_ids
        if directory.links:
            positions = np.flatnonzero(is_link(as_rows(directory.rows))) + first
            self._links.update(zip(positions.tolist(), directory.links, strict=True))
        for extra in directory.extras:
            # Most extended attributes of a machine are the same few.
            self._extras[first + extra.position] = self._same.setdefault(extra.data, extra.data)

    def entries(self) -> Entries:
        """Everything that was collected; the collector is of no use afterwards."""
        counts = np.array(self._counts, dtype=np.int64)
        chunk_counts = np.frombuffer(self._chunk_counts, "<u4")
        ends = np.flatnonzero(np.frombuffer(self._names, np.uint8) == 0) + 1
        return Entries(
            directories=self._paths,
            directory=np.repeat(np.arange(len(counts), dtype=np.uint32), counts),
            names=self._names,
            name_starts=np.concatenate(([0], ends)),
            rows=np.frombuffer(self._rows, ROW_DTYPE),
            marks=np.frombuffer(self._marks, np.uint8),
            first_chunk=np.concatenate(([0], np.cumsum(chunk_counts, dtype=np.int64))),
            chunk_ids=np.frombuffer(self._chunk_ids, f"V{CHUNK_ID_SIZE_BYTES}"),
            links=self._links,
            raw_extras=self._extras,
        )

    def _checked(self, directory: Directory) -> Directory:
        """The directory without entries whose names are impossible or were there before."""
        key = directory_key(directory.path)
        last_key, last_name = self._last
        if key < last_key:
            self._damaged(directory.path, "the snapshot has this directory twice")
            return pick(directory, [])
        names = directory.name_list
        floor = last_name if key == last_key and self._paths else b""
        try:
            check_names([floor, *names] if floor else names)
        except FormatError:
            good = self._good(directory.path, names, floor)
            directory = pick(directory, good)
            names = directory.name_list
        self._last = (key, names[-1] if names else floor)
        return directory

    def _good(self, path: bytes, names: list[bytes], floor: bytes) -> list[int]:
        good = []
        for position, name in enumerate(names):
            try:
                check_names([floor, name] if floor else [name])
            except FormatError:
                self._damaged(join(path, name), "the snapshot has an entry with a name it cannot have")
                continue
            good.append(position)
            floor = name
        return good


def pick(directory: Directory, positions: list[int]) -> Directory:
    """A directory with some of its entries only; `positions` ascend."""
    rows = as_rows(directory.rows)
    chosen = np.array(positions, dtype=np.int64)
    names = directory.name_list
    first_chunk = np.concatenate(([0], np.cumsum(directory.chunk_counts, dtype=np.int64)))
    before = np.concatenate(([0], np.cumsum(is_link(rows), dtype=np.int64)))
    size = CHUNK_ID_SIZE_BYTES
    extras = {extra.position: extra.data for extra in directory.extras}
    return Directory(
        path=directory.path,
        names=b"\0".join(names[position] for position in positions),
        rows=rows[chosen].tobytes(),
        fingerprints=np.frombuffer(directory.fingerprints, "V8")[chosen].tobytes(),
        marks=np.frombuffer(directory.marks, np.uint8)[chosen].tobytes(),
        chunk_counts=directory.chunk_counts[chosen],
        chunk_ids=b"".join(
            directory.chunk_ids[first_chunk[at] * size : first_chunk[at + 1] * size] for at in positions
        ),
        links=tuple(directory.links[before[at]] for at in positions if before[at + 1] > before[at]),
        extras=tuple(Extra(new, extras[old]) for new, old in enumerate(positions) if old in extras),
    )
