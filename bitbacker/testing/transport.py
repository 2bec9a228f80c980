"""The promises of `bitbacker.spi.transport` as tests: subclass `TransportContract`, override `connect`.

    class TestMyTransport(TransportContract):
        @pytest.fixture
        def connect(self, my_server: str) -> Connect:
            return lambda: MyTransport(f"mine://{my_server}/", MyTransport.Config())

The storage must be fresh and empty for every test, and writable.  What an append-only credential may
not do is tested to be denied, when the transport's abilities say `append_only`.  What needs a power
cut is not tested here; docs/transports.md says how a transport can test that itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier, Condition, Event
from typing import ClassVar, TypeVar

import pytest

from bitbacker.errors import ObjectExists, ObjectMissing, StorageDenied, StorageError
from bitbacker.spi import API_VERSION, Abilities, Buffer, FetchesMany, ObjectInfo, Transport
from bitbacker.testing.contract import Contract

T = TypeVar("T")

Connect = Callable[[], Transport]
"""Opens one more connection to the same storage."""

KIB = 1024
MIB = 1024 * KIB
OBJECT_SIZES_BYTES = (4 * KIB, 64 * KIB, 256 * KIB, 4 * MIB)
"""What a repository stores; other sizes must work, too."""
ODD_SIZES_BYTES = (0, 1, 4 * KIB - 1, 64 * KIB + 1, 1_000_003, 4 * MIB - 1)

REFUSED_NAMES = (
    "",
    "/",
    ".",
    "..",
    "../keyslots",
    "/keyslots",
    "keyslots/",
    "keyslots\n",
    "keyslots\0",
    "Keyslots",
    "k\u00e9yslots",
    ".tmp",
    "key.slots",
    "heads/0",
    "heads/" + "0" * 15,
    "heads/" + "0" * 17,
    "heads/" + "A" * 16,
    "heads//" + "0" * 16,
    "heads/../" + "0" * 16,
    "heads/heads/" + "0" * 16,
    "segments/" + "0" * 33,
    "segments/" + "0" * 31 + "\n",
    "segments\\" + "0" * 32,
)
RACERS = 32
CONNECTIONS = 4
RACES = 24
TIMEOUT_S = 60.0


def head(number: int) -> str:
    return f"heads/{number:016x}"


def segment(number: int) -> str:
    return f"segments/{number:032x}"


def payload(size_bytes: int, seed: str = "") -> bytes:
    """Bytes that look random, the same for the same arguments."""
    return hashlib.shake_128(f"{seed}/{size_bytes}".encode()).digest(size_bytes)


def in_threads(count: int, act: Callable[[int], T]) -> list[T]:
    """What `act(0)`, `act(1)` and so on returned, begun at once in a thread each, or the first error."""
    start = Barrier(count, timeout=TIMEOUT_S)

    def begin(thread: int) -> T:
        start.wait()
        return act(thread)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def put_all(transport: Transport, names: Sequence[str], data: bytes = b"x") -> None:
    """Put `data` under each name, from a few threads."""

    def put(worker: int) -> None:
        for name in names[worker::CONNECTIONS]:
            transport.put(name, data)

    in_threads(CONNECTIONS, put)


def spread_names(count: int) -> Sequence[str]:
    """Names of segments as a repository has them: spread evenly, in no order."""
    return [f"segments/{payload(16, f'name {number}').hex()}" for number in range(count)]


def meanwhile(steps: Iterator[None], look: Callable[[], None], observers: int = 2) -> None:
    """Take `steps` while observers `look` again and again, between any two steps and behind the last."""
    condition = Condition()
    looks = [0] * observers
    over = Event()

    def observe(observer: int) -> None:
        while not over.is_set():
            look()
            with condition:
                looks[observer] += 1
                condition.notify_all()
        look()

    def looked_again(before: Sequence[int]) -> bool:
        # The look under way may have begun before the step: the next one counts.
        return over.is_set() or all(now >= then + 2 for now, then in zip(looks, before, strict=True))

    def change() -> None:
        for _ in steps:
            with condition:
                condition.wait_for(partial(looked_again, list(looks)), TIMEOUT_S)

    def act(thread: int) -> None:
        try:
            change() if thread == observers else observe(thread)
        finally:
            over.set()
            with condition:
                condition.notify_all()

    in_threads(observers + 1, act)


@contextmanager
def eager_switching() -> Iterator[None]:
    """Threads take turns so often that a check and an act that are two steps come apart."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class TransportContract(Contract, kit=True):
    """Everything that a transport promises."""

    listing_length: ClassVar[int] = 5_000
    """How many objects a complete listing is tested with; more than one page of the storage."""

    @pytest.fixture
    def connect(self) -> Connect:
        """To be overridden: each call opens a connection to one storage, which is empty at first."""
        raise NotImplementedError

    @pytest.fixture
    def transport(self, connect: Connect) -> Iterator[Transport]:
        """A connection."""
        transport = connect()
        yield transport
        transport.close()

    @pytest.fixture
    def other(self, connect: Connect) -> Iterator[Transport]:
        """Another connection to the same storage: another client."""
        other = connect()
        yield other
        other.close()

    # What it says of itself.

    def test_it_is_made_for_this_version_of_the_contract(self, transport: Transport) -> None:
        assert transport.api_version == API_VERSION
        assert dataclasses.is_dataclass(transport.Config)

    def test_abilities_are_sane_and_do_not_change(self, transport: Transport) -> None:
        abilities = transport.abilities
        assert isinstance(abilities, Abilities)
        assert abilities.concurrency >= 1
        limit_bytes = abilities.max_object_size_bytes
        assert limit_bytes == 0 or limit_bytes >= max(OBJECT_SIZES_BYTES)
        assert not abilities.read_only, "the kit needs a storage that it may write to"
        transport.put(head(1), b"x")
        assert transport.abilities == abilities

    # Put and get.

    @pytest.mark.parametrize("size_bytes", OBJECT_SIZES_BYTES + ODD_SIZES_BYTES)
    def test_what_was_put_is_got(self, transport: Transport, other: Transport, size_bytes: int) -> None:
        data = payload(size_bytes)
        transport.put(segment(1), data)
        for reader in (transport, other):
            got = reader.get(segment(1))
            assert type(got) is bytes
            assert got == data
            assert list(reader.list("segments/")) == [ObjectInfo(segment(1), size_bytes)]

    @pytest.mark.parametrize("name", ["keyslots", head(0), head(2**64 - 1), segment(0), segment(2**128 - 1)])
    def test_every_kind_of_name_can_be_used(self, transport: Transport, name: str) -> None:
        transport.put(name, b"abc")
        assert transport.get(name) == b"abc"
        assert list(transport.list("")) == [ObjectInfo(name, 3)]

    @pytest.mark.parametrize(
        "wrap",
        [
            bytes,
            bytearray,
            memoryview,
            lambda data: memoryview(bytearray(data)),
            lambda data: memoryview(b"before" + data + b"behind")[6:-6],
            lambda data: memoryview(bytearray(b"before" + data + b"behind"))[6:-6],
        ],
        ids=["bytes", "bytearray", "view", "writable view", "part", "writable part"],
    )
    @pytest.mark.parametrize("size_bytes", [0, 3, 64 * KIB])
    def test_every_buffer_is_taken(
        self, transport: Transport, wrap: Callable[[bytes], Buffer], size_bytes: int
    ) -> None:
        data = payload(size_bytes)
        transport.put(segment(1), wrap(data))
        transport.put(segment(2), wrap(data), replace=not transport.abilities.append_only)
        assert transport.get(segment(1)) == data
        assert transport.get(segment(2)) == data

    @pytest.mark.parametrize("size_bytes", [4 * KIB, 4 * MIB])
    def test_the_buffer_may_be_reused_after_put(self, transport: Transport, size_bytes: int) -> None:
        buffer = bytearray(size_bytes)
        contents = [payload(size_bytes, f"use {use}") for use in range(4)]
        for use, data in enumerate(contents):
            buffer[:] = data
            transport.put(segment(use), memoryview(buffer))
            assert bytes(buffer) == data, "put changed the caller's bytes"
        buffer[:] = bytes(size_bytes)
        assert [transport.get(segment(use)) for use in range(4)] == contents

    def test_an_absent_object_is_missing(self, transport: Transport) -> None:
        for name in ("keyslots", head(1), segment(1)):
            with pytest.raises(ObjectMissing) as caught:
                transport.get(name)
            assert caught.value.name == name
        transport.put(head(2), b"x")
        transport.put("keyslots", b"x")
        for name in (head(1), segment(1)):
            with pytest.raises(ObjectMissing):
                transport.get(name)

    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_name_out_of_pattern_is_refused(self, transport: Transport, name: str) -> None:
        with pytest.raises(StorageError):
            transport.put(name, b"x")
        with pytest.raises(StorageError):
            transport.put(name, b"x", replace=True)
        with pytest.raises(StorageError):
            transport.get(name)
        with pytest.raises(StorageError):
            transport.delete([name])
        assert list(transport.list("")) == []

    def test_many_objects_come_at_once_or_one_by_one(self, transport: Transport) -> None:
        objects = {segment(number): payload(1_000 + number) for number in range(50)}
        for name, data in objects.items():
            transport.put(name, data)
        if not isinstance(transport, FetchesMany):
            assert {name: transport.get(name) for name in objects} == objects
            return
        got = list(transport.get_many(iter(objects)))
        assert len(got) == len(objects)
        assert dict(got) == objects
        assert list(transport.get_many([])) == []
        with pytest.raises(ObjectMissing):
            list(transport.get_many([*objects, segment(1_000)]))

    # The overwrite rule.

    @pytest.mark.parametrize("second", [b"first", b"other", b"", b"longer than the first"])
    def test_an_existing_name_is_never_changed(
        self, transport: Transport, other: Transport, second: bytes
    ) -> None:
        for name in ("keyslots", head(1), segment(1)):
            transport.put(name, b"first")
            for late in (transport, other):
                with pytest.raises(ObjectExists) as caught:
                    late.put(name, second)
                assert caught.value.name == name
                assert transport.get(name) == b"first"
                assert other.get(name) == b"first"
        assert [row.size_bytes for row in transport.list("")] == [5, 5, 5]

    def test_replace_changes_an_existing_object(self, transport: Transport, other: Transport) -> None:
        transport.put("keyslots", b"first")
        if transport.abilities.append_only:
            with pytest.raises(StorageDenied):
                transport.put("keyslots", b"second", replace=True)
            assert transport.get("keyslots") == b"first"
            return
        for data in (b"second and longer", b"3", b"", payload(4 * KIB)):
            transport.put("keyslots", data, replace=True)
            assert transport.get("keyslots") == data
            assert other.get("keyslots") == data
            assert list(other.list("")) == [ObjectInfo("keyslots", len(data))]
        with pytest.raises(ObjectExists):
            transport.put("keyslots", b"exclusive")

    def test_replace_makes_an_absent_object(self, transport: Transport) -> None:
        if transport.abilities.append_only:
            return
        transport.put("keyslots", b"x", replace=True)
        assert transport.get("keyslots") == b"x"

    def test_of_racing_puts_exactly_one_wins(self, connect: Connect) -> None:
        connections = [connect() for _ in range(CONNECTIONS)]
        if not connections[0].abilities.exclusive_put:
            pytest.skip("the transport says of itself that it has no exclusive put")
        barrier = Barrier(RACERS, timeout=TIMEOUT_S)
        contents = [payload(4 * KIB, f"racer {racer}") for racer in range(RACERS)]

        def race(racer: int) -> list[int]:
            """Numbers of the races that this one won."""
            won = []
            for number in range(RACES):
                barrier.wait()
                try:
                    connections[racer % CONNECTIONS].put(head(number), contents[racer])
                except ObjectExists:
                    continue
                won.append(number)
            return won

        with eager_switching():
            won = in_threads(RACERS, race)
        winners = [[racer for racer in range(RACERS) if number in won[racer]] for number in range(RACES)]
        assert [len(racers) for racers in winners] == [1] * RACES, "not exactly one winner in each race"
        for connection in connections:
            for number, (racer,) in enumerate(winners):
                assert connection.get(head(number)) == contents[racer], "the winner's bytes are not stored"
            connection.close()

    # Atomicity and visibility.

    def test_a_change_is_seen_by_others_at_once(self, transport: Transport, other: Transport) -> None:
        for number in range(20):
            name = segment(number)
            with pytest.raises(ObjectMissing):
                other.get(name)
            transport.put(name, payload(4 * KIB))
            assert [row.name for row in other.list("segments/")][-1] == name
            assert other.get(name) == payload(4 * KIB)
        if transport.abilities.append_only:
            return
        for number in range(20):
            transport.delete([segment(number)])
            assert segment(number) not in [row.name for row in other.list("segments/")]
            with pytest.raises(ObjectMissing):
                other.get(segment(number))

    def test_nobody_sees_a_part_of_an_object(self, transport: Transport, other: Transport) -> None:
        names = [segment(number) for number in range(8)]
        data = payload(4 * MIB)

        def write() -> Iterator[None]:
            for name in names:
                transport.put(name, data)
                yield

        def look() -> None:
            for row in other.list("segments/"):
                assert row.size_bytes == len(data), "a listing shows an object that is not whole"
            for name in names:
                try:
                    got = other.get(name)
                except ObjectMissing:
                    return
                assert got == data, "a reader got an object that is not whole"

        meanwhile(write(), look)
        assert [row.name for row in other.list("segments/")] == names

    def test_a_replaced_object_is_the_old_or_the_new_one(
        self, transport: Transport, other: Transport
    ) -> None:
        if transport.abilities.append_only:
            return
        contents = [payload(256 * KIB + number, "replaced") for number in range(10)]
        transport.put("keyslots", contents[0])
        seen = [0]

        def replace() -> Iterator[None]:
            for data in contents[1:]:
                transport.put("keyslots", data, replace=True)
                yield

        def look() -> None:
            got = other.get("keyslots")
            assert got in contents, "a reader got neither the old nor the new object"
            now = contents.index(got)
            assert now >= seen[-1], "a reader saw an older object again"
            seen.append(now)

        meanwhile(replace(), look, observers=1)
        assert other.get("keyslots") == contents[-1]

    # Listing.

    def test_a_place_that_does_not_exist_lists_as_empty(self, transport: Transport) -> None:
        for prefix in ("", "heads/", "segments/"):
            assert list(transport.list(prefix)) == []
        transport.put(head(1), b"x")
        assert list(transport.list("segments/")) == []

    def test_a_listing_has_what_begins_with_the_prefix_and_nothing_else(self, transport: Transport) -> None:
        names = ["a/" + "0" * 16, "aa/" + "0" * 16, "aa/" + "0" * 32, "ab", "b/" + "f" * 16, "keyslots"]
        for size_bytes, name in enumerate(reversed(names)):
            transport.put(name, bytes(size_bytes))
        rows = [ObjectInfo(name, len(names) - 1 - place) for place, name in enumerate(names)]
        assert list(transport.list("")) == rows
        assert list(transport.list("a/")) == rows[0:1]
        assert list(transport.list("aa/")) == rows[1:3]
        assert list(transport.list("b/")) == rows[4:5]

    def test_a_long_listing_is_complete_and_ascends(self, connect: Connect) -> None:
        names = spread_names(self.listing_length)
        connections = [connect() for _ in range(CONNECTIONS)]

        def fill(worker: int) -> None:
            for name in names[worker :: len(connections)]:
                connections[worker].put(name, bytes(int(name[-1], 16)))

        in_threads(len(connections), fill)
        expected = [ObjectInfo(name, int(name[-1], 16)) for name in sorted(names)]
        for connection in connections[:2]:
            assert list(connection.list("segments/")) == expected
        assert list(connections[0].list("")) == expected
        for connection in connections:
            connection.close()

    def test_a_deletion_during_a_long_listing_hides_nothing_else(
        self, transport: Transport, other: Transport
    ) -> None:
        if transport.abilities.append_only:
            return
        names = sorted(spread_names(min(self.listing_length, 2_000)))
        put_all(transport, names)
        rows = other.list("segments/")
        listed = [next(rows).name for _ in range(2)]
        transport.delete(names[1::2])
        listed += [row.name for row in rows]
        assert listed == sorted(set(listed))
        assert [name for name in listed if name in set(names[::2])] == names[::2]

    def test_listings_are_independent_and_may_be_left_early(self, transport: Transport) -> None:
        names = [head(number) for number in range(20)]
        for name in names:
            transport.put(name, b"x")
        first, second = transport.list("heads/"), transport.list("heads/")
        assert next(first).name == next(second).name == names[0]
        assert [row.name for row in second] == names[1:]
        assert [row.name for row in first] == names[1:]
        left_early = transport.list("heads/")
        next(left_early)
        del left_early
        transport.put(head(20), b"x")
        assert len(list(transport.list("heads/"))) == len(names) + 1

    def test_what_stays_is_listed_while_others_come_and_go(
        self, transport: Transport, other: Transport
    ) -> None:
        staying = [segment(number) for number in range(0, 100, 2)]
        put_all(transport, staying)

        def come_and_go() -> Iterator[None]:
            for number in range(1, 100, 2):
                transport.put(segment(number), b"x")
                yield
                if not transport.abilities.append_only:
                    transport.delete([segment(number)])
                    yield

        def look() -> None:
            listed = [row.name for row in other.list("segments/")]
            assert listed == sorted(set(listed))
            assert set(staying) <= set(listed), "an object that was never touched is not listed"

        meanwhile(come_and_go(), look)

    # Deleting.

    def test_deleted_objects_are_gone_and_others_stay(self, transport: Transport, other: Transport) -> None:
        names = ["keyslots", *(head(n) for n in range(10)), *(segment(n) for n in range(10))]
        for name in names:
            transport.put(name, b"x")
        doomed = ["keyslots", head(3), *(segment(n) for n in range(0, 10, 2))]
        if transport.abilities.append_only:
            with pytest.raises(StorageDenied):
                transport.delete(doomed)
            assert [row.name for row in transport.list("")] == sorted(names)
            return
        transport.delete(iter(doomed))
        for reader in (transport, other):
            assert [row.name for row in reader.list("")] == sorted(set(names) - set(doomed))
            for name in doomed:
                with pytest.raises(ObjectMissing):
                    reader.get(name)

    def test_an_absent_object_counts_as_deleted(self, transport: Transport, other: Transport) -> None:
        if transport.abilities.append_only:
            return
        transport.delete([])
        transport.delete(["keyslots", head(1), segment(1)])
        transport.put(head(1), b"x")
        transport.put(head(2), b"x")
        transport.delete([head(0), head(1), head(1), segment(1)])
        transport.delete([head(1)])
        other.delete([head(1)])
        assert [row.name for row in transport.list("")] == [head(2)]

    def test_racing_deletions_all_succeed(self, transport: Transport, other: Transport) -> None:
        if transport.abilities.append_only:
            return
        names = [segment(number) for number in range(100)]
        put_all(transport, names)
        with eager_switching():
            in_threads(8, lambda worker: (transport, other)[worker % 2].delete(names))
        assert list(transport.list("")) == []

    # Threads and closing.

    def test_all_calls_may_come_from_many_threads(self, transport: Transport) -> None:
        append_only = transport.abilities.append_only

        def work(worker: int) -> None:
            for turn in range(10):
                name = segment(worker * 1_000 + turn)
                data = payload(10_000 + worker, name)
                transport.put(name, data)
                assert transport.get(name) == data
                assert ObjectInfo(name, len(data)) in list(transport.list("segments/"))
                if not append_only:
                    transport.delete([name])
                    assert name not in [row.name for row in transport.list("segments/")]

        in_threads(max(8, transport.abilities.concurrency), work)

    def test_closing_twice_is_harmless_and_touches_no_other_connection(
        self, connect: Connect, other: Transport
    ) -> None:
        unused = connect()
        unused.close()
        unused.close()
        used = connect()
        used.put(head(1), b"x")
        used.close()
        used.close()
        assert other.get(head(1)) == b"x"
        assert [row.name for row in other.list("")] == [head(1)]
