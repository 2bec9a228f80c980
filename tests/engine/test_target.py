"""The target writes below its root, whole files only, with everything they are to have."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bitbacker.engine import target as target_module
from bitbacker.engine import target_directories, target_files
from bitbacker.engine.target import Target, end_of_target, open_target
from bitbacker.engine.target_files import PendingFiles
from bitbacker.engine.target_metadata import Attributes
from bitbacker.engine.target_root import check_target
from bitbacker.errors import FormatError, TargetError, TargetNotEmpty
from bitbacker.format.extras import Xattr
from restore_faults import HookedOs, hooked, make_canary, state

FILE = Attributes(stat.S_IFREG | 0o640, os.geteuid(), os.getegid(), 1_234_567_890_123_456_789)
LINK = FILE._replace(mode=stat.S_IFLNK | 0o777)
FIFO = FILE._replace(mode=stat.S_IFIFO | 0o620)
DIRECTORY = FILE._replace(mode=stat.S_IFDIR | 0o750)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")

Make = Callable[[Target, bytes, bytes], object]
MAKERS: dict[str, Make] = {
    "file": lambda target, directory, name: target.write_file(directory, name, b"x", FILE),
    "symlink": lambda target, directory, name: target.make_symlink(directory, name, b"to", LINK),
    "fifo": lambda target, directory, name: target.make_special(directory, name, 0, FIFO),
    "link": lambda target, directory, name: target.make_link(directory, name, b"", b"present"),
    "link to": lambda target, directory, name: target.make_link(b"", b"new", directory, name),
    "pieces": lambda target, directory, name: PendingFiles(target).begin(1, directory, name),
    "directory": lambda target, directory, name: target.make_directory(
        directory + b"/" + name if directory else name
    ),
}


NO_ID = 0xFFFFFFFF


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """An access list as the kernel packs it: tag, rights and number of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def target(tmp_path: Path, notes: list[str]) -> Iterator[Target]:
    make_canary(tmp_path)
    opened = open_target(tmp_path / "target", resume=False, note=notes.append)
    opened.write_file(b"", b"present", b"it is here", FILE)
    opened.make_symlink(b"", b"out", b"../canary", LINK)
    with closing(opened):
        yield opened


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", [b"", b".", b"..", b"../x", b"/x", b"out/file", b"nul\0nul"])
def test_a_name_that_no_directory_can_hold_is_refused(
    target: Target, tmp_path: Path, kind: str, name: bytes
) -> None:
    before = state(tmp_path, leave_out=tmp_path / "target")
    with pytest.raises(NotADirectoryError if (kind, name) == ("directory", b"out/file") else FormatError):
        MAKERS[kind](target, b"", name)
    assert state(tmp_path, leave_out=tmp_path / "target") == before


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("directory", [b"out", b"out/inside", b"..", b"out/../..", b"/", b"/etc"])
def test_a_directory_outside_is_never_reached(
    target: Target, tmp_path: Path, kind: str, directory: bytes
) -> None:
    before = state(tmp_path, leave_out=tmp_path / "target")
    with pytest.raises((OSError, FormatError)):
        MAKERS[kind](target, directory, b"file")
    assert state(tmp_path, leave_out=tmp_path / "target") == before


def test_a_file_has_its_content_mode_owner_and_time(target: Target, tmp_path: Path) -> None:
    assert target.write_file(b"", b"file", b"content", FILE) == ""
    status = os.stat(tmp_path / "target/file")
    assert (tmp_path / "target/file").read_bytes() == b"content"
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, FILE.mtime_ns)
    assert sorted(os.listdir(tmp_path / "target")) == ["file", "out", "present"]


@AS_ROOT
def test_a_file_given_away_keeps_its_set_user_id_bit(target: Target, tmp_path: Path) -> None:
    own = FILE._replace(mode=stat.S_IFREG | 0o6755, uid=1234, gid=4321)
    assert target.write_file(b"", b"file", b"content", own) == ""
    status = os.stat(tmp_path / "target/file")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, 0o6755)


def test_a_read_only_file_gets_its_attributes(target: Target, tmp_path: Path) -> None:
    own = FILE._replace(mode=stat.S_IFREG | 0o400, xattrs=(Xattr(b"user.colour", b"blue\0"),))
    assert target.write_file(b"", b"file", b"content", own) == ""
    assert os.getxattr(tmp_path / "target/file", "user.colour") == b"blue\0"
    assert stat.S_IMODE(os.stat(tmp_path / "target/file").st_mode) == 0o400


def test_an_access_list_and_its_mode_agree(target: Target, tmp_path: Path) -> None:
    acl = access_list((1, 6, NO_ID), (2, 4, 77), (4, 4, NO_ID), (16, 4, NO_ID), (32, 0, NO_ID))
    own = FILE._replace(xattrs=(Xattr(b"system.posix_acl_access", acl),))
    assert target.write_file(b"", b"file", b"content", own) == ""
    assert os.getxattr(tmp_path / "target/file", "system.posix_acl_access") == acl


def test_an_access_list_of_the_target_is_not_handed_on(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    acl = access_list((1, 7, NO_ID), (2, 7, 77), (4, 7, NO_ID), (16, 7, NO_ID), (32, 7, NO_ID))
    os.setxattr(tmp_path / "target", "system.posix_acl_default", acl)
    (tmp_path / "target/inherits").mkdir()
    assert "system.posix_acl_access" in os.listxattr(tmp_path / "target/inherits")
    (tmp_path / "target/inherits").rmdir()
    with closing(open_target(tmp_path / "target", resume=False, note=print)) as target:
        target.make_directory(b"a")
        target.write_file(b"a", b"file", b"", FILE)
        target.make_special(b"", b"fifo", 0, FIFO)
        target.write_file(b"", b"file", b"", FILE)
        target.finish_directory(b"a", DIRECTORY)
    for name, expected in (("a", DIRECTORY), ("a/file", FILE), ("fifo", FIFO), ("file", FILE)):
        assert os.listxattr(tmp_path / "target" / name) == []
        assert os.stat(tmp_path / "target" / name).st_mode == expected.mode


def test_an_attribute_that_cannot_be_set_is_told_and_the_file_is_there(
    target: Target, tmp_path: Path
) -> None:
    own = FILE._replace(xattrs=(Xattr(b"nonsense.colour", b"blue"), Xattr(b"nul\0", b"")))
    problem = target.write_file(b"", b"file", b"content", own)
    assert "nonsense.colour is not restored" in problem
    assert "its name is not possible here" in problem
    assert (tmp_path / "target/file").read_bytes() == b"content"


def test_a_symlink_has_its_own_time_and_what_it_points_to_keeps_its(target: Target, tmp_path: Path) -> None:
    before = state(tmp_path, leave_out=tmp_path / "target")
    assert target.make_symlink(b"", b"link", b"../canary/file", LINK) == ""
    assert os.lstat(tmp_path / "target/link").st_mtime_ns == LINK.mtime_ns
    assert os.readlink(tmp_path / "target/link") == "../canary/file"
    assert state(tmp_path, leave_out=tmp_path / "target") == before


def test_a_fifo_has_its_mode_and_time(target: Target, tmp_path: Path) -> None:
    assert target.make_special(b"", b"fifo", 0, FIFO) == ""
    status = os.lstat(tmp_path / "target/fifo")
    assert (status.st_mode, status.st_mtime_ns) == (FIFO.mode, FIFO.mtime_ns)


@AS_ROOT
def test_a_device_has_its_number(target: Target, tmp_path: Path) -> None:
    own = FILE._replace(mode=stat.S_IFCHR | 0o600)
    assert target.make_special(b"", b"null", os.makedev(1, 3), own) == ""
    assert os.lstat(tmp_path / "target/null").st_rdev == os.makedev(1, 3)


def test_a_hard_link_replaces_what_has_its_name(target: Target, tmp_path: Path) -> None:
    for _ in range(2):
        target.make_link(b"", b"second", b"", b"present")
    target.write_file(b"", b"third", b"something else", FILE)
    target.make_link(b"", b"third", b"", b"present")
    inodes = {os.lstat(tmp_path / "target" / name).st_ino for name in ("present", "second", "third")}
    assert len(inodes) == 1
    assert sorted(os.listdir(tmp_path / "target")) == ["out", "present", "second", "third"]


def test_a_hard_link_to_a_symlink_is_to_the_symlink_itself(target: Target, tmp_path: Path) -> None:
    target.make_symlink(b"", b"link", b"../canary/file", LINK)
    before = state(tmp_path, leave_out=tmp_path / "target")
    target.make_link(b"", b"second", b"", b"link")
    assert os.path.islink(tmp_path / "target/second")
    assert state(tmp_path, leave_out=tmp_path / "target") == before


def test_a_directory_is_closed_to_others_until_it_is_finished(target: Target, tmp_path: Path) -> None:
    target.make_directory(b"a")
    assert stat.S_IMODE(os.stat(tmp_path / "target/a").st_mode) == 0o700
    target.write_file(b"a", b"file", b"", FILE)
    assert target.finish_directory(b"a", DIRECTORY) == ""
    status = os.stat(tmp_path / "target/a")
    assert (status.st_mode, status.st_mtime_ns) == (DIRECTORY.mode, DIRECTORY.mtime_ns)


def test_a_directory_that_is_there_is_taken_over_only_when_asked(target: Target, tmp_path: Path) -> None:
    target.make_directory(b"a")
    os.chmod(tmp_path / "target/a", 0o2000)
    with pytest.raises(FileExistsError):
        target.make_directory(b"a")
    target.make_directory(b"a", present_ok=True)
    assert stat.S_IMODE(os.stat(tmp_path / "target/a").st_mode) == 0o700


def test_a_symlink_is_not_taken_over_as_a_directory(target: Target, tmp_path: Path) -> None:
    before = state(tmp_path, leave_out=tmp_path / "target")
    with pytest.raises(OSError, match="Not a directory"):
        target.make_directory(b"out", present_ok=True)
    assert state(tmp_path, leave_out=tmp_path / "target") == before


def test_new_files_in_a_set_group_id_target_get_their_own_group(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "target", 0, 4321)
    os.chmod(tmp_path / "target", 0o2700)
    with closing(open_target(tmp_path / "target", resume=False, note=print)) as target:
        target.write_file(b"", b"file", b"", FILE)
        target.make_directory(b"a")
        target.write_file(b"a", b"file", b"", FILE)
    groups = {os.stat(tmp_path / "target" / name).st_gid for name in ("file", "a/file")}
    assert groups == {os.getegid()}


def test_left_overs_are_removed_but_nothing_else(target: Target, tmp_path: Path) -> None:
    names = [b".bitbacker-0123456789abcdef-7", b".bitbacker-fedcba9876543210-1", b".bitbacker-notes"]
    for name in names:
        (tmp_path / "target" / os.fsdecode(name)).write_bytes(b"")
    target.remove_left_overs(b"", keep={names[1]})
    left = sorted(os.listdir(tmp_path / "target"))
    assert left == [".bitbacker-fedcba9876543210-1", ".bitbacker-notes", "out", "present"]


def test_pieces_make_a_file_in_any_order_with_holes_between(target: Target, tmp_path: Path) -> None:
    with closing(PendingFiles(target)) as pending:
        pending.begin(1, b"", b"pieces", 1_000_000)
        pending.write(1, b"behind", 500_000)
        pending.write(1, memoryview(b"before"), 10)
        assert not (tmp_path / "target/pieces").exists()
        assert pending.finish(1, FILE) == ""
    expected = bytearray(1_000_000)
    expected[10:16], expected[500_000:500_006] = b"before", b"behind"
    assert (tmp_path / "target/pieces").read_bytes() == bytes(expected)
    assert os.stat(tmp_path / "target/pieces").st_blocks * 512 < 500_000


def test_more_files_in_pieces_than_may_be_open_become_whole(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_files, "_OPEN_MAX", 3)
    before = len(os.listdir("/proc/self/fd"))
    with closing(PendingFiles(target)) as pending:
        for number in range(10):
            pending.begin(number, b"", b"file-%d" % number)
        for piece in range(3):
            for number in range(10):
                pending.write(number, b"%d" % number, piece)
        assert len(os.listdir("/proc/self/fd")) <= before + 3
        for number in range(10):
            pending.finish(number, FILE)
    contents = {number: (tmp_path / f"target/file-{number}").read_bytes() for number in range(10)}
    assert contents == {number: b"%d" % number * 3 for number in range(10)}


def test_a_file_that_somebody_replaced_between_two_pieces_is_not_written(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_files, "_OPEN_MAX", 1)
    before = state(tmp_path, leave_out=tmp_path / "target")
    with closing(PendingFiles(target)) as pending:
        for put in (os.link, os.symlink, lambda _, there: os.mkfifo(there)):
            pending.begin(1, b"", b"one")
            temporary = next(name for name in os.listdir(tmp_path / "target") if "bitbacker" in name)
            pending.begin(2, b"", b"two")
            os.unlink(tmp_path / "target" / temporary)
            put(tmp_path / "canary/file", tmp_path / "target" / temporary)
            with pytest.raises(OSError, match=r"replaced|symbolic links|No such device"):
                pending.write(1, b"hostile", 0)
            os.unlink(tmp_path / "target" / temporary)
            pending.abandon(1)
            pending.abandon(2)
    after = state(tmp_path, leave_out=tmp_path / "target")
    changed = {path for path in before if before[path] != after[path]}
    # The hard link itself was the attacker's; the content and the times of the file are what they were.
    assert changed <= {str(tmp_path / "canary/file"), str(tmp_path / "canary/second")}
    assert (tmp_path / "canary/file").read_bytes() == b"the canary"
    assert sorted(os.listdir(tmp_path / "target")) == ["out", "present"]


def test_pieces_that_never_became_whole_leave_nothing(target: Target, tmp_path: Path) -> None:
    pending = PendingFiles(target)
    for number in range(3):
        pending.begin(number, b"", b"file-%d" % number, 100)
    pending.close()
    assert sorted(os.listdir(tmp_path / "target")) == ["out", "present"]


def test_an_interrupted_file_has_no_name(target: Target, tmp_path: Path) -> None:
    def interrupt(_: int, name: str) -> None:
        if name == "utime":
            raise KeyboardInterrupt

    with hooked(interrupt), pytest.raises(KeyboardInterrupt):
        target.write_file(b"", b"file", b"content", FILE)
    assert sorted(os.listdir(tmp_path / "target")) == ["out", "present"]


def test_directories_far_down_are_reached_with_few_descriptors(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_directories, "_OPEN_MAX", 32)
    before = len(os.listdir("/proc/self/fd"))
    path = b"d" * 50
    for _ in range(200):
        target.make_directory(path)
        path += b"/" + b"d" * 50
    path = path.rpartition(b"/")[0]
    target.directories.forget(path)
    for number in range(100):
        target.make_directory(b"side-%d" % number)
        target.write_file(b"side-%d" % number, b"file", b"", FILE)
    target.write_file(path, b"bottom", b"the last one", FILE)
    target.make_link(b"side-1", b"bottom", path, b"bottom")
    assert len(os.listdir("/proc/self/fd")) <= before + 33
    depth = 0
    while path:
        target.finish_directory(path, DIRECTORY)
        path = path.rpartition(b"/")[0]
        depth += 1
    assert depth == 200


def test_a_target_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").write_bytes(b"")
    with pytest.raises(TargetNotEmpty, match="is not empty"):
        check_target(tmp_path, resume=False)
    check_target(tmp_path, resume=True)
    check_target(tmp_path / "absent", resume=False)
    with pytest.raises(TargetError, match="Not a directory"):
        check_target(tmp_path / "something", resume=True)


def test_a_target_is_made_with_its_parents_for_nobody_else(tmp_path: Path) -> None:
    open_target(tmp_path / "a/b/target", resume=False, note=print).close()
    assert stat.S_IMODE(os.stat(tmp_path / "a/b/target").st_mode) == 0o700


def test_a_symlink_on_the_way_to_the_target_is_not_followed(tmp_path: Path) -> None:
    make_canary(tmp_path)
    before = state(tmp_path, leave_out=tmp_path / "way")
    (tmp_path / "way").symlink_to("canary/inside")
    for path in (tmp_path / "way/target", tmp_path / "way"):
        with pytest.raises(TargetError, match="cannot be restored into"):
            open_target(path, resume=True, note=print)
    assert state(tmp_path, leave_out=tmp_path / "way") == before


class _IgnoringCase(HookedOs):
    """A file system that keeps the case of names but finds them in any."""

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)
        if name not in {"open", "stat", "mkdir", "rename", "unlink", "link", "symlink"}:
            return call

        def folded(*args: Any, **kwargs: Any) -> Any:
            there = kwargs.get("dir_fd") or kwargs.get("dst_dir_fd")
            names = [self._present(there, arg) if isinstance(arg, bytes) else arg for arg in args]
            return call(*names, **kwargs)

        return folded

    @staticmethod
    def _present(directory: int | None, name: bytes) -> bytes:
        present = (os.fsencode(there) for there in os.listdir(directory))
        return next((there for there in present if there.lower() == name.lower()), name)


def test_names_that_differ_only_in_case_do_not_overwrite_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_module, "os", _IgnoringCase(lambda _, __: None))
    with closing(open_target(tmp_path / "target", resume=False, note=print)) as target:
        target.write_file(b"", b"name", b"first", FILE)
        target.make_directory(b"folder")
        for name in (b"Name", b"NAME", b"Folder"):
            for make in (MAKERS["file"], MAKERS["symlink"]):
                with pytest.raises(FileExistsError, match="only in case"):
                    make(target, b"", name)
        with pytest.raises(FileExistsError, match="only in case"):
            target.make_directory(b"FOLDER", present_ok=True)
        target.write_file(b"", b"name", b"again", FILE)
        target.make_directory(b"folder", present_ok=True)
    assert (tmp_path / "target/name").read_bytes() == b"again"
    assert sorted(os.listdir(tmp_path / "target")) == ["folder", "name"]


@pytest.mark.parametrize(
    ("number", "ends"),
    [("ENOSPC", True), ("EDQUOT", True), ("EROFS", True), ("EIO", False), ("EFBIG", False)],
)
def test_only_a_target_that_takes_nothing_more_ends_a_restore(number: str, ends: bool) -> None:
    import errno

    assert bool(end_of_target(OSError(getattr(errno, number), "words"))) == ends
