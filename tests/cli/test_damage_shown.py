"""What a damaged, strange or full storage looks like to a user: one line, its own exit code, no traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitbacker.crypto import slots
from bitbacker.crypto.slots import Unlocker
from bitbacker.format import keyslots
from cli.command import PASSWORD, Done, Home


def keyslots_of(home: Home) -> Path:
    return home.repository / "keyslots"


def head_of(home: Home) -> Path:
    """The newest head: they count down."""
    return min((home.repository / "heads").iterdir())


def segments_of(home: Home) -> list[Path]:
    """Smallest first."""
    return sorted((home.repository / "segments").iterdir(), key=lambda path: path.stat().st_size)


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink], ids=["flipped bit", "truncated", "missing"])
@pytest.mark.parametrize("find", [keyslots_of, head_of], ids=["keyslots", "head"])
def test_damage_of_what_every_command_reads(
    backed_up: Home, find: Callable[[Home], Path], harm: Callable[[Path], None]
) -> None:
    harm(find(backed_up))
    done = backed_up.inside("snapshots", "--no-cache")
    assert done.error
    assert done.code == (10 if (find, harm) == (keyslots_of, Path.unlink) else 13)


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink], ids=["flipped bit", "truncated", "missing"])
def test_damage_of_a_segment_is_named_by_check_and_stops_no_more_than_it_must(
    backed_up: Home, harm: Callable[[Path], None]
) -> None:
    backed_up.inside("backup", "-q", "data/letters", "--host", "box")
    victim = segments_of(backed_up)[-1]
    harm(victim)
    check = backed_up("check", "--read-data", "--no-cache")
    assert check.code == 13
    assert f"segments/{victim.name}" in check.out + check.err
    assert "Traceback" not in check.err
    dump = backed_up("restore", "latest", "--target", "out", "--no-cache")
    assert dump.code in (0, 13)
    assert "Traceback" not in dump.err


def test_a_file_in_a_damaged_segment_is_named_and_all_others_are_restored(home: Home) -> None:
    (home.data / "noise").write_bytes(os.urandom(9_000_000))
    assert home.inside("init", "-q").code == 0
    assert home.inside("backup", "-q", "data").code == 0
    whole = []
    # Chance decides with which part of the large file a small one shares a segment.
    for number, segment in enumerate(segments_of(home)[-2:]):
        flip(segment)
        done = home("restore", "latest", "--target", f"out{number}")
        assert done.code == 13
        assert "noise" in done.err
        assert done.error
        restored = home.top / f"out{number}" / str(home.data).strip("/")
        whole += [restored / "letters" / "a.txt"] * ("a.txt" not in done.err)
        flip(segment)
    assert whole
    assert {"first\n"} == {path.read_text() for path in whole}


def test_a_repository_of_another_version(backed_up: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keyslots, "FORMAT_VERSION", 99)
        remade = _keyslots_again(keyslots_of(backed_up).read_bytes())
    keyslots_of(backed_up).write_bytes(remade)
    done = backed_up("snapshots")
    assert done.code == 14
    assert "version 99" in done.error


def _keyslots_again(data: bytes) -> bytes:
    """The same keyslots object, its first slot written anew by whatever version there is now."""
    from bitbacker.repo.slots import open_keyslots

    unlocker = Unlocker(PASSWORD)
    opened = _opened_as_it_was(data, unlocker, open_keyslots)
    size = slots.content_size_bytes(keyslots.PART_SIZE_BYTES)
    sealed = slots.seal_slot(unlocker, keyslots.encode_slot(opened.content, size), 0)
    parts = keyslots.Parts((sealed, *opened.parts.slots[1:]), opened.parts.directory)
    return slots.with_checksum(keyslots.join(parts))


def _opened_as_it_was(data: bytes, unlocker: Unlocker, opening: Callable[[bytes, Unlocker], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyslots, "FORMAT_VERSION", 1)
        return opening(data, unlocker)


def test_an_older_storage_is_not_believed(backed_up: Home, tmp_path: Path) -> None:
    older = shutil.copytree(backed_up.repository, tmp_path / "older")
    assert backed_up.inside("backup", "-q", "data", "--host", "box").code == 0
    shutil.rmtree(backed_up.repository)
    shutil.copytree(older, backed_up.repository)
    done = backed_up("snapshots")
    assert done.code == 13
    assert "head" in done.error


def test_a_plugin_that_the_repository_needs_and_nobody_has_installed(backed_up: Home) -> None:
    """The repository was made with a chunker from a single file, which is gone."""
    (backed_up.top / "mine.py").write_text(CHUNKER)
    (backed_up.top / "own.toml").write_text('plugins = ["mine.py"]\n[repository]\nchunker = "mine"\n')
    place = str(backed_up.top / "other")
    assert backed_up("--config", "own.toml", "-r", place, "init", "-q").code == 0
    done = backed_up("-r", place, "backup", "data")
    assert done.code == 15
    assert "'mine'" in done.error


CHUNKER = """
from dataclasses import dataclass
from bitbacker.spi import NoConfig, hookimpl

class Mine:
    api_version = 1
    Config = NoConfig
    min_size_bytes = 1 << 16
    max_size_bytes = 1 << 20

    def __init__(self, config, key):
        pass

    def cut(self, data, *, final):
        ends = list(range(1 << 20, len(data) + 1, 1 << 20))
        return [*ends, len(data)] if final and len(data) % (1 << 20) else ends

@hookimpl
def bitbacker_chunker(name):
    return Mine if name == "mine" else None
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    """A file system of 6 MiB, for root only."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=6m tmpfs {place}") != 0:
        pytest.skip("this machine lets root mount no tmpfs")
    yield place
    os.system(f"umount {place}")


def test_a_full_disk(home: Home, small_disk: Path) -> None:
    place = str(small_disk / "repository")
    assert home.inside("-r", place, "init", "-q").code == 0
    assert home.inside("-r", place, "backup", "-q", "data").code == 0
    (home.data / "noise").write_bytes(os.urandom(9_000_000))
    done = home("-r", place, "backup", "data")
    assert done.code == 18
    assert done.error
    assert _snapshots(home.inside("-r", place, "snapshots", "--json")) == 1
    (home.data / "noise").unlink()
    assert home.inside("-r", place, "check", "--read-data").code == 0


def _snapshots(done: Done) -> int:
    return done.out.count('"message_type": "snapshot"')
