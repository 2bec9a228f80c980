"""Digests, sketches and lists of fingerprints in plain Python, from section 9.1 of the document alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable

MASK = 2**64 - 1
HEAD_PART_CELLS = 1_664
RUNG_PART_CELLS = 29_120


def numbers(fingerprints: Iterable[bytes]) -> list[int]:
    """Fingerprints as section 6.3 reads them."""
    return [int.from_bytes(fingerprint, "little") for fingerprint in fingerprints]


def mix(number: int) -> int:
    """What checks and digests are made of."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & MASK
    return number ^ number >> 31


def check(number: int) -> int:
    return mix(number) >> 32


def digest(found: list[int]) -> bytes:
    """24 bytes that stand for a set."""
    return struct.pack("<3Q", len(found), sum(found) & MASK, sum(map(mix, found)) & MASK)


def cells(number: int, part_cells: int) -> list[int]:
    """Where a fingerprint goes, one cell in each part."""
    slices = [number >> 21 * part & 0x1FFFFF for part in range(3)]
    return [part * part_cells + (piece * part_cells >> 21) for part, piece in enumerate(slices)]


def sketch(found: list[int], part_cells: int) -> bytes:
    """All sums, then all checks."""
    sums, checks = [0] * (3 * part_cells), [0] * (3 * part_cells)
    for number in found:
        for cell in cells(number, part_cells):
            sums[cell] ^= number
            checks[cell] ^= check(number)
    return struct.pack(f"<{len(sums)}Q{len(checks)}I", *sums, *checks)


def fingerprint_list(found: list[int]) -> bytes:
    """The count, then the steps of the ascending list, a plane for each byte."""
    last, steps = 0, b""
    for number in sorted(found):
        steps, last = steps + (number - last).to_bytes(8, "little"), number
    return struct.pack("<Q", len(found)) + b"".join(steps[plane::8] for plane in range(8))


def cells_of_each(tips: int) -> int:
    """How many cells a part of each sketch has when so many tips share the room of a head."""
    return HEAD_PART_CELLS >> (tips - 1).bit_length() if tips else 0
