"""Controls of the transport kit: each broken promise is caught by the test that is there for it."""

from __future__ import annotations

import inspect
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import get_ident

import pytest

from bitbacker.errors import BitBackerError, ObjectExists, ObjectMissing, StorageError
from bitbacker.spi import Abilities, Buffer, NoConfig, ObjectInfo, Transport
from bitbacker.testing.faults import LyingTransport
from bitbacker.testing.patience import patient
from bitbacker.testing.transport import MIB, TransportContract
from bitbacker_plugins.memory import MemoryTransport

Caller = Callable[[Transport], Transport]

numbers = itertools.count()


class SmallKit(TransportContract, kit=True):
    """Two thousand names tell a page from a listing as well as five thousand do."""

    listing_length = 2_000


def run(test: str, open_url: Callable[[str], Transport], **arguments: object) -> None:
    """Call one test of the kit with fresh connections made by `open_url`."""
    url = f"memory://kit-{next(numbers)}"

    def connect() -> Transport:
        return open_url(url)

    fixtures = {"connect": connect, "transport": connect(), "other": connect()}
    function = getattr(SmallKit(), test)
    wanted = inspect.signature(function).parameters
    try:
        function(**{name: value for name, value in fixtures.items() if name in wanted}, **arguments)
    finally:
        MemoryTransport.drop(url)


def hasty(transport: Transport) -> Transport:
    """Patient, without the waiting."""
    return patient(transport, lambda _: None)


class OverwritesWhatExists(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:  # noqa: ARG002  # the fault
        super().put(name, data, replace=True)


class KeepsQuietWhenTheNameIsTaken(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        if replace or name not in self._objects:
            super().put(name, data, replace=True)


class LooksBeforeItPuts(MemoryTransport):
    """Checks and acts in two steps, so that two writers can both pass the check."""

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        self._check(name)
        if name in self._objects and not replace:
            raise ObjectExists(name)
        time.sleep(1e-6)
        self._objects[name] = bytes(data)


class PutsBeforeItLooks(MemoryTransport):
    """Tells the loser, but keeps the loser's bytes."""

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        taken = name in self._objects and not replace
        super().put(name, data, replace=True)
        if taken:
            raise ObjectExists(name)


class WritesInPlace(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        super().put(name, memoryview(data)[: len(data) // 2], replace=replace)
        time.sleep(0.002)
        super().put(name, data, replace=True)


class ReplacesByDeleting(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        if replace:
            self.delete([name])
            time.sleep(0.002)
        super().put(name, data)


class NeverReplaces(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        try:
            super().put(name, data)
        except ObjectExists:
            if not replace:
                raise


class ReplacesOnlyWhatExists(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        if replace:
            self.get(name)
        super().put(name, data, replace=replace)


class KeepsTheBuffer(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        super().put(name, b"", replace=replace)
        self._objects[name] = data

    def get(self, name: str) -> bytes:
        return bytes(super().get(name))


class ScrubsTheBuffer(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        super().put(name, data, replace=replace)
        view = memoryview(data)
        if not view.readonly:
            view[:] = bytes(len(view))


class TakesOnlyBytes(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        if not isinstance(data, bytes):
            raise TypeError("a bytes-like object that is not bytes")
        super().put(name, data, replace=replace)


class ReturnsABytearray(MemoryTransport):
    def get(self, name: str) -> bytes:
        return bytearray(super().get(name))


class RoundsSizesUp(MemoryTransport):
    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        super().put(name, bytes(data) + bytes(-len(data) % 512), replace=replace)


class HasAnErrorOfItsOwnForMissing(MemoryTransport):
    def get(self, name: str) -> bytes:
        self._check(name)
        return self._objects[name]


class CallsMissingAStorageError(MemoryTransport):
    def get(self, name: str) -> bytes:
        try:
            return super().get(name)
        except ObjectMissing as error:
            raise StorageError("HTTP 404") from error


class TakesAnyName(MemoryTransport):
    def _check(self, name: str) -> None:
        del name


class TakesALineEnd(MemoryTransport):
    """What re.match and a dollar do."""

    def _check(self, name: str) -> None:
        super()._check(name.removesuffix("\n"))


class ListsAsItComes(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(
            [
                row
                for name in self._objects
                for row in super(ListsAsItComes, self).list(prefix)
                if row.name == name
            ]
        )


class ListsBackwards(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter([*super().list(prefix)][::-1])


class ListsOnePage(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return itertools.islice(super().list(prefix), 1_000)


class ListsThePageBorderTwice(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for number, row in enumerate(super().list(prefix)):
            yield row
            if number == 999:
                yield row


class ListsWithoutSizes(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (ObjectInfo(row.name, 0) for row in super().list(prefix))


class ListsNeighbours(MemoryTransport):
    """Forgets the slash of the prefix."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (row for row in super().list("") if row.name.startswith(prefix.rstrip("/")))


class ListsAnyPrefix(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (row for row in super().list("") if row.name.startswith(prefix))


class ListsAbsentPlacesAsMissing(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        rows = [*super().list(prefix)]
        if not rows:
            raise ObjectMissing(prefix)
        return iter(rows)


class ListsWhileOthersWrite(MemoryTransport):
    """Iterates over what other threads change."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        del prefix
        rows = []
        for name in self._objects:
            time.sleep(1e-6)
            rows.append(ObjectInfo(name, len(self._objects[name])))
        return iter(sorted(rows, key=lambda row: row.name))


class SkipsWhatMovedWhileListing(MemoryTransport):
    """Pages by offset: a deletion before the offset hides a row behind it."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        offset = 0
        while page := [*super().list(prefix)][offset : offset + 10]:
            yield from page
            offset += len(page)


class StopsListingWhenDisturbed(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        before = len(self._objects)
        rows = [*super().list(prefix)]
        time.sleep(0.0001)
        return iter(rows[: len(rows) // 2] if len(self._objects) != before else rows)


class SharesOneCursor(MemoryTransport):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._rows = super().list(prefix)
        while (row := next(self._rows, None)) is not None:
            yield row


class MissesWhenDeletingTheAbsent(MemoryTransport):
    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self.get(name)
            super().delete([name])


class DeletesOnlyTheFirst(MemoryTransport):
    def delete(self, names: Iterable[str]) -> None:
        super().delete(itertools.islice(names, 1))


class DeletesNothing(MemoryTransport):
    def delete(self, names: Iterable[str]) -> None:
        del names


class DeletesTheWholePlace(MemoryTransport):
    def delete(self, names: Iterable[str]) -> None:
        places = {name.rpartition("/")[0] for name in names}
        super().delete([row.name for row in self.list("") if row.name.rpartition("/")[0] in places])


class DeletesTwiceAsOne(MemoryTransport):
    """Another one deleting at the same time is an error."""

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._objects:
                time.sleep(1e-6)
                del self._objects[name]


class CannotCloseTwice(MemoryTransport):
    def close(self) -> None:
        self._check_open()
        super().close()


class CloseEndsTheStore(MemoryTransport):
    def close(self) -> None:
        super().close()
        self._objects.clear()


class BelongsToOneThread(MemoryTransport):
    _owner = 0

    def get(self, name: str) -> bytes:
        self._owner = self._owner or get_ident()
        if self._owner != get_ident():
            raise StorageError("this connection belongs to another thread")
        return super().get(name)


class ShowsOldThings(MemoryTransport):
    """Remembers what it listed first."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._cache = getattr(self, "_cache", None) or [*super().list(prefix)]
        return iter(self._cache)


class RemembersWhatIsAbsent(MemoryTransport):
    def get(self, name: str) -> bytes:
        self._absent = getattr(self, "_absent", set())
        if name in self._absent or name not in self._objects:
            self._absent.add(name)
            raise ObjectMissing(name)
        return super().get(name)


class HasNoConcurrency(MemoryTransport):
    @property
    def abilities(self) -> Abilities:
        return Abilities(exclusive_put=True, concurrency=0)


class TakesOnlySmallObjects(MemoryTransport):
    @property
    def abilities(self) -> Abilities:
        return Abilities(exclusive_put=True, max_object_size_bytes=MIB)


class IsMadeForAnotherContract(MemoryTransport):
    api_version = 0


class LosesOneOfMany(MemoryTransport):
    def get_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return ((name, self.get(name)) for name in [*names][:-1])


class MixesUpMany(MemoryTransport):
    def get_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        asked = [*names]
        return zip(asked, [self.get(name) for name in asked[::-1]], strict=True)


class SkipsTheMissingOfMany(MemoryTransport):
    def get_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return ((name, self.get(name)) for name in names if name in self._objects)


BROKEN: list[tuple[type[MemoryTransport], str, dict[str, object]]] = [
    (OverwritesWhatExists, "test_an_existing_name_is_never_changed", {"second": b"other"}),
    (OverwritesWhatExists, "test_of_racing_puts_exactly_one_wins", {}),
    (KeepsQuietWhenTheNameIsTaken, "test_an_existing_name_is_never_changed", {"second": b"first"}),
    (LooksBeforeItPuts, "test_of_racing_puts_exactly_one_wins", {}),
    (PutsBeforeItLooks, "test_an_existing_name_is_never_changed", {"second": b"other"}),
    (PutsBeforeItLooks, "test_of_racing_puts_exactly_one_wins", {}),
    (WritesInPlace, "test_nobody_sees_a_part_of_an_object", {}),
    (ReplacesByDeleting, "test_a_replaced_object_is_the_old_or_the_new_one", {}),
    (WritesInPlace, "test_a_replaced_object_is_the_old_or_the_new_one", {}),
    (NeverReplaces, "test_replace_changes_an_existing_object", {}),
    (ReplacesOnlyWhatExists, "test_replace_makes_an_absent_object", {}),
    (KeepsTheBuffer, "test_the_buffer_may_be_reused_after_put", {"size_bytes": 4096}),
    (ScrubsTheBuffer, "test_the_buffer_may_be_reused_after_put", {"size_bytes": 4096}),
    (TakesOnlyBytes, "test_every_buffer_is_taken", {"wrap": memoryview, "size_bytes": 3}),
    (ReturnsABytearray, "test_what_was_put_is_got", {"size_bytes": 4096}),
    (RoundsSizesUp, "test_what_was_put_is_got", {"size_bytes": 1}),
    (HasAnErrorOfItsOwnForMissing, "test_an_absent_object_is_missing", {}),
    (CallsMissingAStorageError, "test_an_absent_object_is_missing", {}),
    (TakesAnyName, "test_a_name_out_of_pattern_is_refused", {"name": "../keyslots"}),
    (TakesALineEnd, "test_a_name_out_of_pattern_is_refused", {"name": "keyslots\n"}),
    (ListsAsItComes, "test_a_listing_has_what_begins_with_the_prefix_and_nothing_else", {}),
    (ListsBackwards, "test_a_long_listing_is_complete_and_ascends", {}),
    (ListsOnePage, "test_a_long_listing_is_complete_and_ascends", {}),
    (ListsThePageBorderTwice, "test_a_long_listing_is_complete_and_ascends", {}),
    (ListsWithoutSizes, "test_what_was_put_is_got", {"size_bytes": 4096}),
    (ListsNeighbours, "test_a_listing_has_what_begins_with_the_prefix_and_nothing_else", {}),
    (ListsAnyPrefix, "test_a_prefix_out_of_pattern_is_refused", {"prefix": "heads"}),
    (ListsAbsentPlacesAsMissing, "test_a_place_that_does_not_exist_lists_as_empty", {}),
    (ListsWhileOthersWrite, "test_all_calls_may_come_from_many_threads", {}),
    (SkipsWhatMovedWhileListing, "test_a_deletion_during_a_long_listing_hides_nothing_else", {}),
    (StopsListingWhenDisturbed, "test_what_stays_is_listed_while_others_come_and_go", {}),
    (SharesOneCursor, "test_listings_are_independent_and_may_be_left_early", {}),
    (MissesWhenDeletingTheAbsent, "test_an_absent_object_counts_as_deleted", {}),
    (DeletesOnlyTheFirst, "test_deleted_objects_are_gone_and_others_stay", {}),
    (DeletesNothing, "test_deleted_objects_are_gone_and_others_stay", {}),
    (DeletesTheWholePlace, "test_deleted_objects_are_gone_and_others_stay", {}),
    (DeletesTwiceAsOne, "test_racing_deletions_all_succeed", {}),
    (CannotCloseTwice, "test_closing_twice_is_harmless_and_touches_no_other_connection", {}),
    (CloseEndsTheStore, "test_closing_twice_is_harmless_and_touches_no_other_connection", {}),
    (BelongsToOneThread, "test_all_calls_may_come_from_many_threads", {}),
    (ShowsOldThings, "test_a_change_is_seen_by_others_at_once", {}),
    (RemembersWhatIsAbsent, "test_a_change_is_seen_by_others_at_once", {}),
    (HasNoConcurrency, "test_abilities_are_sane_and_do_not_change", {}),
    (TakesOnlySmallObjects, "test_abilities_are_sane_and_do_not_change", {}),
    (IsMadeForAnotherContract, "test_it_is_made_for_this_version_of_the_contract", {}),
    (LosesOneOfMany, "test_many_objects_come_at_once_or_one_by_one", {}),
    (MixesUpMany, "test_many_objects_come_at_once_or_one_by_one", {}),
    (SkipsTheMissingOfMany, "test_many_objects_come_at_once_or_one_by_one", {}),
]
CASES = pytest.mark.parametrize(
    ("broken", "test", "arguments"), BROKEN, ids=[f"{broken.__name__}-{test}" for broken, test, _ in BROKEN]
)


CALLERS = pytest.mark.parametrize(
    "caller", [lambda transport: transport, hasty], ids=["impatient", "patient"]
)


@CALLERS
@CASES
def test_a_broken_transport_fails(
    broken: type[MemoryTransport], test: str, arguments: dict[str, object], caller: Caller
) -> None:
    complaints = (AssertionError, BitBackerError, pytest.fail.Exception, KeyError, RuntimeError, TypeError)
    with pytest.raises(complaints):
        run(test, lambda url: caller(broken(url, NoConfig())), **arguments)


@CALLERS
@CASES
def test_a_sound_transport_passes_the_same(
    broken: type[MemoryTransport], test: str, arguments: dict[str, object], caller: Caller
) -> None:
    del broken
    run(test, lambda url: caller(MemoryTransport(url, NoConfig())), **arguments)


@pytest.mark.parametrize("lie", ["forget", "corrupt", "hide"])
def test_a_lying_transport_fails(lie: str) -> None:
    with pytest.raises((AssertionError, ObjectMissing)):
        run(
            "test_what_was_put_is_got",
            lambda url: LyingTransport(MemoryTransport(url, NoConfig()), lie),
            size_bytes=4096,
        )


def test_every_test_of_the_kit_has_a_control() -> None:
    """Except for what differs from another test by its names or sizes only."""
    controlled = {test for _, test, _ in BROKEN} | {
        "test_every_kind_of_name_can_be_used",
        "test_every_test_of_the_contract_is_run",
    }
    assert {name for name in dir(TransportContract) if name.startswith("test_")} == controlled


def documented(tag: str) -> str:
    """The Python blocks of docs/transports.md, one behind the other."""
    text = (Path(__file__).parents[2] / "docs" / "transports.md").read_text()
    return "\n".join(re.findall(rf"^```{tag}\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


namespace: dict[str, type[TransportContract]] = {}
exec(compile(documented("python"), "docs/transports.md", "exec"), namespace)


class TestTheTransportOfTheDocumentation(namespace["TestSqlite"]):
    """What docs/transports.md shows to plugin authors keeps the contract, word for word."""

    listing_length = 100
