"""The transport `sftp` when connections die: it says so in time, forgets them, and goes on with new ones."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from bitbacker.errors import ObjectExists, ObjectMissing, StorageError
from bitbacker.spi import ObjectInfo
from bitbacker.testing.patience import patient
from bitbacker.testing.transport import MIB, head, in_threads, payload, segment
from bitbacker_plugins.sftp import SftpTransport
from sshd import Sshd, running_sshd

TIMEOUT_S = 2.0
# What a busy machine may add; a call that waits for ever would take as long as the test run.
ALLOWED_S = 20.0


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as sshd:
        yield sshd


@pytest.fixture
def transport(sshd: Sshd, tmp_path: Path) -> Iterator[SftpTransport]:
    transport = sshd.transport(tmp_path / "repository", timeout_s=TIMEOUT_S)
    yield transport
    transport.close()


@contextmanager
def frozen(sshd: Sshd) -> Iterator[None]:
    sshd.freeze()
    try:
        yield
    finally:
        sshd.thaw()


def sockets_and_threads() -> tuple[int, int]:
    """How many the process has, when those that are ending have ended."""
    gc.collect()
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    return sum(link.startswith("socket:") for link in links), threading.active_count()


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def eventually(reached: Callable[[], bool]) -> bool:
    """Whether something becomes true within the time that is allowed."""
    ending_s = time.monotonic() + ALLOWED_S
    while not reached() and time.monotonic() < ending_s:
        time.sleep(0.05)
    return reached()


CALLS: dict[str, Callable[[SftpTransport], object]] = {
    "put": lambda transport: transport.put(segment(2), payload(4 * MIB)),
    "replace": lambda transport: transport.put("keyslots", b"y", replace=True),
    "get": lambda transport: transport.get(segment(1)),
    "list": lambda transport: list(transport.list("")),
    "delete": lambda transport: transport.delete([segment(1)]),
}


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_stops_answering_is_noticed(
    transport: SftpTransport, sshd: Sshd, call: str, *, connected: bool
) -> None:
    if connected:
        patient(transport).put(segment(1), payload(MIB))
    with frozen(sshd):
        began_s = time.monotonic()
        with pytest.raises(StorageError) as caught:
            CALLS[call](transport)
        took_s = time.monotonic() - began_s
        closing_s = time.monotonic()
        transport.close()
        assert time.monotonic() - closing_s < TIMEOUT_S
    assert caught.value.retryable
    assert not isinstance(caught.value, ObjectMissing)
    assert TIMEOUT_S * 0.9 < took_s < TIMEOUT_S + ALLOWED_S


def test_a_slow_server_is_not_given_up(sshd: Sshd, tmp_path: Path) -> None:
    """The control of the test above: a pause that is shorter than the time that is allowed."""
    transport = sshd.transport(tmp_path / "repository")
    transport.put(segment(1), payload(MIB))
    sshd.freeze()
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(transport.get, segment(1))
        time.sleep(TIMEOUT_S)
        assert not going.done()
        sshd.thaw()
        assert going.result(ALLOWED_S) == payload(MIB)
    transport.close()


def test_a_put_that_nobody_takes_ends(sshd: Sshd, tmp_path: Path) -> None:
    """More than what the windows and the buffers on the way swallow."""
    transport = sshd.transport(tmp_path / "repository", timeout_s=TIMEOUT_S)
    transport.put(segment(1), b"x")
    with frozen(sshd), pytest.raises(StorageError, match=r"does not answer|takes nothing"):
        transport.put(segment(2), bytes(48 * MIB))
    transport.close()


def test_after_a_freeze_calls_work_again(transport: SftpTransport, sshd: Sshd) -> None:
    patient(transport).put(segment(1), b"x")
    with frozen(sshd), pytest.raises(StorageError):
        transport.get(segment(1))
    assert transport.get(segment(1)) == b"x"


def test_a_session_that_was_killed_costs_no_call(transport: SftpTransport, sshd: Sshd) -> None:
    """A connection that ended while it was idle is known to have ended."""
    patient(transport).put(segment(1), b"x")
    in_threads(4, lambda _: transport.get(segment(1)))
    for _ in range(2):
        sshd.kill_sessions()
        assert eventually(lambda: not sshd.sessions())
        assert eventually(lambda: not any(connection.alive for connection in transport._pool._idle))
        assert transport.get(segment(1)) == b"x"


def test_a_session_that_is_killed_in_a_call_is_replaced(sshd: Sshd, tmp_path: Path) -> None:
    transport = sshd.transport(tmp_path / "repository", connections=1)
    transport.put(segment(1), b"x")
    sshd.freeze()
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(transport.get, segment(1))
        assert eventually(lambda: not transport._pool._idle)
        time.sleep(0.3)
        sshd.kill_sessions()
        sshd.thaw()
        with pytest.raises(StorageError, match="closed") as caught:
            going.result(ALLOWED_S)
    assert caught.value.retryable
    assert transport.get(segment(1)) == b"x"
    transport.close()


def test_calls_in_many_threads_survive_killed_sessions(transport: SftpTransport, sshd: Sshd) -> None:
    """Each put is repeated until it says that it is done, as the framework does it; nothing is lost."""
    names = [segment(number) for number in range(120)]
    stored: list[str] = []
    failed: list[bool] = []

    def put(worker: int) -> None:
        for name in names[worker::4]:
            while name not in stored:
                try:
                    transport.put(name, payload(10_000, name))
                except ObjectExists:
                    stored.append(name)
                except StorageError as error:
                    failed.append(error.retryable)
                else:
                    stored.append(name)

    def kill() -> None:
        for milestone in range(10, 100, 10):
            assert eventually(lambda: len(stored) >= milestone)  # noqa: B023  # called at once
            sshd.kill_sessions()

    in_threads(5, lambda worker: put(worker) if worker < 4 else kill())
    assert failed, "no session was killed while it was in use"
    assert all(failed), "an error says that trying again is of no use"
    assert list(transport.list("")) == [ObjectInfo(name, 10_000) for name in names]
    assert [transport.get(name) for name in names] == [payload(10_000, name) for name in names]


def test_a_server_that_is_gone_is_worth_another_try(transport: SftpTransport, sshd: Sshd) -> None:
    patient(transport).put(head(1), b"x")
    sshd.stop()
    sshd.process.wait()
    # The first call may still use the connection that is about to end.
    for expected in ("closed|reset|refused", "refused"):
        with pytest.raises(StorageError, match=expected) as caught:
            transport.get(head(1))
        assert caught.value.retryable


def test_nothing_is_left_behind(sshd: Sshd, tmp_path: Path) -> None:
    before = sockets_and_threads()
    transport = sshd.transport(tmp_path / "repository", timeout_s=TIMEOUT_S)
    in_threads(8, lambda number: patient(transport).put(segment(number), b"x"))
    during = sockets_and_threads()
    # The control: what is counted is there while the transport is open, and no more than is allowed.
    assert 1 <= during[0] - before[0] <= 4
    with frozen(sshd), pytest.raises(StorageError):
        transport.get(segment(1))
    sshd.kill_sessions()
    transport.close()
    transport.close()
    assert eventually(lambda: sockets_and_threads() == before)
    assert eventually(lambda: not sshd.sessions())
    with pytest.raises(StorageError, match="closed already"):
        transport.get(segment(1))


def test_no_more_connections_are_opened_than_allowed(sshd: Sshd, tmp_path: Path) -> None:
    transport = sshd.transport(tmp_path / "repository", connections=2)
    in_threads(12, lambda number: transport.put(segment(number), payload(MIB)))
    assert sshd.log.count("Accepted publickey") <= 2
    assert len(list(transport.list(""))) == 12
    transport.close()
