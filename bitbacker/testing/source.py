"""The promises of `bitbacker.spi.source` as tests: subclass `SourceContract`, override two fixtures.

    class TestMySource(SourceContract):
        @pytest.fixture
        def make(self, my_server: str) -> Make:
            return lambda: MySource(MySource.Config(server=my_server))

        @pytest.fixture
        def contents(self) -> Mapping[bytes, bytes]:
            return {b"directory/file": b"what is in it"}

`make` gives a fresh source every time, always of the same unchanged data, all of which can be read.
`contents` says what some of its files hold, known by another way than through the source.  The more
kinds of entries the data has, the more is tested: empty files, symlinks, hard links, holes, attributes.
What happens when data changes while it is read cannot be tested from outside; test that yourself.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from bitbacker.errors import SourceUnreadable
from bitbacker.spi import ROW, TOO_LARGE, Explains, Extent, Listing, OpenFile, Revisits, SmallRead, Source
from bitbacker.testing.contract import Contract, assert_declared

Make = Callable[[], Source]
"""Opens one more source of the same data."""

LIMIT_BYTES = 128 * 1024
BUFFER_BYTES = 4 * LIMIT_BYTES
UNKNOWN = (Extent(0, -1),)
"""The extents of a file whose size is not known before it was read."""

_KINDS = frozenset(
    {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK}
)
_WITHOUT_SIZE = frozenset({stat.S_IFDIR, stat.S_IFIFO, stat.S_IFSOCK})


class Row(NamedTuple):
    """A row of a listing, unpacked."""

    mode: int
    uid: int
    gid: int
    nlink: int
    filesystem: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @property
    def kind(self) -> int:
        """The type bits of the mode."""
        return stat.S_IFMT(self.mode)


def rows_of(listing: Listing) -> list[Row]:
    """The rows of a listing, one for each name."""
    return [Row(*fields) for fields in ROW.iter_unpack(listing.rows)]


def path_in(listing: Listing, index: int) -> bytes:
    """The path of an entry."""
    name = listing.names[index]
    return listing.path + b"/" + name if listing.path else name


def regular_files(listing: Listing) -> list[int]:
    """The indexes of the regular files of a listing."""
    return [index for index, row in enumerate(rows_of(listing)) if row.kind == stat.S_IFREG]


def walk(source: Source) -> Iterator[Listing]:
    """Every listing of a source that can be read; a problem fails the test."""
    problems: list[tuple[bytes, str]] = []
    for listing in source.walk(lambda path, words: problems.append((path, words))):
        yield listing
        assert problems == [], "a source without problems reports some"
    assert problems == [], "a source without problems reports some"


def read_all(file: OpenFile, buffer_bytes: int = BUFFER_BYTES) -> bytes:
    """The bytes of all extents of an open file, checked to come in full buffers."""
    parts: list[bytes] = []
    buffer = memoryview(bytearray(buffer_bytes))
    while True:
        got = file.readinto(buffer)
        parts.append(bytes(buffer[:got]))
        if got < buffer_bytes:
            break
    assert file.readinto(buffer) == 0, "there is something behind the end"
    return b"".join(parts)


class SourceContract(Contract, kit=True):
    """Override `make` and `contents`; see the module's text."""

    @pytest.fixture
    def make(self) -> Make:
        """How to open the source under test."""
        raise NotImplementedError

    @pytest.fixture
    def contents(self) -> Mapping[bytes, bytes]:
        """What some of its regular files hold, by path."""
        raise NotImplementedError

    @pytest.fixture
    def source(self, make: Make) -> Iterator[Source]:
        """The source under test."""
        source = make()
        yield source
        source.close()

    def test_it_declares_what_it_is(self, source: Source) -> None:
        assert_declared(source)

    def test_its_roots_are_words(self, source: Source) -> None:
        roots = source.roots()
        assert isinstance(roots, tuple)
        assert [root for root in roots if not isinstance(root, str) or not root] == []
        assert roots != ()

    def test_listings_ascend_from_the_root(self, source: Source) -> None:
        paths = [listing.path for listing in walk(source)]
        assert paths[0] == b""
        keys = [path.split(b"/") if path else [] for path in paths]
        assert keys == sorted(keys)
        assert len(set(paths)) == len(paths)

    def test_every_directory_was_an_entry_before(self, source: Source) -> None:
        directories = {b""}
        for listing in walk(source):
            assert listing.path in directories
            rows = rows_of(listing)
            directories |= {path_in(listing, i) for i, row in enumerate(rows) if row.kind == stat.S_IFDIR}

    def test_names_ascend_and_are_names(self, source: Source) -> None:
        for listing in walk(source):
            assert isinstance(listing.names, tuple)
            assert list(listing.names) == sorted(set(listing.names))
            assert [name for name in listing.names if not _is_name(name)] == []

    def test_rows_are_well_formed(self, source: Source) -> None:
        for listing in walk(source):
            assert len(listing.rows) == len(listing.names) * ROW.size
            assert [row for row in rows_of(listing) if not _is_well_formed(row)] == []

    def test_file_systems_are_numbered_as_they_come(self, source: Source) -> None:
        numbers = [row.filesystem for listing in walk(source) for row in rows_of(listing)]
        assert list(dict.fromkeys(numbers)) == list(range(len(set(numbers))))

    def test_names_of_one_file_can_be_told_and_agree(self, source: Source) -> None:
        linked = [row for listing in walk(source) for row in rows_of(listing) if row.nlink > 1]
        assert [row for row in linked if row.inode == 0] == []
        assert len({(row.filesystem, row.inode) for row in linked}) == len(set(linked))

    def test_two_walks_of_unchanged_data_are_equal(self, make: Make) -> None:
        first, second = make(), make()
        expected = list(walk(first))
        assert list(walk(second)) == expected
        assert list(walk(second)) == expected
        first.close()
        second.close()

    def test_a_walk_can_be_left_and_begun_again(self, source: Source) -> None:
        expected = list(walk(source))
        assert next(iter(source.walk(lambda _path, _words: None)), None) == expected[0]
        source.close()
        assert list(walk(source)) == expected

    def test_directories_are_visited_again_as_they_were(
        self, source: Source, contents: Mapping[bytes, bytes]
    ) -> None:
        if not isinstance(source, Revisits):
            pytest.skip("this source walks over everything again")
        listings = list(walk(source))
        wanted = [listing for listing in listings if listing.names][1:] or listings
        paths = [listing.path for listing in wanted]
        again: list[Listing] = []
        for listing in source.revisit(paths, lambda path, words: pytest.fail(f"{path!r}: {words}")):
            again.append(listing)
            for index in regular_files(listing):
                path = path_in(listing, index)
                if path in contents:
                    with source.open(listing, index) as file:
                        assert _with_holes(file) == contents[path]
        assert [listing for listing in again if listing.path in paths] == wanted
        assert [listing for listing in again if listing not in listings] == []

    def test_closing_twice_is_harmless(self, source: Source) -> None:
        source.close()
        source.close()

    def test_files_hold_what_they_hold(self, source: Source, contents: Mapping[bytes, bytes]) -> None:
        assert contents, "the suite needs to know what some file holds"
        found: dict[bytes, bytes] = {}
        for listing in walk(source):
            for index in regular_files(listing):
                path = path_in(listing, index)
                if path in contents:
                    with source.open(listing, index) as file:
                        found[path] = _with_holes(file)
                        assert file.problem() == ""
        assert found == dict(contents)

    def test_small_files_are_read_back_to_back(self, make: Make, contents: Mapping[bytes, bytes]) -> None:
        source, expected = make(), {path: data for path, data in contents.items() if len(data) <= LIMIT_BYTES}
        found: dict[bytes, bytes] = {}
        for listing in walk(source):
            found.update(self._read_small_files(source, listing, BUFFER_BYTES))
        source.close()
        assert {path: data for path, data in found.items() if expected.get(path, data) != data} == {}

    def test_a_buffer_that_is_just_large_enough_is_enough(self, source: Source) -> None:
        for listing in walk(source):
            roomy = self._read_small_files(source, listing, BUFFER_BYTES)
            assert self._read_small_files(source, listing, LIMIT_BYTES) == roomy

    def _read_small_files(self, source: Source, listing: Listing, buffer_bytes: int) -> dict[bytes, bytes]:
        """Read a directory's small files as a backup does; returns their contents by path."""
        waiting = regular_files(listing)
        found: dict[bytes, bytes] = {}
        buffer = memoryview(bytearray(buffer_bytes))
        while waiting:
            answers = source.read_small(listing, waiting, LIMIT_BYTES, buffer)
            assert 0 < len(answers) <= len(waiting), "with room for a file, one is tried"
            at = 0
            for index, answer in zip(waiting, answers, strict=False):
                if answer.size_bytes < 0:
                    assert answer.problem == TOO_LARGE
                    continue
                _check_small_read(answer)
                assert at + LIMIT_BYTES <= buffer_bytes, "a file was tried without room for it"
                found[path_in(listing, index)] = bytes(buffer[at : at + answer.size_bytes])
                at += answer.size_bytes
            waiting = waiting[len(answers) :]
        return found

    def test_without_room_nothing_is_read(self, source: Source) -> None:
        for listing in walk(source):
            buffer = memoryview(bytearray(LIMIT_BYTES - 1))
            answers = source.read_small(listing, regular_files(listing), LIMIT_BYTES, buffer)
            # A source may know without reading that a file is to be opened.
            assert [answer for answer in answers if answer.problem != TOO_LARGE] == []

    def test_a_file_above_the_limit_is_left_to_open(self, source: Source) -> None:
        for listing in walk(source):
            rows = rows_of(listing)
            for index in regular_files(listing):
                limit = rows[index].size_bytes - 1
                if 0 <= limit < LIMIT_BYTES:
                    buffer = memoryview(bytearray(LIMIT_BYTES))
                    (answer,) = source.read_small(listing, [index], limit, buffer)
                    assert (answer.size_bytes, answer.problem) == (-1, TOO_LARGE)

    def test_extents_ascend_within_the_file(self, source: Source) -> None:
        for listing in walk(source):
            for index in regular_files(listing):
                with source.open(listing, index) as file:
                    row = Row(*ROW.unpack(file.row))
                    assert _is_well_formed(row)
                    assert row.kind == stat.S_IFREG
                    extents = [Extent(*extent) for extent in file.extents]
                    assert tuple(extents) == UNKNOWN or _are_ascending(extents, row.size_bytes)

    def test_as_many_bytes_come_as_the_extents_hold(self, source: Source) -> None:
        for listing in walk(source):
            for index in regular_files(listing):
                with source.open(listing, index) as file:
                    promised = sum(extent.size_bytes for extent in file.extents)
                    got = len(read_all(file, 64 * 1024))
                    assert file.problem() == ""
                    assert tuple(file.extents) == UNKNOWN or got == promised

    @pytest.mark.parametrize("buffer_bytes", [4093, 65_536, 1_000_003])
    def test_the_size_of_the_buffer_does_not_matter(
        self, make: Make, contents: Mapping[bytes, bytes], buffer_bytes: int
    ) -> None:
        source = make()
        for listing in walk(source):
            for index in regular_files(listing):
                path = path_in(listing, index)
                if path in contents:
                    with source.open(listing, index) as file:
                        extents = tuple(file.extents)
                        got = read_all(file, buffer_bytes)
                    assert got == _of_extents(contents[path], extents)
        source.close()

    def test_reading_says_of_a_file_what_the_listing_says(self, source: Source) -> None:
        for listing in walk(source):
            listed = rows_of(listing)
            files = regular_files(listing)
            buffer = memoryview(bytearray(BUFFER_BYTES))
            answers = source.read_small(listing, files, LIMIT_BYTES, buffer)
            told = [(index, answer.row) for index, answer in zip(files, answers, strict=False)]
            for index in files:
                with source.open(listing, index) as file:
                    told.append((index, file.row))
            # A source may keep back a ctime that a later change could carry as well.
            for index, row in told:
                expected = listed[index]
                assert Row(*ROW.unpack(row)) in (expected, expected._replace(ctime_ns=0))

    def test_descriptions_come_in_order_and_are_sorted(self, source: Source) -> None:
        for listing in walk(source):
            rows = rows_of(listing)
            indexes = list(range(len(rows)))
            forward = list(source.describe(listing, indexes))
            assert len(forward) == len(rows)
            assert list(source.describe(listing, indexes[::-1])) == forward[::-1]
            for row, description in zip(rows, forward, strict=True):
                assert (row.kind == stat.S_IFLNK) == bool(description.link_target)
                names = [name for name, _value in description.xattrs]
                assert names == sorted(set(names))
                assert all(type(part) is bytes for pair in description.xattrs for part in pair)

    def test_nothing_is_asked_of_an_empty_selection(self, source: Source) -> None:
        buffer = memoryview(bytearray(LIMIT_BYTES))
        for listing in walk(source):
            assert list(source.describe(listing, [])) == []
            assert list(source.read_small(listing, [], LIMIT_BYTES, buffer)) == []

    def test_only_regular_files_are_opened(self, source: Source) -> None:
        for listing in walk(source):
            for index, row in enumerate(rows_of(listing)):
                if row.kind != stat.S_IFREG:
                    with pytest.raises(SourceUnreadable), source.open(listing, index):
                        pass

    def test_what_is_listed_is_explained_as_included(self, source: Source) -> None:
        if not isinstance(source, Explains):
            pytest.skip("this source does not explain what it includes")
        for listing in walk(source):
            for index in range(len(listing.names)):
                path = "/" + path_in(listing, index).decode("utf-8", "surrogateescape")
                assert source.explain(path).included, path


def _is_name(name: bytes) -> bool:
    return type(name) is bytes and name not in (b"", b".", b"..") and not {0, ord("/")} & {*name}


def _is_well_formed(row: Row) -> bool:
    return (
        row.kind in _KINDS
        and row.nlink >= 1
        and (row.nlink == 1 or row.kind != stat.S_IFDIR)
        # Only the size of a file may be unknown before it was read.
        and (row.size_bytes >= 0 or (row.size_bytes == -1 and row.kind == stat.S_IFREG))
        and (row.size_bytes == 0 or row.kind not in _WITHOUT_SIZE)
    )


def _check_small_read(answer: SmallRead) -> None:
    row = Row(*ROW.unpack(answer.row))
    assert _is_well_formed(row)
    assert row.kind == stat.S_IFREG
    assert answer.problem == ""
    assert row.size_bytes == answer.size_bytes <= LIMIT_BYTES


def _are_ascending(extents: Sequence[Extent], size_bytes: int) -> bool:
    end = 0
    for extent in extents:
        if extent.size_bytes <= 0 or extent.offset_bytes < end:
            return False
        end = extent.offset_bytes + extent.size_bytes
    return end <= size_bytes


def _of_extents(data: bytes, extents: Sequence[Extent]) -> bytes:
    if tuple(extents) == UNKNOWN:
        return data
    return b"".join(data[offset : offset + size] for offset, size in extents)


def _with_holes(file: OpenFile) -> bytes:
    """The whole content of an open file, its holes as zeros."""
    extents, data = tuple(file.extents), read_all(file)
    if extents == UNKNOWN:
        return data
    whole = bytearray(Row(*ROW.unpack(file.row)).size_bytes)
    at = 0
    for offset, size in extents:
        whole[offset : offset + size] = data[at : at + size]
        at += size
    return bytes(whole)
