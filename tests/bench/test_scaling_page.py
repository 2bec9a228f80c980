"""The numbers of docs/scaling.md are those of the program, and its policies are JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from bitbacker.format.block import BlockRef
from bitbacker.format.head import ANCESTORS_MAX, Head, SourceTip, decode_head, encode_head
from bitbacker.format.names import HEAD_SIZE_BYTES, LARGE_SEGMENT_SIZE_BYTES, SMALL_SEGMENT_SIZE_BYTES
from bitbacker.format.root import TableRef
from bitbacker.repo.compact import TABLES_MAX
from bitbacker.repo.storage import ATTEMPTS_MAX
from bitbacker.repo.volume import FLOOR_BYTES, Padding, volume_of

TOP = Path(__file__).parents[2]
TEXT = (TOP / "docs" / "scaling.md").read_text()
KIB, MIB = 1024, 1024 * 1024
TERABYTE = 10**12
NAMES_ON_A_PAGE = 1000
CONNECTIONS = 16
WRITING, READING = Fraction(5, 1000), Fraction(4, 10_000)
DAYS = 30
SEGMENTS_HEAD = (
    "| size of segments | puts, or gets | pages of a listing | first backup | full restore | 16 in memory |"
)
SESSIONS_HEAD = "| machines | sessions a day | writing or listing | reading | price | stored |"
REQUESTS_HEAD = "| request | counts as | why |"


def table(head: str) -> list[list[str]]:
    """The cells of the table with this head."""
    lines = TEXT.partition(head + "\n")[2].splitlines()[1:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def segments_row(row: list[str]) -> list[str]:
    count, unit = row[0].split()
    size_bytes = int(count) * {"KiB": KIB, "MiB": MIB}[unit]
    objects = -(-TERABYTE // size_bytes)
    put, got = (float(objects * price / 1000) for price in (WRITING, READING))
    pages = -(-objects // NAMES_ON_A_PAGE)
    memory = f"{CONNECTIONS * size_bytes // MIB:,} MiB"
    return [row[0], f"{objects:,}", f"{pages:,}", f"${put:.2f}", f"${got:.2f}", memory]


def sessions_row(row: list[str]) -> list[str]:
    sessions = number(row[0]) * number(row[1]) * DAYS
    kinds = [kind for _, kind, _ in table(REQUESTS_HEAD)]
    writing, reading = (sessions * kinds.count(kind) for kind in ("writing", "reading"))
    price = float((writing * WRITING + reading * READING) / 1000)
    stored = sessions * (FLOOR_BYTES + HEAD_SIZE_BYTES) // MIB
    return [*row[:2], f"{writing:,}", f"{reading:,}", f"${price:.2f}", f"{stored:,} MiB"]


@pytest.mark.parametrize(("head", "computed"), [(SEGMENTS_HEAD, segments_row), (SESSIONS_HEAD, sessions_row)])
def test_a_table_is_what_is_computed(head: str, computed: Callable[[list[str]], list[str]]) -> None:
    rows = table(head)
    assert len(rows) >= 4
    assert [computed(row) for row in rows] == rows


@pytest.mark.parametrize(("head", "computed"), [(SEGMENTS_HEAD, segments_row), (SESSIONS_HEAD, sessions_row)])
def test_a_wrong_number_in_a_table_is_found(head: str, computed: Callable[[list[str]], list[str]]) -> None:
    row = table(head)[1]
    row[2] += "1"
    assert computed(row) != row


def test_what_the_page_says_of_volumes() -> None:
    assert (LARGE_SEGMENT_SIZE_BYTES, SMALL_SEGMENT_SIZE_BYTES) == (4 * MIB, 256 * KIB)
    volume = volume_of(Padding().bucket(TERABYTE))
    puts = volume.large + volume.small
    assert f"Padding makes that {puts:,} puts for a session that needs a terabyte, 0.5 % more." in TEXT
    assert "0.5" == f"{(volume.size_bytes / TERABYTE - 1) * 100:.1f}"
    assert 15 == LARGE_SEGMENT_SIZE_BYTES // SMALL_SEGMENT_SIZE_BYTES - 1
    assert 6 == ATTEMPTS_MAX


def test_a_session_makes_the_requests_of_the_page(tmp_path: Path) -> None:
    """As this machine counts them itself."""
    program = [sys.executable, "-m", "bitbacker", "-q", "-r", str(tmp_path / "repository")]
    homes = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "STATE", "CONFIG")}
    environment = {"BITBACKER_PASSWORD": "a password", "HOME": str(tmp_path), **homes}
    (tmp_path / "source").mkdir()
    for words in (["init"], ["backup", str(tmp_path / "source")], ["backup", str(tmp_path / "source")]):
        subprocess.run([*program, *words], cwd=TOP, env=environment, check=True)
    (trace,) = (tmp_path / "STATE").glob("bitbacker/*/trace.jsonl")
    asked = json.loads(trace.read_text().splitlines()[-1])["requests"]
    made = {(one["operation"], one["area"]): one["count"] for one in asked}
    assert {
        ("get", "keyslots"): 1,
        ("get", "heads"): 1,
        ("list", "heads"): 3,
        ("put", "heads"): 1,
        ("put", "segments"): 1,
    } == made
    listed = [row[0].split()[0] for row in table(REQUESTS_HEAD)]
    assert ["get", "list", "get", "put", "list", "put", "list"] == listed


def test_what_the_page_says_of_room_in_the_head() -> None:
    after, before = tips_with_room(tables=1, deltas=0), tips_with_room(TABLES_MAX + 1, deltas=TABLES_MAX)
    assert f"tips of {after} sources right after a prune" in TEXT
    assert f"and of {before} just before a merge" in TEXT


def tips_with_room(tables: int, deltas: int) -> int:
    """How many sources have a tip in a head with so many catalog and index tables and deltas in all."""
    table_ref = TableRef(BlockRef(bytes(16), 0, 0), 1)
    tips = [
        SourceTip(bytes(16), bytes(16), (table_ref, *[table_ref] * (deltas if index == 0 else 0)))
        for index in range(100)
    ]
    listed = (table_ref,) * tables
    ancestors = (bytes(16),) * ANCESTORS_MAX
    head = Head(99, bytes(32), 0, bytes(16), 0, 0, 0, listed, listed, tuple(tips), ancestors)
    sealed_bytes = HEAD_SIZE_BYTES - 80
    return len(decode_head(encode_head(head, sealed_bytes)).tips)


def test_policies_are_json_and_name_what_they_allow() -> None:
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
    assert [2, 2, 2, 1] == [len(block.get("Statement") or block["Rules"]) for block in blocks]
    deny, machine, pruner = (block["Statement"] for block in blocks[:3])
    assert {"Deny"} == {statement["Effect"] for statement in deny}
    assert {"s3:if-none-match": "true"} == deny[0]["Condition"]["Null"]
    granted = {action for statement in machine for action in [*listed_actions(statement["Action"])]}
    assert {"s3:GetObject", "s3:PutObject", "s3:ListBucket"} == granted
    assert "s3:DeleteObject" in pruner[0]["Action"]


def listed_actions(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_a_race_of_commits_ends_in_a_row_of_the_table() -> None:
    script = TOP / "contrib" / "bench" / "commit_race.py"
    command = [sys.executable, str(script), "--clients", "3", "--answer-s", "0.001"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cells = [cell.strip() for cell in done.stdout.strip().strip("|").split("|")]
    assert ["3", "one instant", "0"] == cells[:3]
    assert 4 <= int(cells[3]) <= 40, "a listing, a put and a listing at least, and a get in between"
