"""What a transport promises that keeps objects as files below a directory, its own or a server's.

class TestDirectories(DirectoryScenarios):
    @pytest.fixture
    def open_at(self) -> OpenAt:
        return lambda path: LocalTransport(path.as_uri(), NoConfig())
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from bitbacker.errors import ObjectMissing, StorageDenied, StorageError, StorageFull
from bitbacker.spi import ObjectInfo, Transport
from bitbacker.testing.transport import MIB, head, payload, segment

OpenAt = Callable[[Path], Transport]


def mounted(path: Path, *arguments: str) -> Iterator[Path]:
    """Mount something on `path` while the test runs; a test that cannot mount is skipped with the reason."""
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount {' '.join(arguments)}: {done.stderr.strip()}")
    try:
        yield path
    finally:
        # A server may still be at work there for a moment.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


class DirectoryScenarios:
    """Which files count, and what the disk below them brings."""

    knows_the_directory: ClassVar[bool] = True
    """Whether another directory in the place of the repository is told from it."""

    @pytest.fixture
    def open_at(self) -> OpenAt:
        """To be overridden: opens a transport to a directory."""
        raise NotImplementedError

    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 6 MiB."""
        yield from mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=6m", "tmpfs")

    @pytest.fixture
    def few_inodes(self, tmp_path: Path) -> Iterator[Path]:
        """A file system that has room for bytes, but not for files."""
        yield from mounted(tmp_path / "few", "-t", "tmpfs", "-o", "size=6m,nr_inodes=8", "tmpfs")

    def test_missing_directories_above_are_made(self, open_at: OpenAt, tmp_path: Path) -> None:
        open_at(tmp_path / "a" / "b" / "c").put("keyslots", b"x")
        assert (tmp_path / "a" / "b" / "c" / "keyslots").read_bytes() == b"x"

    def test_strange_paths_work(self, open_at: OpenAt, tmp_path: Path) -> None:
        path = tmp_path / "what? a #1 50% \u00e4 \udce4"
        open_at(path).put("keyslots", b"x")
        assert (path / "keyslots").read_bytes() == b"x"

    def test_the_way_to_the_repository_may_hold_symlinks(self, open_at: OpenAt, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "name").symlink_to(tmp_path / "real")
        open_at(tmp_path / "name").put(segment(1), b"x")
        assert (tmp_path / "real" / segment(1)).read_bytes() == b"x"

    def test_strays_are_not_listed(self, open_at: OpenAt, tmp_path: Path) -> None:
        transport = open_at(tmp_path)
        transport.put(segment(1), b"x")
        (tmp_path / "lost+found").mkdir()
        (tmp_path / "notes.txt").write_text("a stray")
        (tmp_path / ".hidden").write_text("a stray")
        (tmp_path / "segments" / "README").write_text("a stray")
        (tmp_path / "segments" / ("0" * 31)).write_text("a stray")
        (tmp_path / "segments" / ("2" * 32)).mkdir()
        (tmp_path / "segments" / "below").mkdir()
        (tmp_path / "segments" / "below" / ("3" * 32)).write_text("a stray")
        (tmp_path / ".tmp" / ("4" * 32)).write_text("a stray")
        (tmp_path / "segments" / os.fsdecode(b"\xff")).write_text("a stray")
        assert list(transport.list("segments/")) == [ObjectInfo(segment(1), 1)]
        assert list(transport.list("")) == [ObjectInfo(segment(1), 1)]

    def test_a_repository_that_vanished_is_not_an_empty_one(self, open_at: OpenAt, tmp_path: Path) -> None:
        """As when a disk falls off: the mount point is there, and empty, or it is gone."""
        repository, fallen_off = tmp_path / "repository", tmp_path / "fallen off"
        transport = open_at(repository)
        transport.put("keyslots", b"x")
        repository.rename(fallen_off)
        assert_vanished(transport)
        assert not repository.exists()
        if self.knows_the_directory:
            repository.mkdir()
            assert_vanished(transport)
            repository.rmdir()
        fallen_off.rename(repository)
        assert transport.get("keyslots") == b"x"

    def test_a_disk_that_is_unmounted_is_told(self, open_at: OpenAt, tmp_path: Path) -> None:
        for mount in mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs"):
            transport = open_at(mount)
            transport.put("keyslots", b"x")
        assert_vanished(transport)
        assert list((tmp_path / "disk").iterdir()) == []

    def test_a_full_disk_is_told_and_leaves_nothing(self, open_at: OpenAt, small: Path) -> None:
        transport = open_at(small / "repository")
        data = payload(4 * MIB)
        transport.put(segment(1), data)
        for number in (2, 3):
            with pytest.raises(StorageFull):
                transport.put(segment(number), data)
        with pytest.raises(StorageFull):
            transport.put(segment(1), data, replace=True)
        assert list(transport.list("")) == [ObjectInfo(segment(1), len(data))]
        assert transport.get(segment(1)) == data
        assert list((small / "repository" / ".tmp").iterdir()) == []
        transport.put(segment(4), data[: MIB // 4])
        transport.delete([segment(1)])
        transport.put(segment(5), data)
        assert transport.get(segment(5)) == data

    def test_a_disk_without_room_for_files_is_full(self, open_at: OpenAt, few_inodes: Path) -> None:
        transport = open_at(few_inodes / "repository")
        stored = []

        def fill() -> None:
            for number in range(20):
                transport.put(segment(number), b"x")
                stored.append(segment(number))

        with pytest.raises(StorageFull):
            fill()
        assert stored
        assert [row.name for row in transport.list("")] == stored

    def test_a_read_only_disk_denies(self, open_at: OpenAt, small: Path) -> None:
        open_at(small).put("keyslots", b"x")
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        transport = open_at(small)
        assert transport.get("keyslots") == b"x"
        for call in (
            lambda: transport.put(head(1), b"x"),
            lambda: transport.put("keyslots", b"y", replace=True),
            lambda: transport.delete(["keyslots"]),
        ):
            with pytest.raises(StorageDenied):
                call()
        assert [row.name for row in transport.list("")] == ["keyslots"]


def assert_vanished(transport: Transport) -> None:
    """Every call says that the directory is gone, and none that it is empty."""
    for call in (
        lambda: transport.put(head(1), b"x"),
        lambda: transport.put("keyslots", b"y", replace=True),
        lambda: transport.get("keyslots"),
        lambda: list(transport.list("")),
        lambda: transport.delete(["keyslots"]),
    ):
        with pytest.raises(StorageError, match="not there any more") as caught:
            call()
        assert not isinstance(caught.value, ObjectMissing)
