"""The source `files`: what is walked, in which order, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import nasty_tree
from bitbacker.errors import ConfigError, SourceError, SourceMissing, SourceUnreadable
from bitbacker.spi import ROW, Listing, Located
from bitbacker.testing.source import Make, Row, SourceContract, path_in, read_all, regular_files, rows_of
from bitbacker_plugins.files import FilesConfig, FilesSource
from bitbacker_plugins.files import walk as walk_module

Problems = list[tuple[bytes, str]]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can prepare this")


def source_of(*paths: Path | str, **options: Any) -> FilesSource:
    return FilesSource(FilesConfig(paths=tuple(Located(str(path)) for path in paths), **options))


def listings_of(source: FilesSource) -> dict[bytes, Listing]:
    """Every listing by path; a problem fails the test."""
    problems: Problems = []
    found = {listing.path: listing for listing in source.walk(lambda *problem: problems.append(problem))}
    assert problems == []
    return found


def below(path: Path) -> bytes:
    """The path as a listing has it."""
    return os.fsencode(path)[1:]


def row_in(listing: Listing, name: bytes) -> Row:
    return rows_of(listing)[listing.names.index(name)]


def seen_with_the_eyes_of_find(root: Path) -> dict[bytes, os.stat_result]:
    """Every entry below `root`, found in another way."""
    found: dict[bytes, os.stat_result] = {}
    waiting = [(below(root), os.open(root, os.O_RDONLY))]
    while waiting:
        path, directory = waiting.pop()
        for name in map(os.fsencode, os.listdir(directory)):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            found[path + b"/" + name] = status
            if stat.S_ISDIR(status.st_mode):
                waiting.append((path + b"/" + name, os.open(name, os.O_RDONLY, dir_fd=directory)))
        os.close(directory)
    return found


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A nasty tree, which no test here changes."""
    root = tmp_path_factory.mktemp("nasty")
    made = nasty_tree.make(root, seed=7, entries=300)
    print("left out:", made.left_out)
    yield root
    nasty_tree.destroy(root)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree of ordinary things."""
    root = tmp_path / "tree"
    (root / "b/inner").mkdir(parents=True)
    (root / "a").mkdir()
    (root / "a.txt").write_bytes(b"a text")
    (root / "a/one").write_bytes(b"one")
    (root / "b/inner/two").write_bytes(b"two")
    (root / "b/link").symlink_to("inner")
    return root


class TestFilesKeepsTheContract(SourceContract):
    @pytest.fixture
    def make(self, contract_tree: tuple[Path, dict[bytes, bytes]]) -> Make:
        return lambda: source_of(contract_tree[0])

    @pytest.fixture
    def contents(self, contract_tree: tuple[Path, dict[bytes, bytes]]) -> Mapping[bytes, bytes]:
        return contract_tree[1]

    @pytest.fixture
    def contract_tree(self, tmp_path: Path) -> tuple[Path, dict[bytes, bytes]]:
        root = tmp_path / "tree"
        (root / "directory/empty").mkdir(parents=True)
        sparse = b"x" * 4096 + bytes(1 << 20) + b"y" * 5000
        files = {
            "empty": b"",
            "one": b"1",
            "just small": os.urandom(128 * 1024),
            "just large": os.urandom(128 * 1024 + 1),
            "directory/large": os.urandom(700_000),
            "directory/small": b"small",
            "sparse": sparse,
        }
        for name, data in files.items():
            with (root / name).open("wb") as file:
                for offset in range(0, len(data), 4096):
                    block = data[offset : offset + 4096]
                    file.seek(offset)
                    file.write(block if any(block) else b"")
                file.truncate(len(data))
        (root / "link").symlink_to("nowhere")
        (root / "directory/again").hardlink_to(root / "one")
        os.mkfifo(root / "fifo")
        os.setxattr(root / "one", "user.b", b"")
        os.setxattr(root / "one", "user.a", bytes(range(256)))
        return root, {below(root / name): data for name, data in files.items()}


class TestFilesKeepsTheContractInThePortableProfile(TestFilesKeepsTheContract):
    @pytest.fixture
    def make(self, contract_tree: tuple[Path, dict[bytes, bytes]]) -> Make:
        return lambda: source_of(contract_tree[0], profile="portable")


def test_the_tree_is_rooted_at_the_root_of_the_file_system(tree: Path) -> None:
    found = listings_of(source_of(tree))
    parents = [b"", *(below(parent) for parent in reversed(tree.parents[:-1]))]
    inside = [below(tree / name) for name in (".", "a", "b", "b/inner")]
    assert list(found) == [*parents, *inside]
    names = below(tree).split(b"/")
    assert [found[parent].names for parent in parents] == [(name,) for name in names]
    assert found[below(tree)].names == (b"a", b"a.txt", b"b")
    assert found[below(tree / "b")].names == (b"inner", b"link")


def test_rows_say_what_the_kernel_says(nasty: Path) -> None:
    found = listings_of(source_of(nasty))
    entries = {
        path_in(listing, index): row
        for listing in found.values()
        if listing.path.startswith(below(nasty))
        for index, row in enumerate(rows_of(listing))
    }
    expected = {path: expected_row(status) for path, status in seen_with_the_eyes_of_find(nasty).items()}
    assert entries == expected


def expected_row(status: os.stat_result) -> Row:
    is_directory = stat.S_ISDIR(status.st_mode)
    has_size = stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
    is_device = stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)
    return Row(
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        nlink=1 if is_directory else status.st_nlink,
        filesystem=0,
        size_bytes=status.st_size if has_size else status.st_rdev if is_device else 0,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def test_a_nasty_tree_is_walked_in_table_order(nasty: Path) -> None:
    keys = [path.split(b"/") if path else [] for path in listings_of(source_of(nasty))]
    assert keys == sorted(keys)


def test_every_file_of_a_nasty_tree_is_read(nasty: Path) -> None:
    source, problems = source_of(nasty), Problems()
    buffer = memoryview(bytearray(1 << 20))
    files = read = 0
    for listing in source.walk(lambda *problem: problems.append(problem)):
        source.describe(listing, range(len(listing.names)))
        for index in regular_files(listing):
            files += 1
            (answer,) = source.read_small(listing, [index], 1 << 17, buffer)
            if answer.size_bytes < 0:
                with source.open(listing, index) as file:
                    size = sum(extent.size_bytes for extent in file.extents)
                    assert len(read_all(file)) == size < nasty_tree.TIB
                    assert file.problem() == ""
            read += 1
    assert problems == []
    assert read == files > 1000


def test_few_directories_are_open_however_deep_the_tree(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "deep"
    root.mkdir()
    nasty_tree.make(root, seed, entries=0, levels=3000)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + walk_module.OPEN_DIRECTORIES_MAX + 8, before[1]))
    try:
        deepest = max(path.count(b"/") for path in listings_of(source_of(root)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        nasty_tree.destroy(root)
    assert deepest > 3000


@pytest.mark.parametrize("leave_after", [0, 1, 40])
def test_no_descriptor_stays_open(nasty: Path, leave_after: int) -> None:
    source = source_of(nasty)
    before = sorted(os.listdir("/proc/self/fd"))
    for number, _listing in enumerate(source.walk(lambda *_: None)):
        if leave_after and number == leave_after:
            break
    source.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_paths_share_their_parents(tree: Path) -> None:
    found = listings_of(source_of(tree / "b/inner", tree / "a", tree / "a.txt"))
    assert found[below(tree)].names == (b"a", b"a.txt", b"b")
    assert found[below(tree / "b")].names == (b"inner",)
    assert found[below(tree / "b/inner")].names == (b"two",)


def test_a_path_inside_another_changes_nothing(tree: Path) -> None:
    assert listings_of(source_of(tree, tree / "b/inner")) == listings_of(source_of(tree))


def test_a_path_named_twice_is_walked_once(tree: Path) -> None:
    assert listings_of(source_of(tree, f"{tree}/b/../", f"/{tree}")) == listings_of(source_of(tree))


def test_a_file_can_be_a_path(tree: Path) -> None:
    source = source_of(tree / "a.txt")
    *_, last = source.walk(lambda *_: None)
    assert (last.path, last.names) == (below(tree), (b"a.txt",))


def test_what_leads_to_a_path_needs_no_permission_to_be_read(tree: Path) -> None:
    # Root reads everything, so the promise is looked at by its means: no such directory is listed.
    listed: list[int] = []
    real = os.listdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", lambda descriptor: listed.append(descriptor) or real(descriptor))
        listings_of(source_of(tree / "b/inner"))
    assert len(listed) == 1


def test_a_symlink_as_a_path_is_stored_as_a_link(tree: Path) -> None:
    found = listings_of(source_of(tree / "b/link"))
    assert list(found)[-1] == below(tree / "b")
    assert stat.S_ISLNK(row_in(found[below(tree / "b")], b"link").mode)


def test_a_symlink_on_the_way_to_a_path_is_followed(tree: Path) -> None:
    found = listings_of(source_of(tree / "b/link/two"))
    assert found[below(tree / "b/link")].names == (b"two",)
    row = row_in(found[below(tree / "b")], b"link")
    assert row.inode == (tree / "b/inner").stat().st_ino
    assert stat.S_ISDIR(row.mode)


@pytest.mark.parametrize("other", ["b", "b/link"])
def test_an_entry_cannot_be_both_link_and_directory(tree: Path, other: str) -> None:
    with pytest.raises(SourceError, match="leads through the symlink") as caught:
        source_of(tree / other, tree / "b/link/two").walk(lambda *_: None)
    assert str(tree / "b/inner") in caught.value.hint


def test_a_path_that_does_not_exist_is_an_error(tree: Path) -> None:
    missing = Located(str(tree / "missing"), "bitbacker.toml", 12)
    source = FilesSource(FilesConfig(paths=(Located(str(tree)), missing)))
    with pytest.raises(SourceMissing, match=r"^bitbacker.toml:12: the path .*/missing does not exist$"):
        source.walk(lambda *_: None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"paths": ()}, "'paths' names no path"),
        ({"paths": (Located("relative", "b.toml", 3),)}, "b.toml:3: 'relative' in 'paths'"),
        ({"exclude_if_present": (Located("a/b"),)}, "'a/b' in 'exclude_if_present'"),
        ({"larger_than_bytes": -1}, "'larger_than_bytes' is negative"),
    ],
)
def test_a_configuration_without_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FilesConfig(**{"paths": (Located("/"),), **options})


def test_the_manual_names_every_option_with_its_default() -> None:
    manual = (Path(__file__).parents[2] / "docs/sources.md").read_text()
    for option in dataclasses.fields(FilesConfig):
        default = "" if option.default is dataclasses.MISSING else f"`{shown(option.default)}` "
        assert f"| `{option.name}` | {default}|" in manual


def shown(default: object) -> str:
    return json.dumps(default).replace("()", "[]")


def test_roots_are_the_paths_as_they_were_named(tree: Path) -> None:
    assert source_of(tree, "/etc").roots() == (str(tree), "/etc")


def test_the_portable_profile_trusts_neither_ctime_nor_inode(nasty: Path) -> None:
    rows = [
        row
        for listing in listings_of(source_of(nasty, profile="portable")).values()
        for row in rows_of(listing)
    ]
    assert {(row.ctime_ns, row.inode, row.nlink) for row in rows} == {(0, 0, 1)}


def test_link_targets_and_attributes_are_described(nasty: Path) -> None:
    source = source_of(nasty)
    described = {
        path_in(listing, index): description
        for listing in source.walk(lambda *_: None)
        for index, description in enumerate(source.describe(listing, range(len(listing.names))))
    }
    attributes = dict(described[below(nasty / "attributes/file")].xattrs)
    assert attributes[b"user.empty"] == b""
    assert attributes[b"user.binary"] == bytes(range(256))
    assert list(attributes) == sorted(attributes)
    assert b"system.posix_acl_default" in dict(described[below(nasty / "access-lists/directory")].xattrs)
    assert described[below(nasty / "symlinks/not-utf-8")].link_target == b"\xff\xfe\n"
    assert described[below(nasty / "sizes/random-1")] == ((b""), ())
    bottom = next(path for path in described if path.endswith(b"/d/link"))
    assert described[bottom].link_target == b"bottom"


@as_root
def test_attributes_of_a_followed_symlink_are_those_of_its_directory(tree: Path) -> None:
    os.setxattr(tree / "b/inner", "user.who", b"directory")
    os.setxattr(tree / "b/link", "trusted.who", b"link", follow_symlinks=False)
    source = source_of(tree / "b/link/two")
    for listing in source.walk(lambda *_: None):
        if listing.path == below(tree / "b"):
            assert source.describe(listing, [0]) == [(b"", ((b"user.who", b"directory"),))]
            return
    pytest.fail("the directory was not listed")


def test_reading_from_an_older_listing_is_refused(tree: Path) -> None:
    source = source_of(tree)
    first, *_rest = source.walk(lambda *_: None)
    with pytest.raises(SourceError, match="not the last one"):
        source.describe(first, [0])


def test_special_files_are_never_opened(nasty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    special = [b"fifo", b"socket", b"null", b"block", b"large-numbers"]
    source, opened = source_of(nasty / "special"), []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda name, *rest, **more: opened.append(name) or real(name, *rest, **more)
    )
    for listing in source.walk(lambda *_: None):
        indexes = range(len(listing.names))
        source.describe(listing, indexes)
        answers = source.read_small(listing, indexes, 100, memoryview(bytearray(1000)))
        assert {answer.size_bytes for answer in answers} == {-1}
        for index in indexes:
            with pytest.raises(SourceUnreadable):
                source.open(listing, index)
    assert b"special" in opened
    assert set(special) & set(opened) == set()


def test_stamps_that_no_table_can_hold_are_brought_into_range(tree: Path) -> None:
    os.utime(tree / "a/one", (0, 14_000_000_000))
    if (tree / "a/one").stat().st_mtime != 14_000_000_000:
        pytest.skip("this file system keeps no times beyond the year 2262")
    row = row_in(listings_of(source_of(tree))[below(tree / "a")], b"one")
    assert row.mtime_ns == 2**63 - 1


@as_root
def test_file_systems_are_numbered_by_their_order(tree: Path, mounted: Callable[[Path], None]) -> None:
    mounted(tree / "a")
    (tree / "a/new").write_bytes(b"elsewhere")
    found = listings_of(source_of(tree))
    assert row_in(found[below(tree)], b"a").filesystem == 1
    assert row_in(found[below(tree / "a")], b"new").filesystem == 1
    assert row_in(found[below(tree)], b"b").filesystem == 0


@as_root
def test_one_file_system_keeps_the_mount_point_and_nothing_in_it(
    tree: Path, mounted: Callable[[Path], None]
) -> None:
    mounted(tree / "b")
    (tree / "b/inner").mkdir()
    (tree / "b/inner/new").write_bytes(b"elsewhere")
    found = listings_of(source_of(tree, one_file_system=True))
    assert found[below(tree)].names == (b"a", b"a.txt", b"b")
    assert found[below(tree / "b")] == Listing(below(tree / "b"), (), b"")
    assert below(tree / "b/inner") not in found
    assert found[below(tree / "a")].names == (b"one",)
    # A path of another file system that is named is not left out.
    named = listings_of(source_of(tree, tree / "b/inner", one_file_system=True))
    assert named[below(tree / "b")].names == (b"inner",)
    assert named[below(tree / "b/inner")].names == (b"new",)
    explanation = source_of(tree, one_file_system=True).explain(str(tree / "b/inner/new"))
    assert (explanation.included, explanation.reason) == (False, f"other file system: {tree}/b")


@as_root
def test_nothing_is_asked_of_a_mount_point_that_is_left_out(
    tree: Path, mounted: Callable[[Path], None]
) -> None:
    mounted(tree / "b")
    source = source_of(tree, one_file_system=True)
    for listing in source.walk(lambda *_: None):
        if listing.path == below(tree / "b"):
            assert source.describe(listing, []) == []
            assert source.read_small(listing, [], 100, memoryview(bytearray(100))) == []


@pytest.fixture
def mounted() -> Iterator[Callable[[Path], None]]:
    """Mounts an empty file system over a directory."""
    points: list[Path] = []

    def mount(point: Path) -> None:
        if os.system(f"mount -t tmpfs tmpfs '{point}'"):
            pytest.skip("this machine does not let root mount a tmpfs")
        points.append(point)

    yield mount
    for point in points:
        os.system(f"umount '{point}'")


@pytest.mark.parametrize("entries", [100_000])
def test_a_directory_of_many_entries(tmp_path: Path, entries: int) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    for number in range(entries):
        os.close(os.open(b"%x" % (number * 7919), os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
    listing = listings_of(source_of(tmp_path))[below(tmp_path)]
    assert len(listing.names) == entries
    assert list(listing.names) == sorted(listing.names)
    assert len(listing.rows) == entries * ROW.size
