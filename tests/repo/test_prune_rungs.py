"""Rungs, which hold the fingerprints of a table once more, live and move with it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bitbacker.format.block import BlockKind
from bitbacker.format.root import PageRef, TableRoot
from bitbacker.repo.check import check
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.rungs import LIST_MIN_ENTRIES
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from lab import Lab, back_up


@pytest.fixture
def lab(tmp_path: Path, rng: random.Random) -> Lab:
    """Four snapshots, of small files that stay, enough for rungs, and one that changes, in one segment."""
    lab = Lab(tmp_path / "lab")
    lab.begin()
    source = tmp_path / "source"
    source.mkdir()
    for number in range(LIST_MIN_ENTRIES):
        (source / f"stays{number}").write_text(str(number))
    for _ in range(4):
        (source / "changes").write_bytes(rng.randbytes(60_000))
        back_up(lab.client(), source)
    return lab


@pytest.mark.parametrize("options", [PruneOptions(strict=True), PruneOptions(live_part_min=1.0)])
def test_rungs_stay_and_move_with_their_table(lab: Lab, options: PruneOptions) -> None:
    client = lab.client()
    forget(client, [client.catalog(client.newest()).snapshots[0].identity])
    plan = plan_prune(client, options)
    with_rungs = [table for table in plan.tables if table.root.rungs]
    assert with_rungs, "a first backup stores its rungs"
    for table in with_rungs:
        assert {rung.block.segment for rung in table.root.rungs} <= table.segments & plan.victims
    raw = [_rungs(client, table.root) for table in with_rungs]
    execute_prune(client, plan, options)
    reader = lab.client("reader")
    moved = [table.root for table in plan_prune(reader, PruneOptions()).tables if table.root.rungs]
    assert raw == [_rungs(reader, root) for root in moved]
    assert not {rung.block.segment for root in moved for rung in root.rungs} & plan.victims
    assert () == check(reader, read_data=True).problems


def _rungs(client: Repository, root: TableRoot) -> list[bytes]:
    return [_raw(client, rung) for rung in root.rungs]


def _raw(client: Repository, rung: PageRef) -> bytes:
    return bytes(client.segments.block(rung.block, BlockKind.FINGERPRINTS))
