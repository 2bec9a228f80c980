"""The cache is disposable, and never believed when it is not what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.repo.cache import TableCache

BLOBS = [b"first", b"", b"third" * 1000]


@pytest.fixture
def cache(tmp_path: Path) -> TableCache:
    return TableCache(tmp_path / "tables")


def test_what_was_stored_comes_back(cache: TableCache) -> None:
    cache.store("one", BLOBS)
    loaded = cache.load("one")
    assert loaded is not None
    assert BLOBS == [bytes(blob) for blob in loaded]


def test_what_was_not_stored_is_absent(cache: TableCache) -> None:
    assert cache.load("one") is None


def test_every_flipped_byte_and_every_cut_is_noticed_and_the_file_removed(
    cache: TableCache, tmp_path: Path
) -> None:
    cache.store("one", [b"first", b"second"])
    path = tmp_path / "tables" / "one"
    good = path.read_bytes()
    bad = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    bad += [good[:size] for size in range(len(good))] + [good + b"\0"]
    for data in bad:
        path.write_bytes(data)
        assert cache.load("one") is None
        assert not path.exists()
    path.write_bytes(good)
    assert cache.load("one") is not None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = TableCache(tmp_path / "file" / "tables")
    cache.store("one", BLOBS)
    assert cache.load("one") is None


def test_a_cache_that_is_off_neither_reads_nor_writes(tmp_path: Path) -> None:
    TableCache(tmp_path / "tables").store("one", BLOBS)
    off = TableCache(tmp_path / "tables", enabled=False)
    off.store("two", BLOBS)
    assert off.load("one") is None
    assert ["one"] == [path.name for path in (tmp_path / "tables").iterdir()]


def test_only_what_is_wanted_is_kept(cache: TableCache, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        cache.store(name, BLOBS)
    cache.keep_only(["two"])
    assert ["two"] == [path.name for path in (tmp_path / "tables").iterdir()]


def test_cached_files_are_private_and_the_folder_is_a_cache_to_other_tools(
    cache: TableCache, tmp_path: Path
) -> None:
    cache.store("one", BLOBS)
    assert 0o600 == (tmp_path / "tables" / "one").stat().st_mode & 0o777
    assert (tmp_path / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
