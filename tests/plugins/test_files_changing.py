"""The source `files` while somebody else changes what is read: reported or read again, never mixed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bitbacker.errors import SourceUnreadable
from bitbacker.spi import ROW, TOO_LARGE, Listing, Located, SmallRead
from bitbacker.testing.source import Row, path_in, read_all
from bitbacker_plugins.files import FilesConfig, FilesSource
from bitbacker_plugins.files import read as read_module
from bitbacker_plugins.files.walk import OPEN_DIRECTORIES_MAX

LIMIT = 128 * 1024
OLD, NEW = b"A" * 10_000, b"B" * 10_000
Problems = list[tuple[bytes, str]]
Act = Callable[[Path], object]
Listed = tuple[FilesSource, Listing]


def source_of(path: Path, **options: Any) -> FilesSource:
    return FilesSource(FilesConfig(paths=(Located(str(path)),), **options))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written long enough ago for its stamps to be trusted."""
    file = tmp_path / "file"
    file.write_bytes(OLD)
    time.sleep(2 * read_module.RACY_NS / 1e9)
    return file


@contextmanager
def stopped_at(file: Path) -> Iterator[Listed]:
    """A source whose walk has come to the directory of this file."""
    source = source_of(file)
    walk = source.walk(lambda *_: None)
    for listing in walk:
        if listing.names == (b"file",):
            yield source, listing
            break
    source.close()


@pytest.fixture
def listed(file: Path) -> Iterator[Listed]:
    with stopped_at(file) as listed:
        yield listed


def read(listed: Listed) -> tuple[SmallRead, bytes]:
    source, listing = listed
    buffer = memoryview(bytearray(2 * LIMIT))
    (answer,) = source.read_small(listing, [0], LIMIT, buffer)
    return answer, bytes(buffer[: max(answer.size_bytes, 0)])


def grow(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"more")


def shrink(file: Path) -> None:
    os.truncate(file, 1000)


def rewrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(NEW)


def replace(file: Path) -> None:
    (file.parent / "new").write_bytes(NEW)
    (file.parent / "new").replace(file)


def to_symlink(file: Path) -> None:
    file.unlink()
    file.symlink_to("/etc/passwd")


def to_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def to_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


class Meddler:
    """Calls `act` before or after calls of a function of `os` that concern the file's descriptor."""

    def __init__(self, file: Path, act: Act, *, times: int) -> None:
        self.file = file
        self.act = act
        self.left = times
        self.acted = 0

    def meddle(self) -> None:
        if self.left > 0:
            self.left -= 1
            self.acted += 1
            self.act(self.file)


def before_reading(patch: pytest.MonkeyPatch, meddler: Meddler) -> None:
    real = os.readv

    def readv(descriptor: int, buffers: list[memoryview]) -> int:
        meddler.meddle()
        return real(descriptor, buffers)

    patch.setattr(os, "readv", readv)


def after_reading(patch: pytest.MonkeyPatch, meddler: Meddler) -> None:
    real = os.readv

    def readv(descriptor: int, buffers: list[memoryview]) -> int:
        got = real(descriptor, buffers)
        meddler.meddle()
        return got

    patch.setattr(os, "readv", readv)


def while_reading(patch: pytest.MonkeyPatch, meddler: Meddler) -> None:
    """Half of the file is read before, half after: the kernel may return fewer bytes than asked."""
    real = os.readv

    def readv(descriptor: int, buffers: list[memoryview]) -> int:
        if meddler.left == 0:
            return real(descriptor, buffers)
        got = real(descriptor, [buffers[0][: (len(buffers[0]) + 1) // 2]])
        meddler.meddle()
        return got

    patch.setattr(os, "readv", readv)


MOMENTS = [before_reading, while_reading, after_reading]
WRITES = [grow, shrink, rewrite]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("act", [*WRITES, replace])
def test_a_file_that_changes_once_is_read_again(
    listed: Listed,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: Callable[[pytest.MonkeyPatch, Meddler], None],
    act: Act,
) -> None:
    meddler = Meddler(file, act, times=1)
    moment(monkeypatch, meddler)
    answer, data = read(listed)
    assert meddler.acted == 1
    assert answer.problem == ""
    assert data == file.read_bytes()
    row = Row(*ROW.unpack(answer.row))
    assert (row.size_bytes, row.mtime_ns) == (file.stat().st_size, file.stat().st_mtime_ns)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("act", [grow, rewrite])
def test_a_file_that_keeps_changing_is_stored_and_reported(
    listed: Listed,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: Callable[[pytest.MonkeyPatch, Meddler], None],
    act: Act,
) -> None:
    meddler = Meddler(file, lambda path: (time.sleep(0.02), act(path)), times=100)
    moment(monkeypatch, meddler)
    answer, data = read(listed)
    assert answer.problem == read_module.CHANGED
    assert answer.size_bytes == len(data) >= len(OLD)
    row = Row(*ROW.unpack(answer.row))
    # Without a ctime the row equals none that is ever walked, so the next backup reads the file again.
    assert (row.size_bytes, row.ctime_ns) == (len(data), 0)


def test_a_file_that_shrinks_twice_is_stored_as_far_as_it_came(
    listed: Listed, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each of the two attempts asks twice: for the bytes, and for those that are lacking.
    meddler = Meddler(file, lambda path: os.truncate(path, path.stat().st_size // 2), times=4)
    before_reading(monkeypatch, meddler)
    answer, data = read(listed)
    assert (answer.size_bytes, answer.problem) == (1250, read_module.CHANGED)
    assert data == OLD[:1250]


def test_without_the_second_look_a_mix_would_be_silent(
    listed: Listed, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the comparison of the two looks at a file is there for."""
    monkeypatch.setattr(read_module, "same", lambda _before, _after: True)
    while_reading(monkeypatch, Meddler(file, rewrite, times=1))
    answer, data = read(listed)
    assert answer.problem == ""
    assert data == OLD[:5000] + NEW[5000:]


def test_a_file_that_grew_beyond_the_limit_meanwhile_is_left_to_open(
    listed: Listed, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_reading(monkeypatch, Meddler(file, lambda path: os.truncate(path, LIMIT + 1), times=1))
    answer, _data = read(listed)
    assert (answer.size_bytes, answer.problem) == (-1, TOO_LARGE)


@pytest.mark.parametrize("act", [*WRITES, replace])
def test_what_changed_since_the_walk_is_read_as_it_is_now(listed: Listed, file: Path, act: Act) -> None:
    act(file)
    answer, data = read(listed)
    assert (answer.problem, data) == ("", file.read_bytes())
    assert Row(*ROW.unpack(answer.row)).size_bytes == len(data)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (Path.unlink, "it vanished before it could be read"),
        (to_symlink, "it cannot be read: Too many levels of symbolic links"),
        (to_fifo, "it cannot be read: it is no regular file any more"),
        (to_directory, "it cannot be read: it is no regular file any more"),
    ],
)
def test_what_is_no_file_any_more_is_not_read(listed: Listed, file: Path, act: Act, words: str) -> None:
    act(file)
    assert read(listed) == (SmallRead(-1, b"", words), b"")
    source, listing = listed
    with pytest.raises(SourceUnreadable):
        source.open(listing, 0)


def test_a_file_that_vanishes_while_it_changes_is_reported(
    listed: Listed, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_reading(monkeypatch, Meddler(file, Path.unlink, times=1))
    answer, _data = read(listed)
    assert (answer.size_bytes, answer.problem) == (-1, "it vanished before it could be read")


def test_a_file_just_written_is_marked_to_be_read_again(file: Path) -> None:
    with stopped_at(file) as (source, listing):
        trusted, _data = read((source, listing))
        rewrite(file)
        racy, _data = read((source, listing))
        with source.open(listing, 0) as opened:
            large = Row(*ROW.unpack(opened.row))
    assert Row(*ROW.unpack(trusted.row)).ctime_ns > 0
    assert Row(*ROW.unpack(racy.row)).ctime_ns == large.ctime_ns == 0


def test_a_time_in_the_future_is_not_young(file: Path) -> None:
    os.utime(file, ns=(0, 4_102_444_800 * 10**9))
    time.sleep(2 * read_module.RACY_NS / 1e9)
    with stopped_at(file) as listed:
        answer, _data = read(listed)
    assert Row(*ROW.unpack(answer.row)).ctime_ns == file.stat().st_ctime_ns


@pytest.mark.parametrize("act", [*WRITES, lambda file: file.chmod(0o600)])
@pytest.mark.parametrize("buffer_bytes", [100, 10_000, 100_000])
def test_a_large_file_that_changes_is_reported(
    listed: Listed, file: Path, act: Act, buffer_bytes: int
) -> None:
    source, listing = listed
    buffer = memoryview(bytearray(buffer_bytes))
    with source.open(listing, 0) as opened:
        opened.readinto(buffer[:100])
        act(file)
        while opened.readinto(buffer):
            pass
        assert opened.problem() == read_module.CHANGED


def test_a_large_file_that_stays_is_not_reported(listed: Listed) -> None:
    source, listing = listed
    with source.open(listing, 0) as opened:
        assert read_all(opened, 3000) == OLD
        assert opened.problem() == ""


def test_without_the_second_look_a_large_mix_would_be_silent(
    listed: Listed, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the tests above."""
    monkeypatch.setattr(read_module, "same", lambda _before, _after: True)
    source, listing = listed
    with source.open(listing, 0) as opened:
        buffer = memoryview(bytearray(5000))
        opened.readinto(buffer)
        rewrite(file)
        data = bytes(buffer) + read_all(opened)
        assert opened.problem() == ""
    assert data == OLD[:5000] + NEW[5000:]


def test_a_large_file_that_is_cut_off_ends_and_is_reported(listed: Listed, file: Path) -> None:
    source, listing = listed
    with source.open(listing, 0) as opened:
        shrink(file)
        assert read_all(opened, 3000) == OLD[:1000]
        assert opened.problem() == read_module.CHANGED


def test_reading_leaves_the_access_time_alone(file: Path) -> None:
    os.utime(file, ns=(1, file.stat().st_mtime_ns))
    with stopped_at(file) as listed:
        read(listed)
    assert file.stat().st_atime_ns == 1


# What happens to directories.


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("a", "b", "c"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_bytes(name.encode())
    return root


def walk_meddling(root: Path, after: Path, act: Callable[[], object]) -> tuple[list[bytes], Problems]:
    """The paths of a walk's listings below `root`, and its problems; `act` comes after a listing."""
    problems: Problems = []
    found: list[bytes] = []
    top = os.fsencode(root)[1:]
    for listing in source_of(root).walk(lambda *problem: problems.append(problem)):
        if listing.path.startswith(top):
            found.append(listing.path[len(top) + 1 :])
        if listing.path == os.fsencode(after)[1:]:
            act()
    return found, [(path[len(top) + 1 :], words) for path, words in problems]


def test_a_directory_that_vanishes_is_reported_and_the_walk_goes_on(tree: Path) -> None:
    found, problems = walk_meddling(tree, tree, lambda: shutil.rmtree(tree / "b"))
    assert found == [b"", b"a", b"c"]
    assert problems == [(b"b", "this directory cannot be read: No such file or directory")]


def _swap_for_link(tree: Path) -> None:
    (tree / "b").rename(tree / "moved")
    (tree / "b").symlink_to("/etc")


def _swap_for_directory(tree: Path) -> None:
    (tree / "b").rename(tree / "moved")
    (tree / "b").mkdir()
    (tree / "b/trap").touch()


@pytest.mark.parametrize(
    ("swap", "words"),
    [
        (_swap_for_link, "Not a directory"),
        (_swap_for_directory, "it was replaced by another while the source was read"),
    ],
)
def test_a_directory_that_is_swapped_is_not_entered(tree: Path, swap: Act, words: str) -> None:
    found, problems = walk_meddling(tree, tree, lambda: swap(tree))
    assert found == [b"", b"a", b"c"]
    assert problems == [(b"b", f"this directory cannot be read: {words}")]


def test_what_vanishes_between_listing_and_looking_is_silently_gone(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.listdir

    def listdir(descriptor: int) -> list[str]:
        names = real(descriptor)
        if "c" in names:
            shutil.rmtree(tree / "c", ignore_errors=True)
        return names

    monkeypatch.setattr(os, "listdir", listdir)
    found, problems = walk_meddling(tree, tree, lambda: None)
    assert (found, problems) == ([b"", b"a", b"b"], [])


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A tree deeper than the number of directories that stay open, with a branch near its top."""
    root = tmp_path / "chain"
    deep = root / "top/middle"
    for _ in range(2 * OPEN_DIRECTORIES_MAX):
        deep /= "d"
    deep.mkdir(parents=True)
    (root / "top/middle/z-branch/inner").mkdir(parents=True)
    (root / "top/z-other").mkdir()
    return root


def test_the_walk_finds_back_to_directories_far_up(chain: Path) -> None:
    found, problems = walk_meddling(chain, chain, lambda: None)
    assert found[-3:] == [b"top/middle/z-branch", b"top/middle/z-branch/inner", b"top/z-other"]
    assert problems == []


def test_a_directory_far_up_that_was_moved_away_is_reported(chain: Path) -> None:
    deepest = chain / "top/middle" / "/".join("d" * 2 * OPEN_DIRECTORIES_MAX)

    def move() -> None:
        (chain / "top/middle").rename(chain / "moved")
        (chain / "top/middle/z-branch/trap").mkdir(parents=True)

    found, problems = walk_meddling(chain, deepest, move)
    assert found[-1] == b"top/z-other"
    assert [path for path in found if b"branch" in path] == []
    reason = "it was replaced by another while the source was read"
    words = f"this directory cannot be reached any more: {reason}"
    assert problems == [(b"top/middle/z-branch", words)]


# What happens to somebody who is not root.


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """An empty directory that everybody may read, while this process is nobody."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    try:
        yield root
    finally:
        os.seteuid(0)
        shutil.rmtree(root)


def test_what_may_not_be_read_is_reported_and_the_rest_goes_on(as_nobody: Path) -> None:
    for name, mode in (("closed", 0o000), ("names only", 0o744), ("open", 0o755)):
        (as_nobody / name).mkdir()
        (as_nobody / name / "inside").write_bytes(b"inside")
        (as_nobody / name).chmod(mode)
    (as_nobody / "secret").write_bytes(b"secret")
    (as_nobody / "secret").chmod(0o600)
    os.seteuid(65534)
    problems: Problems = []
    source = source_of(as_nobody)
    answers: dict[bytes, SmallRead] = {}
    buffer = memoryview(bytearray(2 * LIMIT))
    for listing in source.walk(lambda *problem: problems.append(problem)):
        for index, fields in enumerate(ROW.iter_unpack(listing.rows)):
            if stat.S_ISREG(fields[0]):
                (answers[path_in(listing, index)],) = source.read_small(listing, [index], LIMIT, buffer)
    top = os.fsencode(as_nobody)[1:]
    assert problems == [
        (top + b"/closed", "this directory cannot be read: Permission denied"),
        (top + b"/names only/inside", "its metadata cannot be read: Permission denied"),
    ]
    assert {path: (answer.size_bytes, answer.problem) for path, answer in answers.items()} == {
        # It belongs to another user, so its access time may not be left alone; it is read all the same.
        top + b"/open/inside": (6, ""),
        top + b"/secret": (-1, "it cannot be read: Permission denied"),
    }
