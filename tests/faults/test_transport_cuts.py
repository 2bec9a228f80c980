"""One call on a connection that breaks at any byte: it is done, or its error says that it may be repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from bitbacker.errors import ObjectExists, ObjectMissing, StorageError
from bitbacker.repo.storage import Storage
from bitbacker.spi import ObjectInfo, Transport
from bitbacker.testing.faults import RecordingTransport
from bitbacker.testing.patience import patient
from bitbacker.testing.transport import KIB, head, payload, put_all, segment
from far_servers import FarServer, no_retries
from tcp_proxy import Direction, Fault, Kind, TcpProxy

DATA = payload(64 * KIB)
LISTED = 40
# A connection of SSH takes its time to come back; one of HTTP does not.
CUTS = {"sftp": 6, "moto": 10, "rclone": 20}
BREAKS = (Kind.CUT, Kind.RESET)
OPTIONS = {"timeout_s": 20.0}


@dataclass
class Scene:
    """A server behind a proxy, and a patient transport that goes straight to it."""

    server: FarServer
    place: str
    proxy: TcpProxy
    direct: Transport

    def transport(self) -> Transport:
        return self.server.transport(self.place, self.proxy.address, **OPTIONS)

    @property
    def cuts(self) -> int:
        """In how many places each call is cut, in each direction."""
        return CUTS[self.server.name]

    def passing(self, call: Callable[[], object]) -> dict[Direction, int]:
        """How many bytes a call moves when nothing goes wrong."""
        before = {direction: self.proxy.passed(direction) for direction in Direction}
        call()
        return {direction: self.proxy.passed(direction) - before[direction] for direction in Direction}


@pytest.fixture
def scene(far: FarServer, place: str) -> Iterator[Scene]:
    with (
        TcpProxy(far.address) as proxy,
        closing(far.transport(place, far.address, **OPTIONS)) as direct,
    ):
        yield Scene(far, place, proxy, patient(direct))


def cuts(rng: random.Random, size: int, count: int) -> Sequence[int]:
    """Places from the first byte to the last, each at random within its share of `size`."""
    inner = [int((at + rng.random()) * size / (count - 2)) for at in range(count - 2)]
    return sorted({0, *inner, size - 1})


def faults(rng: random.Random, moved: dict[Direction, int], count: int) -> Iterator[Fault]:
    """Breaks of both kinds and both directions all over a call."""
    for direction in Direction:
        for after_bytes in cuts(rng, moved[direction], count):
            yield Fault(rng.choice(BREAKS), direction, after_bytes)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or its error when it may be repeated; any other error fails the test."""
    try:
        return call()
    except StorageError as error:
        if not error.retryable:
            raise
        return error


def test_a_read_that_is_cut_anywhere_returns_all_or_may_be_repeated(scene: Scene, rng: random.Random) -> None:
    names = [segment(number) for number in range(LISTED)]
    put_all(scene.direct, names, DATA)
    listing = [ObjectInfo(name, len(DATA)) for name in names]
    with closing(scene.transport()) as transport:
        for call, expected in (
            (lambda: transport.get(names[0]), DATA),
            (lambda: list(transport.list("segments/")), listing),
        ):
            assert expected == call()
            broken = 0
            for fault in faults(rng, scene.passing(call), scene.cuts):
                print(fault)
                scene.proxy.trap(fault)
                had = outcome(call)
                broken += isinstance(had, StorageError)
                assert isinstance(had, StorageError) or had == expected
                scene.proxy.untrap()
                if had == expected:
                    # What broke was behind the call, so the next one is the first to see it.
                    outcome(call)
                # The broken connection is forgotten: the next call needs no second attempt.
                assert expected == call()
            assert broken > scene.cuts // 2, "the control: cuts do break calls"


def test_a_put_that_is_cut_anywhere_leaves_all_or_nothing(scene: Scene, rng: random.Random) -> None:
    with closing(scene.transport()) as transport:
        patient(transport).put(segment(0), DATA)
        moved = scene.passing(lambda: transport.put(segment(1), DATA))
        broken = 0
        for number, fault in enumerate(faults(rng, moved, scene.cuts), 2):
            print(fault)
            scene.proxy.trap(fault)
            broken += outcome(partial(transport.put, segment(number), DATA)) is not None
            scene.proxy.untrap()
            left = [info for info in scene.direct.list("segments/") if info.name == segment(number)]
            assert left in ([], [ObjectInfo(segment(number), len(DATA))])
            Storage(transport).put_new(segment(number), DATA)
            assert DATA == scene.direct.get(segment(number))
        assert broken > scene.cuts // 2, "the control: cuts do break calls"
    assert [segment(at) for at in range(number + 1)] == [info.name for info in scene.direct.list("")]


def test_a_deletion_that_is_cut_anywhere_can_be_repeated(scene: Scene, rng: random.Random) -> None:
    names = [segment(number) for number in range(5)]
    kept = segment(99)
    scene.direct.put(kept, b"x")
    put_all(scene.direct, names, b"x")
    with closing(scene.transport()) as transport:
        transport.get(kept)
        moved = scene.passing(lambda: transport.delete(names))
        broken = 0
        for fault in faults(rng, moved, scene.cuts):
            print(fault)
            put_all(scene.direct, [name for name in names if not present(scene.direct, name)], b"x")
            scene.proxy.trap(fault)
            broken += outcome(lambda: transport.delete(names)) is not None
            scene.proxy.untrap()
            patient(transport).delete(names)
            assert [ObjectInfo(kept, 1)] == list(scene.direct.list(""))
        assert broken > scene.cuts // 2, "the control: cuts do break calls"


@pytest.mark.parametrize("far", ["sftp"], indirect=True)
def test_a_greeting_that_is_cut_anywhere_may_be_repeated(scene: Scene, rng: random.Random) -> None:
    """Keys, algorithms and users are agreed upon first: a break there is not taken for a refusal."""
    scene.direct.put(head(1), b"small")

    def connect_and_get() -> bytes:
        with closing(scene.transport()) as transport:
            return transport.get(head(1))

    connect_and_get()
    broken = 0
    for fault in faults(rng, scene.passing(connect_and_get), 3 * scene.cuts):
        print(fault)
        scene.proxy.trap(fault)
        had = outcome(connect_and_get)
        broken += isinstance(had, StorageError)
        assert isinstance(had, StorageError) or had == b"small"
        scene.proxy.untrap()
    assert broken > scene.cuts, "the control: cuts do break calls"


def present(transport: Transport, name: str) -> bool:
    try:
        transport.get(name)
    except ObjectMissing:
        return False
    return True


class Uncompared(Storage):
    """A control: the same retries, and no look at what is stored already."""

    def put_new(self, name: str, data: Any) -> None:
        self.retry(lambda: self._put_new(name, data))


def lose_answers(scene: Scene, rng: random.Random, kind: type[Storage]) -> tuple[int, list[str]]:
    """Put one object a time, each with a break at another byte of the answers.

    Returns how often an attempt found its own object, and what was refused.
    """
    refused: list[str] = []
    with closing(scene.transport()) as transport:
        recording = RecordingTransport(transport)
        storage = kind(recording, lambda _: None)
        storage.single_writer = not scene.server.exclusive
        storage.put_new(head(0), DATA)
        answers = scene.passing(lambda: storage.put_new(head(1), DATA))[Direction.DOWN]
        for number, after_bytes in enumerate(cuts(rng, answers, 16), 2):
            scene.proxy.trap(Fault(rng.choice(BREAKS), Direction.DOWN, after_bytes))
            try:
                storage.put_new(head(number), DATA)
            except ObjectExists as error:
                refused.append(error.name)
            scene.proxy.untrap()
            assert DATA == scene.direct.get(head(number))
        assert [ObjectInfo(head(at), len(DATA)) for at in range(number + 1)] == [*scene.direct.list("")]
    found = sum(record.error is ObjectExists for record in recording.records)
    return found, refused


def test_a_put_whose_answer_is_lost_succeeds_and_leaves_one_object(scene: Scene, rng: random.Random) -> None:
    found, refused = lose_answers(scene, rng, Storage)
    assert [] == refused
    if scene.server.exclusive:
        assert found > 0, "no answer was lost behind the point where the object is there"


def test_control_without_comparing_bytes_lost_answers_are_conflicts(scene: Scene, rng: random.Random) -> None:
    _, refused = lose_answers(scene, rng, Uncompared)
    assert refused


@pytest.mark.parametrize("kind", [Kind.SLICES, Kind.PAUSE])
def test_what_is_slow_is_not_broken(scene: Scene, kind: Kind) -> None:
    scene.direct.put(segment(1), DATA)
    with no_retries(), closing(scene.transport()) as transport:
        storage = Storage(transport)
        scene.proxy.trap(Fault(kind, Direction.DOWN, 0))
        assert DATA == storage.get(segment(1))
        scene.proxy.trap(Fault(kind, Direction.UP, 0))
        storage.put_new(segment(2), DATA)
        scene.proxy.trap(Fault(kind, Direction.DOWN, 0))
        assert [segment(1), segment(2)] == [info.name for info in storage.list("")]
    assert DATA == scene.direct.get(segment(2))
    assert {kind.value: 3} == scene.proxy.kinds()


@pytest.mark.parametrize("kind", BREAKS)
def test_control_without_retries_a_broken_connection_is_the_end(scene: Scene, kind: Kind) -> None:
    fault = Fault(kind, Direction.UP, len(DATA) // 2)
    for retrying in (True, False):
        with closing(scene.transport()) as transport:
            storage = Storage(transport, lambda _: None)
            scene.proxy.trap(fault)
            if retrying:
                storage.replace(segment(1), DATA)
            else:
                with no_retries(), pytest.raises(StorageError):
                    storage.replace(segment(1), DATA)
    assert {kind.value: 2} == scene.proxy.kinds()
