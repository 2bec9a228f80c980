"""What was fetched for tables is not fetched for tables again, and ends with the process."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from bitbacker.errors import FormatError
from bitbacker.format import names
from bitbacker.format.block import BlockKind, BlockRef
from bitbacker.repo.check import check
from bitbacker.repo.open import Repository
from bitbacker.repo.settings import LocalPaths
from bitbacker.repo.spool import SpoolFull, TemporaryStore
from bitbacker.repo.storage import Storage
from bitbacker.testing.faults import RecordingTransport
from lab import Lab, Maker, back_up

MIB = 1024 * 1024


@pytest.fixture
def lab(tmp_path: Path, rng: random.Random) -> Lab:
    """Twelve sessions, whose tables lie in as many segments."""
    lab = Lab(tmp_path / "lab")
    lab.begin()
    source = tmp_path / "source"
    source.mkdir()
    for number in range(12):
        (source / f"file{number}").write_bytes(rng.randbytes(1000))
        back_up(lab.client(), source)
    return lab


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_check_fetches_no_segment_twice(lab: Lab, tmp_path: Path, *, use_cache: bool) -> None:
    recording = RecordingTransport(lab.transport)
    paths = LocalPaths(tmp_path / "cold" / "cache", tmp_path / "cold" / "state")
    client = Repository(Storage(recording), lab.content, Maker(), paths, use_cache=use_cache)
    assert () == check(client, read_data=False).problems
    gets = Counter(operation.name for operation in recording.log if operation.kind == "get")
    segments = {name: count for name, count in gets.items() if name.startswith(names.SEGMENTS)}
    assert len(segments) >= 12
    assert {1} == set(segments.values())


def test_blocks_of_data_belong_to_no_table(lab: Lab) -> None:
    client = lab.client("cold")
    for info in lab.transport.list(names.SEGMENTS):
        identity = names.segment_identity(info.name)
        for number, block in enumerate(client.segments.fetch(identity).contents):
            if block.kind is BlockKind.DATA:
                with pytest.raises(FormatError):
                    client.segments.block(BlockRef(identity, number, block.raw_bytes), BlockKind.DATA)


def test_what_is_kept_is_read_back_from_memory_and_file(tmp_path: Path, rng: random.Random) -> None:
    store = TemporaryStore(tmp_path / "spool")
    parts = [rng.randbytes(3 * MIB + number) for number in range(5)]
    places = [store.append(part) for part in parts]
    for part, at in zip(parts, places, strict=True):
        assert part == store.read(at, len(part))


def test_no_file_is_to_be_seen_and_the_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    store = TemporaryStore(folder)
    store.append(bytes(20 * MIB))
    assert [] == list(folder.iterdir())
    assert 0o700 == folder.stat().st_mode & 0o777


def test_a_disk_that_is_full_is_an_error_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TemporaryStore(tmp_path / "spool")
    store.append(bytes(20 * MIB))

    class Full:
        def seek(self, _: int) -> None:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(store, "_file", Full())
    with pytest.raises(SpoolFull, match="No space left"):
        store.append(b"more")
