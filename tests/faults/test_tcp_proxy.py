"""The proxy that breaks connections: each fault, seen by a client of a server that echoes."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tcp_proxy import (
    Address,
    Direction,
    Fault,
    Kind,
    Plan,
    TcpProxy,
    always,
    in_order,
    seeded,
)

PROGRAM = Path(__file__).parents[1] / "tcp_proxy.py"
TIMEOUT_S = 20.0
SHORT_S = 0.5
DATA = bytes(range(256)) * 400


class EchoServer:
    """Sends back what it gets; remembers how much that was."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listener.getsockname()
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                self._ends.append(end)
                self.got.append(0)
                thread = threading.Thread(target=self._echo, args=(end, len(self.got) - 1))
                self._threads.append(thread)
                thread.start()

    def _echo(self, end: socket.socket, number: int) -> None:
        with suppress(OSError):
            while data := end.recv(65536):
                self.got[number] += len(data)
                end.sendall(data)
            end.shutdown(socket.SHUT_WR)


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


def talk(address: Address, data: bytes = DATA, timeout_s: float = TIMEOUT_S) -> bytes:
    """Send data from another thread and return all that comes back; raises what reading raises."""
    resets: list[ConnectionResetError] = []
    with socket.create_connection(address, timeout_s) as client:

        def send() -> None:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
            except ConnectionResetError as error:
                # The kernel tells it once, to whoever asks first.
                resets.append(error)
            except OSError:
                pass

        sender = threading.Thread(target=send)
        sender.start()
        got = bytearray()
        try:
            while part := client.recv(65536):
                got += part
        finally:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            sender.join()
        if resets:
            raise resets[0]
        return bytes(got)


def endings(proxy: TcpProxy) -> list[str]:
    """How connections ended, once all have."""
    until = time.monotonic() + TIMEOUT_S
    while "open" in (found := [each.ending for each in proxy.connections]) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def test_without_faults_everything_passes_and_is_counted(echo: EchoServer) -> None:
    with TcpProxy(echo.address) as proxy:
        assert DATA == talk(proxy.address)
        assert b"" == talk(proxy.address, b"")
        assert ["closed", "closed"] == endings(proxy)
    assert [len(DATA), 0] == echo.got
    assert len(DATA) == proxy.passed(Direction.UP) == proxy.passed(Direction.DOWN)
    assert [] == proxy.happened


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("after_bytes", [0, 1, 1000])
def test_a_cut_lets_exactly_so_many_bytes_pass_and_closes(
    echo: EchoServer, direction: Direction, after_bytes: int
) -> None:
    got = bytearray()
    with (
        TcpProxy(echo.address, always(Fault(Kind.CUT, direction, after_bytes))) as proxy,
        socket.create_connection(proxy.address, TIMEOUT_S) as client,
    ):
        # What is sent is one piece, so nothing of it is unread when the proxy closes.
        client.sendall(DATA[:1100])
        while part := client.recv(65536):
            got += part
    passed = proxy.connections[0].passed
    assert after_bytes == passed[direction]
    assert passed[Direction.DOWN] >= len(got)
    assert DATA.startswith(got)
    assert len(got) == after_bytes if direction is Direction.DOWN else len(got) <= after_bytes
    assert {"cut": 1} == proxy.kinds()


def test_a_cut_that_is_never_reached_does_nothing(echo: EchoServer) -> None:
    with TcpProxy(echo.address, always(Fault(Kind.CUT, Direction.UP, len(DATA)))) as proxy:
        assert DATA == talk(proxy.address)
    assert [] == proxy.happened


def test_a_cut_answer_was_sent_by_a_server_that_has_the_request(echo: EchoServer) -> None:
    with TcpProxy(echo.address, always(Fault(Kind.CUT, Direction.DOWN, 0))) as proxy:
        assert b"" == talk(proxy.address, b"request")
    assert [7] == echo.got


def test_a_reset_is_an_error_at_the_client(echo: EchoServer) -> None:
    with (
        TcpProxy(echo.address, always(Fault(Kind.RESET, Direction.DOWN, 1000))) as proxy,
        pytest.raises(ConnectionResetError),
    ):
        talk(proxy.address)
    assert {"reset": 1} == proxy.kinds()


@pytest.mark.parametrize("direction", Direction)
def test_a_stall_delivers_what_came_before_and_then_nothing_for_ever(
    echo: EchoServer, direction: Direction
) -> None:
    with TcpProxy(echo.address, always(Fault(Kind.STALL, direction, 1000))) as proxy:
        with socket.create_connection(proxy.address, SHORT_S) as client:
            client.sendall(DATA[:1000])
            got = b""
            while len(got) < 1000:
                got += client.recv(65536)
            assert DATA[:1000] == got
            client.sendall(b"more")
            with pytest.raises(TimeoutError):
                client.recv(1)
        assert {"stall": 1} == proxy.kinds()


def test_a_stalled_connection_takes_no_more_than_its_buffers(echo: EchoServer) -> None:
    with (
        TcpProxy(echo.address, always(Fault(Kind.STALL, Direction.UP, 0))) as proxy,
        socket.create_connection(proxy.address, SHORT_S) as client,
        pytest.raises(TimeoutError),
    ):
        client.sendall(bytes(64 << 20))


def test_silence_accepts_and_the_server_never_hears_of_it(echo: EchoServer) -> None:
    with TcpProxy(echo.address, always(Fault(Kind.SILENCE))) as proxy:
        with pytest.raises(TimeoutError):
            talk(proxy.address, b"hello", SHORT_S)
        assert {"silence": 1} == proxy.kinds()
    assert [] == echo.got


def test_a_pause_holds_everything_back_and_loses_nothing(echo: EchoServer) -> None:
    begun = time.monotonic()
    with TcpProxy(echo.address, always(Fault(Kind.PAUSE, Direction.DOWN, 1000, SHORT_S))) as proxy:
        assert DATA == talk(proxy.address)
    assert time.monotonic() - begun >= SHORT_S
    assert {"pause": 1} == proxy.kinds()


def test_slices_arrive_one_byte_at_a_time(echo: EchoServer) -> None:
    sizes: list[int] = []
    got = b""
    with (
        TcpProxy(echo.address, always(Fault(Kind.SLICES, Direction.DOWN, 500))) as proxy,
        socket.create_connection(proxy.address, TIMEOUT_S) as client,
    ):
        client.sendall(DATA[:10_000])
        while len(got) < 10_000:
            part = client.recv(65536)
            sizes.append(len(part))
            got += part
    assert DATA[:10_000] == got
    # The kernel may put some together again.
    assert sizes.count(1) > 100, sizes
    assert {"slices": 1} == proxy.kinds()


def test_a_delay_is_the_same_in_each_direction(echo: EchoServer) -> None:
    with (
        TcpProxy(echo.address, delay_s=0.05) as proxy,
        socket.create_connection(proxy.address, TIMEOUT_S) as client,
    ):
        rounds = []
        for _ in range(5):
            begun = time.monotonic()
            client.sendall(b"x")
            assert b"x" == client.recv(1)
            rounds.append(time.monotonic() - begun)
    assert min(rounds) >= 0.1
    assert min(rounds) < 0.15


def test_a_delay_does_not_limit_how_much_passes(echo: EchoServer) -> None:
    """With one block of 64 KiB under way at a time this would take 25 seconds."""
    data = DATA * 320
    begun = time.monotonic()
    with TcpProxy(echo.address, delay_s=0.025) as proxy:
        assert data == talk(proxy.address, data)
    assert time.monotonic() - begun < 5


def test_a_trap_happens_once_to_whoever_carries_the_byte(echo: EchoServer) -> None:
    with TcpProxy(echo.address) as proxy:
        assert DATA == talk(proxy.address)
        proxy.trap(Fault(Kind.RESET, Direction.DOWN, len(DATA) + 1000))
        assert DATA == talk(proxy.address)
        with pytest.raises(ConnectionResetError):
            talk(proxy.address)
        assert DATA == talk(proxy.address)
        assert ["closed", "closed", "reset", "closed"] == endings(proxy)


def test_a_server_that_is_not_there_is_a_reset_and_may_come_back(echo: EchoServer) -> None:
    # A port that is taken, so that nobody else gets it, and does not listen.
    with socket.socket() as deaf, TcpProxy(echo.address) as proxy:
        deaf.bind(("127.0.0.1", 0))
        proxy.target = deaf.getsockname()
        with pytest.raises(ConnectionResetError):
            talk(proxy.address)
        proxy.target = echo.address
        assert DATA == talk(proxy.address)
        assert ["lost", "closed"] == endings(proxy)


def test_plans_follow_from_their_seed(seed: int) -> None:
    def draw(plan: Plan) -> list[Fault | None]:
        return [plan() for _ in range(500)]

    drawn = draw(seeded(seed, 0.3, list(Kind)))
    assert draw(seeded(seed, 0.3, list(Kind))) == drawn
    assert draw(seeded(seed + 1, 0.3, list(Kind))) != drawn
    faults = [fault for fault in drawn if fault]
    assert 75 < len(faults) < 200
    assert set(Kind) == {fault.kind for fault in faults}
    assert set(Direction) == {fault.direction for fault in faults}
    assert any(fault.after_bytes < 1000 for fault in faults)
    assert any(fault.after_bytes > 1_000_000 for fault in faults)
    assert not any(all(drawn[at : at + 3]) for at in range(len(drawn) - 2))


def test_given_plans_come_in_order() -> None:
    cut = Fault(Kind.CUT)
    plan = in_order(cut, None, cut)
    assert [cut, None, cut, None, None] == [plan() for _ in range(5)]


def test_closing_ends_stalled_connections_and_the_thread(echo: EchoServer) -> None:
    before = threading.active_count()
    plan = in_order(Fault(Kind.STALL), Fault(Kind.SILENCE), None)
    proxy = TcpProxy(echo.address, plan)
    clients = [socket.create_connection(proxy.address, TIMEOUT_S) for _ in range(3)]
    for client in clients:
        client.sendall(b"x")
    assert b"x" == clients[2].recv(1)
    proxy.close()
    proxy.close()
    for client in clients:
        with suppress(ConnectionResetError):
            assert b"" == client.recv(1)
        client.close()
    with pytest.raises(ConnectionRefusedError):
        talk(proxy.address)
    echo.close()
    assert before - 1 == threading.active_count()


def test_it_runs_as_a_program(echo: EchoServer) -> None:
    target = f"{echo.address[0]}:{echo.address[1]}"
    arguments = [sys.executable, str(PROGRAM), "--target", target, "--delay-ms", "50"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        begun = time.monotonic()
        assert DATA == talk(("127.0.0.1", port))
        assert time.monotonic() - begun >= 0.1
        process.terminate()
