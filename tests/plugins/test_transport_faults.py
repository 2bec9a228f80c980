"""The transports that record, crash, fail, lie and interleave do exactly that, and nothing besides."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from threading import Event

import pytest

from bitbacker.errors import ObjectExists, ObjectMissing, ObjectsLocked, StorageError, StorageFull
from bitbacker.spi import NoConfig, Transport
from bitbacker.testing.faults import (
    Crash,
    CrashingTransport,
    FailingTransport,
    Fault,
    GatedTransport,
    Interleaving,
    LockingTransport,
    LyingTransport,
    Operation,
    Record,
    RecordingTransport,
)
from bitbacker.testing.transport import Connect, TransportContract, head, segment
from bitbacker_plugins.memory import MemoryTransport

URL = "memory://faults"


@pytest.fixture
def inner() -> Iterator[MemoryTransport]:
    yield MemoryTransport(URL, NoConfig())
    MemoryTransport.drop(URL)


def names_in(transport: Transport) -> list[str]:
    return [row.name for row in transport.list("")]


class TestWrappersThatDoNothingKeepTheContract(TransportContract):
    listing_length = 500

    @pytest.fixture(params=["recording", "crashing", "failing", "lying", "locking", "gated"])
    def connect(self, request: pytest.FixtureRequest) -> Iterator[Connect]:
        url = f"memory://{request.node.name}"
        wrap: dict[str, Callable[[Transport], Transport]] = {
            "recording": RecordingTransport,
            "crashing": CrashingTransport,
            "failing": FailingTransport,
            "lying": lambda inner: LyingTransport(inner, "corrupt", lambda _: False),
            "locking": lambda inner: LockingTransport(inner, 0),
            "gated": lambda inner: GatedTransport(inner, lambda _: None),
        }
        yield lambda: wrap[request.param](MemoryTransport(url, NoConfig()))
        MemoryTransport.drop(url)


def test_a_recording_transport_tells_what_was_done_and_what_failed(inner: MemoryTransport) -> None:
    transport = RecordingTransport(inner)
    transport.put(head(1), b"abc")
    with pytest.raises(ObjectExists):
        transport.put(head(1), b"other")
    transport.get(head(1))
    list(transport.list("heads/"))
    transport.delete([head(1), head(2)])
    done = (
        Operation("put", head(1), 3),
        Operation("get", head(1), 3),
        Operation("list", "heads/"),
        Operation("delete", head(1)),
        Operation("delete", head(2)),
    )
    assert transport.log == done
    assert transport.records[1] == Record(Operation("put", head(1), 5), ObjectExists)
    transport.clear()
    assert transport.log == ()


@pytest.mark.parametrize(
    ("mode", "stored"),
    [("before", [b"0"]), ("after", [b"0", b"12345678"]), ("torn", [b"0", b"1234"])],
)
def test_a_crashing_transport_dies_at_its_operation(
    inner: MemoryTransport, mode: str, stored: list[bytes]
) -> None:
    transport = CrashingTransport(inner, 2, mode)
    transport.put(head(0), b"0")
    assert transport.get(head(0)) == b"0"
    with pytest.raises(Crash):
        transport.put(head(1), b"12345678")
    assert transport.crashed
    assert [inner.get(name) for name in names_in(inner)] == stored


@pytest.mark.parametrize("mode", ["before", "after", "torn"])
def test_each_deletion_of_a_batch_is_an_operation_to_crash_at(inner: MemoryTransport, mode: str) -> None:
    for number in range(4):
        inner.put(head(number), b"x")
    transport = CrashingTransport(inner, 3, mode)
    with pytest.raises(Crash):
        transport.delete([head(number) for number in range(4)])
    assert names_in(inner) == ([head(3)] if mode == "after" else [head(2), head(3)])


def test_the_dead_reach_the_storage_no_more(inner: MemoryTransport) -> None:
    inner.put(head(0), b"x")
    recorder = RecordingTransport(inner)
    transport = CrashingTransport(recorder, 1)
    calls: list[Callable[[], object]] = [
        lambda: transport.put(head(1), b"x"),
        lambda: transport.put(head(1), b"x", replace=True),
        lambda: transport.get(head(0)),
        lambda: transport.list(""),
        lambda: transport.delete([head(0)]),
    ]
    for call in calls:
        with pytest.raises(Crash):
            call()
    transport.close()
    assert recorder.records == ()
    assert names_in(inner) == [head(0)], "closing reached the storage"


def test_no_handler_for_errors_survives_a_crash() -> None:
    assert not issubclass(Crash, Exception)


def test_a_refusal_is_not_heard_by_the_dead(inner: MemoryTransport) -> None:
    inner.put(head(0), b"x")
    with pytest.raises(Crash):
        CrashingTransport(inner, 1, "after").put(head(0), b"y")


def test_a_count_without_a_crash_says_how_many_places_there_are(inner: MemoryTransport) -> None:
    mutations, all_operations = CrashingTransport(inner), CrashingTransport(inner, count_reads=True)
    for number, transport in enumerate((mutations, all_operations)):
        transport.put(head(number), b"x")
        transport.get(head(number))
        list(transport.list(""))
        transport.delete([head(number), head(9)])
    assert (mutations.count, all_operations.count) == (3, 5)
    assert not mutations.crashed


def test_reads_are_places_to_crash_at_when_they_are_counted(inner: MemoryTransport) -> None:
    inner.put(head(0), b"x")
    transport = CrashingTransport(inner, 1, "after", count_reads=True)
    with pytest.raises(Crash):
        transport.get(head(0))


def full() -> StorageError:
    return StorageFull("no space left")


def test_a_fault_strikes_once_at_the_nth_matching_operation(inner: MemoryTransport) -> None:
    transport = FailingTransport(inner, Fault("put", full, nth=2, prefix="segments/"))
    transport.put(head(1), b"x")
    transport.put(segment(1), b"x")
    transport.put(head(2), b"x")
    with pytest.raises(StorageFull):
        transport.put(segment(2), b"x")
    transport.put(segment(2), b"x")
    assert transport.struck == 1
    assert names_in(inner) == [head(1), head(2), segment(1), segment(2)]


def test_a_fault_for_ever_strikes_again_and_again(inner: MemoryTransport) -> None:
    inner.put(head(1), b"x")
    transport = FailingTransport(inner, Fault("get", full, nth=2, forever=True))
    transport.get(head(1))
    for _ in range(3):
        with pytest.raises(StorageFull):
            transport.get(head(1))
    assert transport.struck == 3


def test_an_executed_fault_loses_only_the_answer(inner: MemoryTransport) -> None:
    transport = FailingTransport(inner, Fault("put", lambda: StorageError("timed out"), executed=True))
    with pytest.raises(StorageError, match="timed out"):
        transport.put(head(1), b"x")
    assert inner.get(head(1)) == b"x"
    with pytest.raises(ObjectExists):
        transport.put(head(1), b"x")


def test_two_faults_of_one_kind_count_apart(inner: MemoryTransport) -> None:
    transport = FailingTransport(inner, Fault("put", full, nth=1), Fault("put", full, nth=2))
    for _ in range(2):
        with pytest.raises(StorageFull):
            transport.put(head(1), b"x")
    transport.put(head(1), b"x")


def test_a_forgotten_put_is_acknowledged_and_not_there(inner: MemoryTransport) -> None:
    transport = LyingTransport(inner, "forget", lambda operation: operation.name == head(1))
    transport.put(head(1), b"x")
    transport.put(head(2), b"x")
    assert names_in(transport) == [head(2)]
    with pytest.raises(ObjectMissing):
        transport.get(head(1))


def test_a_forgotten_deletion_leaves_the_object(inner: MemoryTransport) -> None:
    inner.put(head(1), b"x")
    inner.put(head(2), b"x")
    LyingTransport(inner, "forget", lambda operation: operation.name == head(1)).delete([head(1), head(2)])
    assert names_in(inner) == [head(1)]


def test_a_corrupted_object_differs_in_one_bit(inner: MemoryTransport) -> None:
    LyingTransport(inner, "corrupt").put(head(1), bytes(8))
    difference = int.from_bytes(inner.get(head(1)), "big")
    assert difference.bit_length() > 0
    assert difference & (difference - 1) == 0


def test_a_hidden_object_can_be_got_but_is_not_listed(inner: MemoryTransport) -> None:
    transport = LyingTransport(inner, "hide", lambda operation: operation.name == head(1))
    transport.put(head(1), b"x")
    transport.put(head(2), b"x")
    assert transport.get(head(1)) == b"x"
    assert names_in(transport) == [head(2)]


def test_a_gate_comes_before_the_operation(inner: MemoryTransport) -> None:
    seen: list[tuple[str, list[str]]] = []
    transport = GatedTransport(inner, lambda operation: seen.append((operation.kind, names_in(inner))))
    transport.put(head(1), b"x")
    transport.delete([head(1)])
    assert seen == [("put", []), ("delete", [head(1)])]


def race(choose: Callable[[list[str]], str]) -> tuple[list[tuple[str, Operation]], dict[str, int]]:
    """Three clients race for four names; returns the history and how many names each one won."""
    MemoryTransport.drop(URL)
    schedule = Interleaving(choose)

    def client(name: str) -> Callable[[], int]:
        transport = GatedTransport(MemoryTransport(URL, NoConfig()), schedule.gate(name))

        def act() -> int:
            won = 0
            for number in range(4):
                try:
                    transport.put(head(number), name.encode())
                except ObjectExists:
                    continue
                won += 1
            return won

        return act

    outcomes = schedule.run({name: client(name) for name in "abc"})
    MemoryTransport.drop(URL)
    return schedule.history, {name: outcome.result for name, outcome in outcomes.items()}


def test_equal_choices_give_equal_interleavings() -> None:
    histories = []
    for seed in range(30):
        first, won = race(random.Random(seed).choice)
        again, _ = race(random.Random(seed).choice)
        assert first == again, f"seed {seed}"
        assert sum(won.values()) == 4
        histories.append(tuple(client for client, _ in first))
    assert len(set(histories)) > 20, "the choices do not matter"


def test_the_choice_decides_who_wins() -> None:
    _, won = race(max)
    assert won == {"a": 0, "b": 0, "c": 4}


def test_a_client_that_crashes_lets_the_others_go_on(inner: MemoryTransport) -> None:
    schedule = Interleaving(min)
    dying = GatedTransport(CrashingTransport(inner, 1), schedule.gate("a"))
    living = GatedTransport(inner, schedule.gate("b"))
    outcomes = schedule.run({"a": lambda: dying.put(head(1), b"a"), "b": lambda: living.put(head(1), b"b")})
    assert isinstance(outcomes["a"].error, Crash)
    assert outcomes["b"].error is None
    assert inner.get(head(1)) == b"b"


def test_an_error_of_the_choice_ends_the_run(inner: MemoryTransport) -> None:
    schedule = Interleaving(lambda _: 1 / 0)
    transport = GatedTransport(inner, schedule.gate("a"))
    with pytest.raises(ZeroDivisionError):
        schedule.run({"a": lambda: transport.put(head(1), b"x")})
    assert names_in(inner) == []


def test_a_client_that_waits_for_another_one_inside_its_turn_is_an_error(inner: MemoryTransport) -> None:
    released = Event()
    schedule = Interleaving(min, timeout_s=0.05)
    transport = GatedTransport(inner, schedule.gate("b"))
    with pytest.raises(TimeoutError, match="client a"):
        schedule.run({"a": lambda: released.wait(10), "b": lambda: transport.put(head(1), b"x")})
    released.set()
    assert names_in(inner) == []


def test_a_locking_transport_keeps_what_was_put_until_its_time(inner: MemoryTransport) -> None:
    times = [100.0]
    inner.put(segment(0), b"from before")
    transport = LockingTransport(inner, 50, lambda: times[-1])
    transport.put(segment(1), b"first")
    times.append(120.0)
    transport.put(segment(2), b"second")
    for names in ([segment(1), segment(0), segment(2)], [segment(2), segment(1)]):
        with pytest.raises(ObjectsLocked) as caught:
            transport.delete(names)
        assert (caught.value.names, caught.value.free_at_s) == ({segment(1), segment(2)}, 170.0)
        assert names_in(inner) == [segment(1), segment(2)] == sorted(transport.locked())
    times.append(150.0)
    with pytest.raises(ObjectsLocked) as caught:
        transport.delete([segment(2), segment(1)])
    assert (caught.value.names, names_in(inner)) == ({segment(2)}, [segment(2)])
    times.append(170.0)
    transport.delete([segment(2)])
    assert names_in(inner) == []


def test_a_locking_transport_allows_replacing_and_begins_anew(inner: MemoryTransport) -> None:
    times = [0.0]
    transport = LockingTransport(inner, 50, lambda: times[-1])
    transport.put("keyslots", b"old")
    times.append(40.0)
    transport.put("keyslots", b"new", replace=True)
    times.append(60.0)
    with pytest.raises(ObjectsLocked):
        transport.delete(["keyslots"])
    assert inner.get("keyslots") == b"new"


def test_a_refused_put_locks_nothing(inner: MemoryTransport) -> None:
    inner.put(head(1), b"theirs")
    transport = LockingTransport(inner, 50)
    with pytest.raises(ObjectExists):
        transport.put(head(1), b"mine")
    transport.delete([head(1)])
    assert names_in(inner) == []


@pytest.mark.parametrize("wrap", [RecordingTransport, CrashingTransport, FailingTransport])
def test_what_is_locked_behind_a_wrapper_holds_up_none_of_the_others(
    inner: MemoryTransport, wrap: Callable[[Transport], Transport]
) -> None:
    locking = LockingTransport(inner, 50, lambda: 0.0)
    transport = wrap(locking)
    transport.put(segment(1), b"locked")
    inner.put(segment(2), b"free")
    with pytest.raises(ObjectsLocked) as caught:
        transport.delete([segment(1), segment(2)])
    assert (caught.value.names, names_in(inner)) == ({segment(1)}, [segment(1)])
