"""The ladder of a cold diff: which rung tells, what it fetches, and what it says."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from bitbacker.engine import ladder
from bitbacker.format.head import SourceTip
from bitbacker.format.root import RUNG_LIST, RUNG_SKETCH
from bitbacker.format.sketch import Difference, Fingerprints
from bitbacker.repo import rungs, tips
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.tables import TableReader
from lab import Lab, back_up, contents, tree


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    return lab


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(200):
        (root / f"{number}").write_bytes(b"%d" % number)
    # A file that was written a moment ago is read again by the next backup.
    time.sleep(0.1)
    return root


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Small tables have rungs; which kinds of them are read."""
    kinds: list[bytes] = []
    original = TableReader.rungs

    def noted(reader: TableReader, table: object, kind: bytes) -> object:
        kinds.append(kind)
        return original(reader, table, kind)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(TableReader, "rungs", noted)
    monkeypatch.setattr(rungs, "LIST_MIN_ENTRIES", 100)
    monkeypatch.setattr(rungs, "SKETCH_MIN_ENTRIES", 100)
    return kinds


def tip(client: Repository) -> SourceTip:
    """That of the last session."""
    return client.newest().tips[0]


def fingerprints(client: Repository) -> Fingerprints:
    """Those of the last snapshot, from its tables."""
    (table,) = tip(client).tables
    return np.concatenate([page.fingerprints for page in client.tables.entry_table(table)])


def sorted_out(found: Difference) -> tuple[list[int], list[int]]:
    return sorted(found.local_only.tolist()), sorted(found.remote_only.tolist())


def with_changes(known: Fingerprints, count: int) -> tuple[Fingerprints, tuple[list[int], list[int]]]:
    """A local set that lacks `count` of the known ones and has as many others."""
    other = known[count:] + np.uint64(0)
    fresh = known[:count] ^ np.uint64(0x5555555555555555)
    return np.concatenate([fresh, other]), (sorted(fresh.tolist()), sorted(known[:count].tolist()))


def test_a_sketch_that_is_too_small_is_followed_by_the_large_one(
    lab: Lab, root: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part_cells, expected in ((1664, []), (26, [RUNG_SKETCH])):
        monkeypatch.setattr(tips, "PART_CELLS", part_cells)
        back_up(lab.client(), root, source=f"{part_cells}")
        client = lab.client("cold")
        local, difference = with_changes(fingerprints(lab.client()), 150)
        assert difference == sorted_out(ladder.climb(client, tip(client), local, strict=False))
        assert expected == read


def test_a_strict_climb_reads_the_list_and_nothing_else(lab: Lab, root: Path, read: list[bytes]) -> None:
    back_up(lab.client(), root)
    for count in (0, 150):
        local, difference = with_changes(fingerprints(lab.client()), count)
        client = lab.client(f"cold {count}")
        assert difference == sorted_out(ladder.climb(client, tip(client), local, strict=True))
    assert [RUNG_LIST, RUNG_LIST] == read


def test_a_table_without_rungs_is_read_itself(
    lab: Lab, root: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rungs, "LIST_MIN_ENTRIES", 10**6)
    monkeypatch.setattr(rungs, "SKETCH_MIN_ENTRIES", 10**6)
    back_up(lab.client(), root)
    local, difference = with_changes(fingerprints(lab.client()), 3)
    client = lab.client("cold")
    assert difference == sorted_out(ladder.climb(client, tip(client), local, strict=True))
    assert [] == read


def test_a_sketch_of_another_set_is_not_believed(lab: Lab, root: Path) -> None:
    back_up(lab.client(), root)
    client = lab.client("cold")
    good = tip(client)
    known = fingerprints(lab.client())
    forged = tips.FingerprintSet.empty().changed(known[5:], np.empty(0, np.uint64))
    bad = SourceTip(good.source, good.snapshot, good.tables, good.digest, 1664, forged.sketch.encode())
    assert ([], []) == sorted_out(ladder.climb(client, bad, known, strict=False))
    # The control: with the digest of the other set, the sketch is believed and says something else.
    digest = tips.make_tip(good.source, back_up(lab.client(), root).snapshot, forged).digest
    believed = SourceTip(good.source, good.snapshot, good.tables, digest, 1664, forged.sketch.encode())
    assert sorted(known[:5].tolist()) == sorted_out(ladder.climb(client, believed, known, strict=False))[0]


def test_after_the_last_snapshot_was_forgotten_the_one_before_is_gone_on_from(lab: Lab, root: Path) -> None:
    back_up(lab.client(), root)
    (root / "new").write_bytes(b"new")
    second = back_up(lab.client(), root)
    forget(lab.client(), [second.snapshot.identity])
    assert 0 == tip(lab.client()).part_cells
    (root / "newer").write_bytes(b"newer")
    third = back_up(lab.client("cold"), root)
    assert third.snapshot.stats.files_changed < 50
    client = lab.client("reader")
    assert tree(root) == contents(client, third.snapshot)
    assert 1664 == tip(client).part_cells


def test_many_sources_share_the_room_and_each_is_diffed_by_its_sketch(
    lab: Lab, root: Path, read: list[bytes]
) -> None:
    for number in range(5):
        back_up(lab.client(), root, source=f"source {number}")
    head = lab.client().newest()
    assert [208] * 5 == [one.part_cells for one in head.tips]
    for number in range(5):
        result = back_up(lab.client(f"cold {number}"), root, source=f"source {number}")
        assert result.snapshot.parent is not None
    assert [] == read


def test_sources_that_a_head_has_no_room_for_go_on_from_the_catalog(lab: Lab, root: Path) -> None:
    sources = [f"source {number}" for number in range(70)]
    for source in sources:
        back_up(lab.client(), root / "1", source=source)
    head = lab.client().newest()
    assert not head.tips_complete
    assert len(head.tips) < len(sources)
    result = back_up(lab.client("cold"), root / "1", source=sources[0])
    assert result.snapshot.parent is not None
    assert 0 == result.snapshot.stats.files_changed
