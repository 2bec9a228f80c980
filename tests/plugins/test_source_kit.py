"""Controls of the source kit: each broken promise is caught by the test that is there for it."""

from __future__ import annotations

import inspect
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import ClassVar

import pytest

from bitbacker.errors import SourceUnreadable
from bitbacker.spi import (
    API_VERSION,
    ROW,
    TOO_LARGE,
    Description,
    Explanation,
    Extent,
    Listing,
    NoConfig,
    OnProblem,
    SmallRead,
    Source,
)
from bitbacker.testing.source import Make, SourceContract

Tree = Mapping[bytes, bytes | None]
"""Contents by path; None is a directory, and a path that ends in `@` a symlink."""

TREE: Tree = {
    b"a": None,
    b"a!": b"sorts between a and what is in a, but comes after it",
    b"a/empty": b"",
    b"a/large": bytes(200_000) + b"end",
    b"a/link@": b"small",
    b"a/second name of twin": b"twins",
    b"a/small": b"small",
    b"a/twin": b"twins",
    b"b": None,
    b"b/c": None,
    b"b/c/odd": b"o" * 100_001,
    b"b/sparse": b"start" + bytes(50_000) + b"end",
}
FILES = {path: data for path, data in TREE.items() if data is not None and not path.endswith(b"@")}


class MemoryFile:
    """A file with its zeros in the middle left out as a hole."""

    def __init__(self, row: bytes, data: bytes) -> None:
        self.row = row
        start = len(data.split(bytes(1000), 1)[0])
        end = len(data) - len(data.rsplit(bytes(1000), 1)[-1]) if start < len(data) else len(data)
        parts = [(0, start), (end, len(data) - end)]
        self.extents: Sequence[Extent] = tuple(Extent(*part) for part in parts if part[1])
        self._rest = b"".join(data[offset : offset + size] for offset, size in self.extents)

    def readinto(self, buffer: memoryview) -> int:
        got = min(len(buffer), len(self._rest))
        buffer[:got] = self._rest[:got]
        self._rest = self._rest[got:]
        return got

    def problem(self) -> str:
        return ""

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class MemorySource:
    """A source that keeps every promise, to be broken one by one."""

    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[NoConfig]] = NoConfig
    walks = 0

    def __init__(self, config: NoConfig | None = None) -> None:
        self.config = config

    def roots(self) -> tuple[str, ...]:
        return ("memory",)

    def row(self, path: bytes) -> bytes:
        data = TREE[path]
        if data is None:
            return ROW.pack(stat.S_IFDIR | 0o755, 1, 2, 1, 0, 0, 5, 6, 7)
        kind = stat.S_IFLNK if path.endswith(b"@") else stat.S_IFREG
        twin = data == b"twins"
        return ROW.pack(kind | 0o644, 1, 2, 1 + twin, 0, len(data), 5, 6, 4 if twin else 7 + len(path))

    def listing(self, path: bytes) -> Listing:
        prefix = path + b"/" if path else b""
        names = sorted(
            other[len(prefix) :]
            for other in TREE
            if other.startswith(prefix) and b"/" not in other[len(prefix) :]
        )
        return Listing(path, tuple(names), b"".join(self.row(prefix + name) for name in names))

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:  # noqa: ARG002  # nothing goes wrong here
        type(self).walks += 1
        for path in sorted((b"", b"a", b"b", b"b/c"), key=lambda path: path.split(b"/") if path else []):
            yield self.listing(path)

    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        on_the_way = {path.rpartition(b"/")[0] for path in paths}
        return (one for one in self.walk(on_problem) if one.path in {b"", *paths, *on_the_way})

    def path(self, listing: Listing, index: int) -> bytes:
        name = listing.names[index]
        return listing.path + b"/" + name if listing.path else name

    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        answers: list[SmallRead] = []
        at = 0
        for index in indexes:
            if at + limit_bytes > len(into):
                break
            path = self.path(listing, index)
            data = FILES[path]
            if len(data) > limit_bytes:
                answers.append(SmallRead(-1, self.row(path), TOO_LARGE))
                continue
            into[at : at + len(data)] = data
            at += len(data)
            answers.append(SmallRead(len(data), self.row(path)))
        return answers

    def describe(self, listing: Listing, indexes: Sequence[int]) -> Sequence[Description]:
        return [self.description(self.path(listing, index)) for index in indexes]

    def description(self, path: bytes) -> Description:
        target = TREE[path] if path.endswith(b"@") else b""
        return Description(target or b"", ((b"user.a", path), (b"user.b", b"")))

    def open(self, listing: Listing, index: int) -> MemoryFile:
        path = self.path(listing, index)
        if path not in FILES:
            raise SourceUnreadable("no regular file")
        return MemoryFile(self.row(path), FILES[path])

    def explain(self, path: str) -> Explanation:
        return Explanation(included=True, reason=path)

    def close(self) -> None:
        pass


class TestMemorySource(SourceContract):
    @pytest.fixture
    def make(self) -> Make:
        return MemorySource

    @pytest.fixture
    def contents(self) -> Mapping[bytes, bytes]:
        return FILES


def run(test: str, source: type[Source], **arguments: object) -> None:
    """Call one test of the kit with a source of this class."""
    fixtures = {"make": source, "source": source(None), "contents": FILES, **arguments}
    function = getattr(SourceContract(), test)
    wanted = inspect.signature(function).parameters
    function(**{name: value for name, value in fixtures.items() if name in wanted})


class OfAnotherVersion(MemorySource):
    api_version = API_VERSION + 1


class Rootless(MemorySource):
    def roots(self) -> tuple[str, ...]:
        return ()


class WalksBottomUp(MemorySource):
    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        yield from sorted(super().walk(on_problem), key=lambda listing: -len(listing.path))


class YieldsADirectoryTwice(MemorySource):
    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        for listing in super().walk(on_problem):
            yield listing
            yield listing


class ListsWhatWasNoEntry(MemorySource):
    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        yield from super().walk(on_problem)
        yield Listing(b"c", (), b"")


class SortsNamesBackwards(MemorySource):
    def listing(self, path: bytes) -> Listing:
        listing = super().listing(path)
        return replace(listing, names=listing.names[::-1])


class NamesWithSlashes(MemorySource):
    def listing(self, path: bytes) -> Listing:
        listing = super().listing(path)
        return replace(listing, names=tuple(name + b"/" for name in listing.names))


class NamesWithNul(MemorySource):
    def listing(self, path: bytes) -> Listing:
        listing = super().listing(path)
        return replace(listing, names=tuple(name + b"\0" for name in listing.names))


class VisitsOnlyTheFirst(MemorySource):
    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        return super().revisit(paths[:1], on_problem)


class VisitsAnotherTree(MemorySource):
    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        visited = super().revisit(paths, on_problem)
        return (replace(one, names=one.names[:1], rows=one.rows[: ROW.size]) for one in visited)


class LosesARow(MemorySource):
    def listing(self, path: bytes) -> Listing:
        listing = super().listing(path)
        return replace(listing, rows=listing.rows[: -ROW.size])


class CountsLinksOfDirectories(MemorySource):
    def row(self, path: bytes) -> bytes:
        fields = list(ROW.unpack(super().row(path)))
        fields[3] += TREE[path] is None
        return ROW.pack(*fields)


class SizesBelowZero(MemorySource):
    def row(self, path: bytes) -> bytes:
        fields = list(ROW.unpack(super().row(path)))
        fields[5] -= 2
        return ROW.pack(*fields)


class KnowsNoTypes(MemorySource):
    def row(self, path: bytes) -> bytes:
        mode, *rest = ROW.unpack(super().row(path))
        return ROW.pack(mode & 0o7777, *rest)


class ShowsDeviceNumbers(MemorySource):
    def row(self, path: bytes) -> bytes:
        fields = list(ROW.unpack(super().row(path)))
        fields[4] = 65_024
        return ROW.pack(*fields)


class HidesTheInodeOfLinkedFiles(MemorySource):
    def row(self, path: bytes) -> bytes:
        return ROW.pack(*ROW.unpack(super().row(path))[:-1], 0)


class LinksOfDifferentFiles(MemorySource):
    """The same inode for files that are not one."""

    def row(self, path: bytes) -> bytes:
        fields = list(ROW.unpack(super().row(path)))
        if TREE[path] is not None:
            fields[3], fields[8] = 2, 4
        return ROW.pack(*fields)


class NeverTheSameTwice(MemorySource):
    def row(self, path: bytes) -> bytes:
        fields = list(ROW.unpack(super().row(path)))
        fields[6] += self.walks
        return ROW.pack(*fields)


class CannotBeginAgain(MemorySource):
    begun = False

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        if self.begun:
            return
        self.begun = True
        yield from super().walk(on_problem)


class ReportsProblems(MemorySource):
    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        yield from super().walk(on_problem)
        on_problem(b"a", "unreadable")


class AnswersFromAnotherFile(MemorySource):
    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        answers = super().read_small(listing, indexes, limit_bytes, into)
        into[:1] = b"X"
        return answers


class LeavesGaps(MemorySource):
    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        answers = super().read_small(listing, indexes, limit_bytes, into)
        into[1:] = bytes(into[:-1])
        return answers


class TriesWithoutRoom(MemorySource):
    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        room = memoryview(bytearray(10 * len(into)))
        answers = super().read_small(listing, indexes, limit_bytes, room)
        into[:] = room[: len(into)]
        return answers


class NeverAnswers(MemorySource):
    def read_small(
        self,
        listing: Listing,  # noqa: ARG002  # the fault
        indexes: Sequence[int],  # noqa: ARG002  # the fault
        limit_bytes: int,  # noqa: ARG002  # the fault
        into: memoryview,  # noqa: ARG002  # the fault
    ) -> Sequence[SmallRead]:
        return []


class IgnoresTheLimit(MemorySource):
    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        return super().read_small(listing, indexes, max(limit_bytes, 10**5), into)


class ChangesItsMind(MemorySource):
    """Rows of read files differ from those that were listed."""

    def open(self, listing: Listing, index: int) -> MemoryFile:
        file = super().open(listing, index)
        mode, *rest = ROW.unpack(file.row)
        file.row = ROW.pack(mode ^ 0o100, *rest)
        return file


class OpensBadly(MemorySource):
    """A base for faults of open files."""

    def open(self, listing: Listing, index: int) -> MemoryFile:
        file = super().open(listing, index)
        self.spoil(file)
        return file

    def spoil(self, file: MemoryFile) -> None:
        raise NotImplementedError


class ExtentsOverlap(OpensBadly):
    def spoil(self, file: MemoryFile) -> None:
        file.extents = (*file.extents, *file.extents)


class ExtentsBeyondTheEnd(OpensBadly):
    def spoil(self, file: MemoryFile) -> None:
        file.extents = (*file.extents, Extent(10**6, 1))


class EmptyExtents(OpensBadly):
    def spoil(self, file: MemoryFile) -> None:
        file.extents = (Extent(0, 0), *file.extents)


class StopsEarly(OpensBadly):
    def spoil(self, file: MemoryFile) -> None:
        file._rest = file._rest[:-1]


class ForgetsHoles(OpensBadly):
    def spoil(self, file: MemoryFile) -> None:
        file.extents = (Extent(0, len(file._rest)),) if file._rest else ()


class ShortReads(OpensBadly):
    def spoil(self, file: MemoryFile) -> None:
        whole = file.readinto
        vars(file)["readinto"] = lambda buffer: whole(buffer[: max(len(buffer) // 2, 1)])


class AlwaysChanged(OpensBadly):
    def spoil(self, file: MemoryFile) -> None:
        vars(file)["problem"] = lambda: "changed"


class OpensDirectories(MemorySource):
    def open(self, listing: Listing, index: int) -> MemoryFile:
        path = self.path(listing, index)
        return MemoryFile(self.row(path), TREE[path] or b"")


class DescribesBackwards(MemorySource):
    def describe(self, listing: Listing, indexes: Sequence[int]) -> Sequence[Description]:
        return super().describe(listing, sorted(indexes))


class ForgetsTargets(MemorySource):
    def description(self, path: bytes) -> Description:
        return super().description(path)._replace(link_target=b"")


class UnsortedAttributes(MemorySource):
    def description(self, path: bytes) -> Description:
        description = super().description(path)
        return description._replace(xattrs=description.xattrs[::-1])


class DescribesEverything(MemorySource):
    def describe(self, listing: Listing, indexes: Sequence[int]) -> Sequence[Description]:
        return super().describe(listing, indexes or range(len(listing.names)))


class ExplainsSomethingElse(MemorySource):
    def explain(self, path: str) -> Explanation:
        return Explanation(included=path != "/a/small", reason="")


FAULTS: list[tuple[type[MemorySource], str]] = [
    (OfAnotherVersion, "test_it_declares_what_it_is"),
    (Rootless, "test_its_roots_are_words"),
    (WalksBottomUp, "test_listings_ascend_from_the_root"),
    (YieldsADirectoryTwice, "test_listings_ascend_from_the_root"),
    (ListsWhatWasNoEntry, "test_every_directory_was_an_entry_before"),
    (SortsNamesBackwards, "test_names_ascend_and_are_names"),
    (NamesWithSlashes, "test_names_ascend_and_are_names"),
    (NamesWithNul, "test_names_ascend_and_are_names"),
    (LosesARow, "test_rows_are_well_formed"),
    (CountsLinksOfDirectories, "test_rows_are_well_formed"),
    (SizesBelowZero, "test_rows_are_well_formed"),
    (KnowsNoTypes, "test_rows_are_well_formed"),
    (ShowsDeviceNumbers, "test_file_systems_are_numbered_as_they_come"),
    (HidesTheInodeOfLinkedFiles, "test_names_of_one_file_can_be_told_and_agree"),
    (LinksOfDifferentFiles, "test_names_of_one_file_can_be_told_and_agree"),
    (NeverTheSameTwice, "test_two_walks_of_unchanged_data_are_equal"),
    (CannotBeginAgain, "test_a_walk_can_be_left_and_begun_again"),
    (ReportsProblems, "test_listings_ascend_from_the_root"),
    (AnswersFromAnotherFile, "test_small_files_are_read_back_to_back"),
    (LeavesGaps, "test_small_files_are_read_back_to_back"),
    (TriesWithoutRoom, "test_a_buffer_that_is_just_large_enough_is_enough"),
    (NeverAnswers, "test_small_files_are_read_back_to_back"),
    (TriesWithoutRoom, "test_without_room_nothing_is_read"),
    (IgnoresTheLimit, "test_a_file_above_the_limit_is_left_to_open"),
    (ChangesItsMind, "test_reading_says_of_a_file_what_the_listing_says"),
    (ExtentsOverlap, "test_extents_ascend_within_the_file"),
    (ExtentsBeyondTheEnd, "test_extents_ascend_within_the_file"),
    (EmptyExtents, "test_extents_ascend_within_the_file"),
    (StopsEarly, "test_as_many_bytes_come_as_the_extents_hold"),
    (StopsEarly, "test_files_hold_what_they_hold"),
    (ForgetsHoles, "test_files_hold_what_they_hold"),
    (ShortReads, "test_as_many_bytes_come_as_the_extents_hold"),
    (AlwaysChanged, "test_as_many_bytes_come_as_the_extents_hold"),
    (OpensDirectories, "test_only_regular_files_are_opened"),
    (DescribesBackwards, "test_descriptions_come_in_order_and_are_sorted"),
    (ForgetsTargets, "test_descriptions_come_in_order_and_are_sorted"),
    (UnsortedAttributes, "test_descriptions_come_in_order_and_are_sorted"),
    (DescribesEverything, "test_nothing_is_asked_of_an_empty_selection"),
    (VisitsOnlyTheFirst, "test_directories_are_visited_again_as_they_were"),
    (VisitsAnotherTree, "test_directories_are_visited_again_as_they_were"),
    (ExplainsSomethingElse, "test_what_is_listed_is_explained_as_included"),
]


@pytest.mark.parametrize(
    ("source", "test"), FAULTS, ids=[f"{source.__name__}-{test[5:30]}" for source, test in FAULTS]
)
def test_a_broken_promise_is_caught(source: type[MemorySource], test: str) -> None:
    run(test, MemorySource)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(test, source)


@pytest.mark.parametrize("fault", [StopsEarly, ShortReads])
def test_a_buffer_of_another_size_shows(fault: type[MemorySource]) -> None:
    name = "test_the_size_of_the_buffer_does_not_matter"
    run(name, MemorySource, buffer_bytes=4093)
    with pytest.raises(AssertionError):
        run(name, fault, buffer_bytes=4093)


def test_every_test_of_the_kit_has_a_fault_that_it_finds() -> None:
    promised = {name for name in vars(SourceContract) if name.startswith("test_")}
    caught = {test for _source, test in FAULTS} | {"test_the_size_of_the_buffer_does_not_matter"}
    # Closing twice cannot fail in a way that a control would make clearer.
    assert promised - caught == {"test_closing_twice_is_harmless"}
