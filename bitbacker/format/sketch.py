"""Sketches of sets of fingerprints: what differs between two sets is read off a table of fixed size.

A fingerprint is a keyed 64-bit hash, so fingerprints are uniform and nobody without the key can aim at a
cell.  A sketch is an invertible Bloom lookup table of three parts.  Each part has one cell for a
fingerprint; a cell holds the XOR of its fingerprints and the XOR of their checks.  The XOR of two sketches
is the sketch of what differs, and a cell that holds a single fingerprint gives it away ("peeling").

Nothing that peeling yields is believed: `difference` holds it against the digest of the whole set.
docs/sketch.md explains the ladder of sketches and has measured success rates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitbacker.errors import FormatError
from bitbacker.format.wire import Reader, Writer

Fingerprints = npt.NDArray[np.uint64]
Cells = npt.NDArray[np.intp]
Checks = npt.NDArray[np.uint32]

PARTS = 3
PART_CELLS = 1664
"""Cells in a part of the sketch in a head.  1,664 is 2^7 * 13, so the sketch folds by halves seven times."""
RUNG_PART_CELLS = 29_120
"""Cells in a part of the rung of 1 MiB."""
CELL_SIZE_BYTES = 12
FINGERPRINT_SIZE_BYTES = 8

_SLICE_BITS = 21
_BATCH = 1 << 16
_WORD = 1 << 64


def _mix(fingerprints: Fingerprints) -> Fingerprints:
    """A step of splitmix64: not linear over XOR, nor over addition, and zero is nothing special."""
    mixed: Fingerprints = fingerprints + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _checks(fingerprints: Fingerprints) -> Checks:
    """What cells keep of a fingerprint to tell one from the XOR of several."""
    upper: Checks = (_mix(fingerprints) >> np.uint64(32)).astype(np.uint32)
    return upper


def _cells(fingerprints: Fingerprints, part_cells: int, part: int) -> Cells:
    """The cell of each fingerprint in this part, counted through all parts."""
    pieces = (fingerprints >> np.uint64(_SLICE_BITS * part)) & np.uint64((1 << _SLICE_BITS) - 1)
    within = (pieces * np.uint64(part_cells)) >> np.uint64(_SLICE_BITS)
    cells: Cells = within.astype(np.intp) + part * part_cells
    return cells


def _batches(fingerprints: Fingerprints) -> Iterator[Fingerprints]:
    """Pieces that fit into the processor's cache with all that is computed from them."""
    return (fingerprints[at : at + _BATCH] for at in range(0, len(fingerprints), _BATCH))


@dataclass(frozen=True, slots=True)
class SetDigest:
    """What a set of fingerprints is held against: its size and two sums modulo 2^64."""

    count: int
    total: int
    mixed: int

    @classmethod
    def of(cls, fingerprints: Fingerprints) -> SetDigest:
        total = mixed = 0
        for batch in _batches(fingerprints):
            total += int(np.sum(batch, dtype=np.uint64))
            mixed += int(np.sum(_mix(batch), dtype=np.uint64))
        return cls(len(fingerprints), total % _WORD, mixed % _WORD)

    def plus(self, fingerprints: Fingerprints) -> SetDigest:
        """The digest with these added, none of which was in the set."""
        other = SetDigest.of(fingerprints)
        return SetDigest(
            self.count + other.count, (self.total + other.total) % _WORD, (self.mixed + other.mixed) % _WORD
        )

    def minus(self, fingerprints: Fingerprints) -> SetDigest:
        """The digest with these taken away, all of which were in the set."""
        other = SetDigest.of(fingerprints)
        return SetDigest(
            self.count - other.count, (self.total - other.total) % _WORD, (self.mixed - other.mixed) % _WORD
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """An invertible Bloom lookup table of `PARTS * part_cells` cells.  Nobody changes one that exists."""

    part_cells: int
    sums: Fingerprints
    checks: Checks

    @classmethod
    def empty(cls, part_cells: int) -> Sketch:
        cells = PARTS * part_cells
        return cls(part_cells, np.zeros(cells, np.uint64), np.zeros(cells, np.uint32))

    @classmethod
    def of(cls, fingerprints: Fingerprints, part_cells: int) -> Sketch:
        """The sketch of a set; a fingerprint that is there twice cancels itself."""
        return cls.empty(part_cells).toggled(fingerprints)

    def toggled(self, fingerprints: Fingerprints) -> Sketch:
        """The sketch with these added where they were missing, and taken away where they were in."""
        sketch = self._copy()
        for batch in _batches(fingerprints):
            _toggle(sketch, batch)
        return sketch

    def __xor__(self, other: Sketch) -> Sketch:
        """The sketch of what is in one set only.  Raises ValueError where the sizes differ."""
        if self.part_cells != other.part_cells:
            raise ValueError(f"a sketch of {self.part_cells} cells a part and one of {other.part_cells}")
        return Sketch(self.part_cells, self.sums ^ other.sums, self.checks ^ other.checks)

    def folded(self, part_cells: int) -> Sketch:
        """The sketch of the same set with fewer cells.  Raises ValueError where halving does not lead there.

        A cell is numbered by the upper bits of what it is computed from, so two neighbours become one.
        """
        sums, checks, size = self.sums, self.checks, self.part_cells
        while size > part_cells and size % 2 == 0:
            sums, checks, size = sums[0::2] ^ sums[1::2], checks[0::2] ^ checks[1::2], size // 2
        if size != part_cells:
            raise ValueError(f"{self.part_cells} cells a part do not fold to {part_cells}")
        return Sketch(size, sums, checks)

    def encode(self) -> bytes:
        """The sums of all cells as u64, then the checks of all cells as u32, little-endian."""
        return self.sums.astype("<u8").tobytes() + self.checks.astype("<u4").tobytes()

    def peel(self) -> Fingerprints | None:
        """All fingerprints of the sketch, ascending, or None where it does not come out even.

        It ends after as many fingerprints as there are cells: a sketch that peels never holds more.
        """
        rest = self._copy()
        found: list[Fingerprints] = []
        left = len(rest.sums)
        touched = np.arange(left)
        while True:
            single = _singles(rest, touched)
            left -= len(single)
            if not len(single) or left < 0:
                break
            found.append(single)
            touched = _toggle(rest, single)
        if rest.sums.any() or rest.checks.any():
            return None
        values, counts = np.unique(np.concatenate([*found, np.empty(0, np.uint64)]), return_counts=True)
        # One that was found by mistake and toggled back again is none.
        peeled: Fingerprints = values[counts % 2 == 1]
        return peeled

    def _copy(self) -> Sketch:
        return Sketch(self.part_cells, self.sums.copy(), self.checks.copy())


def _toggle(sketch: Sketch, fingerprints: Fingerprints) -> Cells:
    """Toggles in place, which is for a copy that nobody else has.  Returns the cells."""
    checks = _checks(fingerprints)
    cells = np.array([_cells(fingerprints, sketch.part_cells, part) for part in range(PARTS)])
    for part in cells:
        np.bitwise_xor.at(sketch.sums, part, fingerprints)
        np.bitwise_xor.at(sketch.checks, part, checks)
    return cells.ravel()


def _singles(sketch: Sketch, cells: Cells) -> Fingerprints:
    """The fingerprints that stand alone in one of these cells, each once.

    An empty cell is none of them, since the check of zero is not zero.
    """
    sums = sketch.sums[cells]
    right = _checks(sums) == sketch.checks[cells]
    sums, cells = sums[right], cells[right]
    own = np.zeros(len(cells), np.bool_)
    for part in range(PARTS):
        own |= _cells(sums, sketch.part_cells, part) == cells
    return np.unique(sums[own])


def decode_sketch(data: bytes | memoryview, part_cells: int) -> Sketch:
    """The sketch that `encode` wrote.  Raises FormatError where the size is not that of so many cells."""
    reader = Reader(data)
    cells = PARTS * part_cells
    sums = reader.array("<u8", cells).astype(np.uint64)
    checks = reader.array("<u4", cells).astype(np.uint32)
    reader.end()
    return Sketch(part_cells, sums, checks)


@dataclass(frozen=True, slots=True)
class Difference:
    """The fingerprints that only one side has, ascending, each once."""

    local_only: Fingerprints
    remote_only: Fingerprints


def difference(remote: Sketch, remote_digest: SetDigest, local: Fingerprints) -> Difference | None:
    """What differs between the set behind a sketch and its digest, and a local set in any order.

    None where the sketch does not tell: there are too many differences, or it is not the sketch of the set
    that the digest is of.  What is returned is right: the local set without `local_only` and with
    `remote_only` has the digest of the remote set, down to how often each fingerprint occurs.
    """
    found = (remote ^ Sketch.of(local, remote.part_cells)).peel()
    if found is None:
        return None
    dropped = local[_is_in(local, found)]
    local_only = np.unique(dropped)
    remote_only = found[~_is_in(found, local_only)]
    digest = SetDigest.of(local).minus(dropped).plus(remote_only)
    return Difference(local_only, remote_only) if digest == remote_digest else None


def difference_of_lists(remote: Fingerprints, local: Fingerprints) -> Difference:
    """What differs between two whole lists; exact.

    A fingerprint that two entries share stands in a list twice.  Where the lists disagree about how often,
    it is in both results, so that whoever drops all of it and adds all of it is right.
    """
    remote, remote_counts = np.unique(remote, return_counts=True)
    local, local_counts = np.unique(local, return_counts=True)
    in_local, in_remote = _is_in(remote, local), _is_in(local, remote)
    again = local[in_remote][remote_counts[in_local] != local_counts[in_remote]]
    return Difference(
        np.sort(np.concatenate([local[~in_remote], again])),
        np.sort(np.concatenate([remote[~in_local], again])),
    )


def _is_in(values: Fingerprints, ascending: Fingerprints) -> npt.NDArray[np.bool_]:
    """Which of the values are in an ascending array."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    places = np.searchsorted(ascending, values)
    places[places == len(ascending)] = 0
    there: npt.NDArray[np.bool_] = ascending[places] == values
    return there


def encode_list(fingerprints: Fingerprints) -> bytes:
    """An ascending list: count u64, then the differences between neighbours, a plane for each byte.

    The plane of the lowest bytes comes first.  The upper planes are nearly constant and compress to almost
    nothing, the lower ones are random.  Raises ValueError where the list does not ascend.
    """
    if np.any(fingerprints[1:] < fingerprints[:-1]):
        raise ValueError("the fingerprints do not ascend")
    steps = np.diff(fingerprints, prepend=np.uint64(0)).astype("<u8")
    planes = steps.view(np.uint8).reshape(-1, FINGERPRINT_SIZE_BYTES).T
    writer = Writer()
    writer.u64(len(fingerprints))
    writer.array(planes)
    return writer.bytes()


def decode_list(data: bytes | memoryview) -> Fingerprints:
    """The list that `encode_list` wrote.  Raises FormatError for anything else.

    It takes a few times the memory of `data`, whatever that says of its count.
    """
    reader = Reader(data)
    count = reader.u64()
    if count * FINGERPRINT_SIZE_BYTES != reader.left:
        raise FormatError(f"a list of {count} fingerprints in {reader.left} bytes")
    planes = reader.array("u1", reader.left).reshape(FINGERPRINT_SIZE_BYTES, count)
    steps = np.ascontiguousarray(planes.T).view("<u8").ravel().astype(np.uint64)
    fingerprints = np.cumsum(steps, dtype=np.uint64)
    if np.any(fingerprints[1:] < fingerprints[:-1]):
        raise FormatError("a list of fingerprints that does not ascend")
    return fingerprints
