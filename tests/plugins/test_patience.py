"""A patient transport repeats what the framework would repeat, and hides nothing else."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest

from bitbacker.errors import ObjectExists, ObjectMissing, StorageDenied, StorageError
from bitbacker.repo.storage import Storage
from bitbacker.spi import Buffer, FetchesMany, NoConfig, ObjectInfo, Transport
from bitbacker.testing.faults import FailingTransport, Fault, Operation, RecordingTransport, WrappedTransport
from bitbacker.testing.patience import patient
from bitbacker.testing.transport import Connect, TransportContract, head, segment
from bitbacker_plugins.memory import MemoryTransport

URL = "memory://patience"
T = TypeVar("T")


class Moody(WrappedTransport):
    """Every third call fails and may be repeated: some before anything is done, some behind it.

    No thread meets two failures in a row.  A put fails behind it, or is refused: who finds the own bytes
    after a failure cannot know better than that they come from that attempt.
    """

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self._numbers = itertools.count(1)
        self._mine = threading.local()

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        number = next(self._numbers)
        fails = number % 3 == 0 and not getattr(self._mine, "failed", False)
        self._mine.failed = fails
        if fails and number % 2 and operation.kind != "put":
            raise StorageError(f"not now: {operation}")
        result = proceed()
        if fails:
            raise StorageError(f"the answer is lost: {operation}")
        return result

    def delete(self, names: Iterable[str]) -> None:
        wanted = [*names]
        self.around(Operation("delete", "many"), lambda: self.inner.delete(wanted))


@pytest.fixture
def inner() -> Iterator[MemoryTransport]:
    yield MemoryTransport(URL, NoConfig())
    MemoryTransport.drop(URL)


def hasty(transport: Transport) -> Transport:
    """Patient, without the waiting."""
    return patient(transport, lambda _: None)


class TestAMoodyStorageKeepsTheContractBeforeAPatientCaller(TransportContract):
    listing_length = 500

    @pytest.fixture
    def connect(self, request: pytest.FixtureRequest) -> Iterator[Connect]:
        url = f"memory://{request.node.name}"
        yield lambda: hasty(Moody(MemoryTransport(url, NoConfig())))
        MemoryTransport.drop(url)


def test_control_before_an_impatient_caller_it_does_not(inner: MemoryTransport) -> None:
    transport = Moody(inner)
    assert [list(transport.list("")) for _ in range(2)] == [[], []]
    with pytest.raises(StorageError, match="not now"):
        transport.list("")


def test_it_tries_as_often_as_the_framework_and_waits_as_long(inner: MemoryTransport) -> None:
    waits: dict[str, list[float]] = {"framework": [], "kit": []}
    dead = FailingTransport(inner, Fault("get", error=lambda: StorageError("dead"), forever=True))
    for waited, get in (
        (waits["framework"], Storage(dead, waits["framework"].append).get),
        (waits["kit"], patient(dead, waits["kit"].append).get),
    ):
        longest = [0.0] * 5
        for _ in range(200):
            waited.clear()
            with pytest.raises(StorageError, match="dead"):
                get("keyslots")
            longest = [max(pair) for pair in zip(longest, waited, strict=True)]
        waited[:] = longest
    assert waits["kit"] == pytest.approx(waits["framework"], rel=0.2)


@pytest.mark.parametrize("error", [StorageDenied("no"), ObjectMissing("keyslots")])
def test_what_would_not_help_is_not_repeated(inner: MemoryTransport, error: StorageError) -> None:
    transport = RecordingTransport(FailingTransport(inner, Fault("get", error=lambda: error)))
    with pytest.raises(type(error)):
        hasty(transport).get("keyslots")
    assert len(transport.records) == 1


def test_a_name_or_prefix_that_is_none_is_refused_at_once(inner: MemoryTransport) -> None:
    transport = RecordingTransport(inner)
    calls: list[Callable[[], object]] = [
        lambda: hasty(transport).put("../x", b""),
        lambda: hasty(transport).get("../x"),
        lambda: hasty(transport).delete(["../x"]),
        lambda: list(hasty(transport).list("../")),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="no "):
            call()
    assert len(transport.records) == len(calls)


class LosesTheAnswer(WrappedTransport):
    """The first put of each name is done, and reported as failed."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self._put: set[str] = set()

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        super().put(name, data, replace=replace)
        if name not in self._put:
            self._put.add(name)
            raise StorageError("the answer is lost")


def test_a_put_whose_answer_was_lost_knows_its_own_bytes(inner: MemoryTransport) -> None:
    transport = hasty(LosesTheAnswer(inner))
    transport.put(head(1), b"x")
    assert inner.get(head(1)) == b"x"
    for data in (b"x", b"y"):
        with pytest.raises(ObjectExists):
            transport.put(head(1), data)


def test_what_somebody_else_has_stored_meanwhile_is_told(inner: MemoryTransport) -> None:
    class LosesTheRace(WrappedTransport):
        def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
            if not list(inner.list("")):
                inner.put(name, b"the other one's")
                raise StorageError("busy")
            super().put(name, data, replace=replace)

    with pytest.raises(ObjectExists):
        hasty(LosesTheRace(inner)).put(head(1), b"mine")
    assert inner.get(head(1)) == b"the other one's"


def test_a_listing_that_breaks_goes_on_behind_the_last_row(inner: MemoryTransport) -> None:
    class Breaks(WrappedTransport):
        breaks = iter([0, 2, 3])

        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            rows = inner.list(prefix)
            yield from itertools.islice(rows, next(self.breaks, None))
            if (row := next(rows, None)) is not None:
                yield row
                raise StorageError("the connection is lost")

    for number in range(6):
        inner.put(segment(number), b"x")
    transport = hasty(Breaks(inner))
    rows = transport.list("segments/")
    assert next(rows).name == segment(0)
    assert [row.name for row in rows] == [segment(number) for number in range(1, 6)]


def test_it_offers_many_at_once_where_the_transport_does(inner: MemoryTransport) -> None:
    class Many(MemoryTransport):
        tried = 0

        def get_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
            for name in names:
                yield name, self.get(name)
                self.tried += 1
                if self.tried == 1:
                    raise StorageError("the connection is lost")

    assert not isinstance(hasty(inner), FetchesMany)
    inner.put(head(1), b"x")
    inner.put(head(2), b"y")
    transport = hasty(Many(URL, NoConfig()))
    assert isinstance(transport, FetchesMany)
    assert list(transport.get_many(iter([head(1), head(2)]))) == [(head(1), b"x"), (head(2), b"y")]
