"""A server that is silent for ever is noticed in bounded time, and the command ends if it stays so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bitbacker.errors import StorageError
from bitbacker.spi import Transport
from bitbacker.testing.patience import patient
from bitbacker.testing.transport import MIB, payload, segment
from far_servers import FarServer, threads_that_stay
from remote_machine import Machine
from tcp_proxy import Direction, Fault, Kind, TcpProxy, always, no_faults

TIMEOUT_S = 1.0
# A busy machine takes longer; the default of the options would take longer still.
NOTICED_S = 20.0
ENDED_S = 120.0
SLOW_TIMEOUT_S = 3.0
LARGE = payload(4 * MIB)
CALLS: dict[str, Callable[[Transport], object]] = {
    "get": lambda transport: transport.get(segment(1)),
    "put": lambda transport: transport.put(segment(2), LARGE, replace=True),
    "list": lambda transport: list(transport.list("segments/")),
    "delete": lambda transport: transport.delete([segment(3)]),
}


@pytest.fixture(autouse=True)
def _ends_all_threads() -> Iterator[None]:
    before = threading.enumerate()
    yield
    assert [] == threads_that_stay(before)


@pytest.fixture
def stored(far: FarServer, place: str) -> FarServer:
    """The server with one object in it."""
    with closing(far.transport(place, far.address)) as transport:
        patient(transport).put(segment(1), LARGE)
    return far


def assert_noticed(call: Callable[[], object]) -> None:
    """It ends, not at once and not late, in an error that may be repeated."""
    begun = time.monotonic()
    with pytest.raises(StorageError) as caught:
        call()
    print(f"{time.monotonic() - begun:.2f} s: {caught.value}")
    assert caught.value.retryable, caught.value
    assert TIMEOUT_S * 0.8 <= time.monotonic() - begun < NOTICED_S


@pytest.mark.parametrize("call", CALLS)
def test_a_frozen_server_is_noticed_and_work_goes_on_when_it_thaws(
    stored: FarServer, place: str, call: str
) -> None:
    with closing(stored.transport(place, stored.address, timeout_s=TIMEOUT_S)) as transport:
        assert LARGE == patient(transport).get(segment(1))
        stored.freeze()
        try:
            assert_noticed(lambda: CALLS[call](transport))
            # The next one has to connect first, to a server that accepts and does not greet.
            assert_noticed(lambda: CALLS[call](transport))
        finally:
            stored.thaw()
        patient(transport).put(segment(2), LARGE, replace=True)
        assert LARGE == patient(transport).get(segment(2)) == patient(transport).get(segment(1))


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("call", ["get", "put"])
def test_a_connection_that_stalls_in_the_middle_is_noticed(
    stored: FarServer, place: str, call: str, direction: Direction
) -> None:
    with (
        TcpProxy(stored.address) as proxy,
        closing(stored.transport(place, proxy.address, timeout_s=TIMEOUT_S)) as transport,
    ):
        # The first call connects, which is not what is to be cut in half.
        CALLS[call](patient(transport))
        before = proxy.passed(direction)
        CALLS[call](transport)
        moved = proxy.passed(direction) - before
        proxy.trap(Fault(Kind.STALL, direction, moved // 2))
        assert_noticed(lambda: CALLS[call](transport))
        assert {"stall": 1} == proxy.kinds()
        # Only that connection was dead.
        CALLS[call](patient(transport))


@pytest.mark.parametrize("kind", [Kind.SILENCE, Kind.STALL])
def test_a_server_that_never_greets_is_noticed(stored: FarServer, place: str, kind: Kind) -> None:
    with (
        TcpProxy(stored.address, always(Fault(kind, Direction.DOWN, 0))) as proxy,
        closing(stored.transport(place, proxy.address, timeout_s=TIMEOUT_S)) as transport,
    ):
        assert_noticed(lambda: transport.get(segment(1)))
        proxy.plan = no_faults
        assert LARGE == patient(transport).get(segment(1))


def test_slow_is_not_dead(stored: FarServer, place: str) -> None:
    """All in all it takes longer than nothing may move for, but something moves now and then."""
    with (
        TcpProxy(stored.address) as proxy,
        closing(stored.transport(place, proxy.address, timeout_s=SLOW_TIMEOUT_S)) as transport,
    ):
        patient(transport).get(segment(1))
        pauses = (Fault(Kind.PAUSE, Direction.DOWN, MIB * at, SLOW_TIMEOUT_S * 0.4) for at in range(3))
        proxy.trap(*pauses)
        begun = time.monotonic()
        assert LARGE == transport.get(segment(1))
        assert time.monotonic() - begun > SLOW_TIMEOUT_S
        assert {"pause": 3} == proxy.kinds()


# One of the two servers of S3 is enough: the client is the same.
@pytest.mark.parametrize("far", ["sftp", "rclone"], indirect=True)
def test_a_command_ends_by_itself_when_the_server_stays_dead(
    far: FarServer, place: str, tmp_path: Path
) -> None:
    """In the middle of a backup; the next command finds all in order."""
    with TcpProxy(far.address) as proxy:
        options = [] if far.exclusive else ["--single-writer"]
        machine = Machine(tmp_path / "machine", far.remote(place, proxy.address, timeout_s=TIMEOUT_S))
        machine.data.mkdir()
        (machine.data / "large").write_bytes(payload(40 * MIB))
        assert 0 == machine.inside("init", "-q", *options).code
        begun = proxy.passed(Direction.UP)
        process = machine.start("backup", "data")
        try:
            while proxy.passed(Direction.UP) - begun < 5 * MIB:
                assert process.poll() is None, process.communicate()
                time.sleep(0.002)
            far.freeze()
            _, told = process.communicate(timeout=ENDED_S)
            assert 20 == process.returncode, told
        finally:
            far.thaw()
            process.kill()
            process.communicate()
        for command in (["backup", "-q", "data"], ["check", "--read-data", "-q"]):
            done = machine.inside(*command)
            assert 0 == done.code, done
        title, *snapshots = machine.inside("snapshots", "-q").out.splitlines()
        assert (True, 1) == (title.startswith("ID"), len(snapshots))
