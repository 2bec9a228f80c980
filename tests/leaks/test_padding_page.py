"""The numbers of docs/padding.md are those of the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.format.names import HEAD_SIZE_BYTES
from bitbacker.repo.volume import FLOOR_BYTES, Padding

PAGE = Path(__file__).parents[2] / "docs" / "padding.md"
KIB = 1024
MIB = KIB * KIB
GIB = KIB * MIB
UNITS = {"GiB": GIB, "MiB": MIB, "KiB": KIB}
RANGES_HEAD = "| T from | to | buckets | most overhead, bytes | most overhead, of T |"
SIZES_HEAD = "| T | V | more | of T |"
SESSIONS_OF_A_MONTH = 30 * 24

bucket = Padding().bucket


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table with this head."""
    lines = text.partition(head + "\n")[2].splitlines()[1:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


def size_bytes(cell: str) -> int:
    number, _, unit = cell.partition(" ")
    return int(number.replace(",", "")) * UNITS.get(unit, 1)


def range_row(row: list[str]) -> list[str]:
    """The same row, computed: every bucket of the range, at the smallest T that falls into it."""
    needed, last = size_bytes(row[0]) + 1, size_bytes(row[1])
    first, more, part = needed, [], []
    while needed <= last:
        volume = bucket(needed)
        more.append(volume - needed)
        part.append((volume - needed) / needed)
        needed = volume + 1
    most = "all but a byte of V" if first == 1 else f"{max(part):.1%}"
    return [*row[:2], f"{len(more)}", f"{max(more):,}", most]


def size_row(row: list[str]) -> list[str]:
    needed = size_bytes(row[0])
    volume = bucket(needed)
    more = volume - needed
    return [f"{needed:,}", f"{volume:,}", f"{more:,}", f"{more / needed:.1%}"]


def test_the_table_of_ranges_is_what_the_program_computes() -> None:
    rows = table(PAGE.read_text(), RANGES_HEAD)
    assert [row[0] for row in rows[1:]] == [row[1] for row in rows[:-1]], "a range is left out"
    assert [range_row(row) for row in rows] == rows


def test_the_table_of_sizes_is_what_the_program_computes() -> None:
    rows = table(PAGE.read_text(), SIZES_HEAD)
    assert rows != []
    assert [size_row(row) for row in rows] == rows


@pytest.mark.parametrize(("head", "computed"), [(RANGES_HEAD, range_row), (SIZES_HEAD, size_row)])
def test_a_wrong_number_in_a_table_is_found(head: str, computed: object) -> None:
    assert callable(computed)
    row = table(PAGE.read_text(), head)[2]
    row[2] = row[2] + "1"
    assert computed(row) != row


def test_what_the_page_says_of_a_session_without_changes() -> None:
    session = FLOOR_BYTES + HEAD_SIZE_BYTES
    assert bucket(0) == bucket(FLOOR_BYTES) == FLOOR_BYTES < bucket(FLOOR_BYTES + 1)
    text = PAGE.read_text()
    assert f"{session // KIB} KiB with the floor as it is" in text
    assert f"that is {session * SESSIONS_OF_A_MONTH // MIB} MiB" in text
    high = Padding(floor_bytes=16 * MIB)
    assert f"costs {(high.bucket(0) + HEAD_SIZE_BYTES) * SESSIONS_OF_A_MONTH // GIB} GiB in 30 days" in text
    assert f"at most {range_row(['8 MiB', '1,024 GiB'])[4][:-1]} % of a session above" in text


def test_the_page_on_none() -> None:
    none = Padding("none", FLOOR_BYTES)
    assert [256 * KIB, 256 * KIB, 512 * KIB] == [none.bucket(size) for size in (0, 1, 256 * KIB + 1)]
    below = range(0, 8 * MIB + 1, 4 * KIB)
    assert [bucket(size) for size in below] == [none.bucket(size) for size in below]
    assert 16 * MIB == bucket(GIB - 1 - 16 * MIB + 2) - bucket(GIB - 1 - 16 * MIB), "steps below 1 GiB"
