"""One file as a stream: every byte in order, holes as zeros, nothing that is not what was stored."""

from __future__ import annotations

import hashlib
import io
import random
import stat
from pathlib import Path

import pytest

from bitbacker.engine.dump import dump
from bitbacker.errors import DamageError, PathUnknown
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ
from bitbacker.format.extras import EntryExtras, ExtentRef
from bitbacker.repo.open import Repository
from bitbacker.spi import NoConfig
from bitbacker.testing.faults import RecordingTransport
from bitbacker_plugins.memory import MemoryTransport
from restore_rig import CHUNK_BYTES, Planted, back_up, new_repository, plant


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "repository")


def dumped(repository: Repository, *entries: Planted, path: bytes = b"file") -> bytes:
    out = io.BytesIO()
    dump(repository, plant(repository, [(b"", entries)]), path, out)
    return out.getvalue()


@pytest.mark.parametrize(
    "chunks", [(), (b"one",), (b"1" * CHUNK_BYTES, b"2" * CHUNK_BYTES, b"3"), (b"same",) * 50]
)
def test_the_content_comes_in_order(repository: Repository, chunks: tuple[bytes, ...]) -> None:
    assert dumped(repository, Planted(b"file", chunks=chunks)) == b"".join(chunks)


def test_holes_are_zeros(repository: Repository) -> None:
    extents = (ExtentRef(5, 3), ExtentRef(2_500_000, 4))
    sparse = Planted(b"file", chunks=(b"abcd", b"efg"), size=5_000_000, extras=EntryExtras((), extents))
    expected = bytearray(5_000_000)
    expected[5:8], expected[2_500_000:2_500_004] = b"abc", b"defg"
    assert dumped(repository, sparse) == bytes(expected)


def test_a_file_that_is_all_hole_is_zeros(repository: Repository) -> None:
    assert dumped(repository, Planted(b"file", size=3_000_000, extras=EntryExtras((), ()))) == bytes(
        3_000_000
    )


def test_a_file_that_changed_while_it_was_read_is_what_was_read(repository: Repository) -> None:
    torn = Planted(b"file", chunks=(b"what was read",), size=5, mark=MARK_CHANGED_WHILE_READ)
    assert dumped(repository, torn) == b"what was read"


def test_a_real_file_of_many_segments_comes_back(tmp_path: Path, seed: int) -> None:
    transport = RecordingTransport(MemoryTransport(f"memory://dump-{seed}", NoConfig()))
    repository = new_repository(tmp_path / "repository", transport)
    rng = random.Random(seed)
    (tmp_path / "tree").mkdir()
    parts = [rng.randbytes(2_000_000) for _ in range(8)]
    (tmp_path / "tree/other").write_bytes(parts[3])
    (tmp_path / "tree/file").write_bytes(b"".join(parts) + parts[0])
    snapshot = back_up(repository, tmp_path / "tree")
    out = io.BytesIO()
    dump(repository, snapshot, bytes(tmp_path / "tree/file"), out)
    expected = hashlib.sha256((tmp_path / "tree/file").read_bytes()).hexdigest()
    assert hashlib.sha256(out.getvalue()).hexdigest() == expected


@pytest.mark.parametrize(
    "path", [b"", b"nowhere", b"directory", b"link", b"directory/nowhere", b"file/below"]
)
def test_what_is_no_file_is_refused(repository: Repository, path: bytes) -> None:
    entries = (
        Planted(b"directory", stat.S_IFDIR | 0o755),
        Planted(b"file", chunks=(b"file",)),
        Planted(b"link", stat.S_IFLNK | 0o777, link=b"file"),
    )
    with pytest.raises(PathUnknown):
        dumped(repository, *entries, path=path)
    assert dumped(repository, *entries) == b"file"


def test_nothing_behind_a_damaged_chunk_is_written(repository: Repository) -> None:
    file = Planted(b"file", chunks=(b"good", b"evil", b"more"), stored=(b"good", b"EVIL", b"more"))
    out = io.BytesIO()
    with pytest.raises(DamageError, match="/file is damaged"):
        dump(repository, plant(repository, [(b"", [file])]), b"/file", out)
    assert out.getvalue() == b"good"


def test_a_file_whose_chunks_are_not_its_own_length_is_refused(repository: Repository) -> None:
    with pytest.raises(DamageError, match="/file cannot be read"):
        dumped(repository, Planted(b"file", chunks=(b"12345",), size=7))


def test_a_missing_segment_is_damage(tmp_path: Path, seed: int) -> None:
    transport = MemoryTransport(f"memory://dump-missing-{seed}", NoConfig())
    repository = new_repository(tmp_path / "repository", transport)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(random.Random(seed).randbytes(20_000_000))
    snapshot = back_up(repository, tmp_path / "tree")
    live = repository.catalog(repository.newest()).live
    data_only = [
        name for name in live if {info.kind for info in repository.segments.fetch(name).contents} == {1}
    ]
    transport.delete([f"segments/{data_only[0].hex()}"])
    with pytest.raises(DamageError, match="is missing"):
        dump(repository, snapshot, bytes(tmp_path / "tree/file"), io.BytesIO())
