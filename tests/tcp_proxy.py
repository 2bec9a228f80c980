"""A TCP proxy on loopback that delays, cuts, resets, stalls and slices what passes through it.

As a program it prints its port and runs until it is ended:

    python tests/tcp_proxy.py --target 127.0.0.1:22 --delay-ms 10

A delay holds every byte back for that time, in each direction, and does not limit how much passes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from threading import Event, Thread

Address = tuple[str, int]

_READ_BYTES = 64 * 1024
# So much may be on its way while it is delayed: more than a gigabit a second for 100 ms.
_DELAYED_READS = 1024
_SLICED_BYTES = 512
_RESET = struct.pack("ii", 1, 0)


class Direction(Enum):
    """From the client to the server, or back."""

    UP = "up"
    DOWN = "down"


class Kind(Enum):
    """What may happen to a connection: in the order of how bad it is.

    `SLICES`: the next 512 bytes arrive one by one.  `PAUSE`: nothing moves for a short time.
    `CUT`: both ends see it closed.  `RESET`: both ends see it reset.
    `STALL`: nothing moves any more, and nobody is told.
    `SILENCE`: it is accepted, nothing is ever read, and the server never hears of it.
    """

    SLICES = "slices"
    PAUSE = "pause"
    CUT = "cut"
    RESET = "reset"
    STALL = "stall"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens when a byte wants to pass in `direction` after `after_bytes` have passed."""

    kind: Kind
    direction: Direction = Direction.UP
    after_bytes: int = 0
    pause_s: float = 0.2

    def __str__(self) -> str:
        return f"{self.kind.value} after {self.after_bytes} bytes {self.direction.value}"


Plan = Callable[[], Fault | None]
"""Asked once for every connection, in the order in which they come."""


def no_faults() -> None:
    """Let everything pass."""


def always(fault: Fault) -> Plan:
    """The same for every connection."""
    return lambda: fault


def in_order(*faults: Fault | None) -> Plan:
    """These for the first connections, and nothing for those behind them."""
    left = list(faults)
    return lambda: left.pop(0) if left else None


def seeded(
    seed: int, rate: float, kinds: Sequence[Kind], most_bytes: int = 1 << 22, in_a_row_max: int = 2
) -> Plan:
    """A part `rate` of the connections gets a fault, at a place that is as often early as late.

    Every kind is as frequent as it stands in `kinds`.  Never more than `in_a_row_max` connections in a
    row are bad: what is tried again has a chance.
    """
    rng = random.Random(seed)
    coming: list[Kind] = []
    in_a_row = 0

    def plan() -> Fault | None:
        nonlocal in_a_row
        if in_a_row == in_a_row_max or rng.random() >= rate:
            in_a_row = 0
            return None
        in_a_row += 1
        if not coming:
            coming.extend(rng.sample(kinds, len(kinds)))
        return Fault(coming.pop(), rng.choice(list(Direction)), int(most_bytes ** rng.random()))

    return plan


@dataclass(slots=True)
class Fuse:
    """A fault that waits for its byte."""

    fault: Fault
    left: int = field(init=False)
    blown: bool = False

    def __post_init__(self) -> None:
        self.left = self.fault.after_bytes

    def burn(self, direction: Direction, size: int) -> int | None:
        """How many of these bytes pass before the fault happens; nothing when it does not."""
        if self.blown or direction is not self.fault.direction:
            return None
        self.blown = size > self.left
        passing = min(size, self.left)
        self.left -= passing
        return passing if self.blown else None


@dataclass(slots=True)
class Connection:
    """What became of one connection."""

    number: int
    fuse: Fuse | None
    passed: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    sliced_left: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    ending: str = "open"


class _Broken(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class TcpProxy:
    """Listens on a free port of 127.0.0.1 and carries every connection to `target`, in a thread of its own.

    `log` says what was done to which connection.  `target` may be changed for connections to come.
    """

    def __init__(self, target: Address, plan: Plan = no_faults, *, delay_s: float = 0.0) -> None:
        self.target = target
        self.connections: list[Connection] = []
        self.happened: list[Fault] = []
        self.log: list[str] = []
        self.plan = plan
        self._delay_s = delay_s
        self._traps: list[Fuse] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._main: asyncio.Task[None] | None = None
        self._running = Event()
        self._thread = Thread(target=self._run, name=f"proxy to port {target[1]}", daemon=True)
        self._thread.start()
        self._running.wait()

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.port)

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection; may be called twice."""
        if self._thread.is_alive():
            assert self._main is not None
            self._loop.call_soon_threadsafe(self._main.cancel)
            self._thread.join()

    def wait(self) -> None:
        """Return when the proxy has been closed."""
        self._thread.join()

    def trap(self, *faults: Fault) -> None:
        """Let these happen once, to whichever connection carries the byte; counted over all, from now on."""
        self._traps = [Fuse(fault) for fault in faults]

    def untrap(self) -> None:
        """Forget the traps that nobody has stepped into."""
        self._traps = []

    def kinds(self) -> Counter[str]:
        """How often each kind of fault has happened."""
        return Counter(fault.kind.value for fault in self.happened)

    def passed(self, direction: Direction) -> int:
        """How many bytes went through, over all connections."""
        return sum(connection.passed[direction] for connection in self.connections)

    def _run(self) -> None:
        try:
            self._main = self._loop.create_task(self._serve())
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main)
        finally:
            self._loop.close()
            self._listener.close()

    async def _serve(self) -> None:
        self._running.set()
        carried: set[asyncio.Task[None]] = set()
        try:
            while True:
                client, _ = await self._loop.sock_accept(self._listener)
                task = self._loop.create_task(self._carry(client))
                carried.add(task)
                task.add_done_callback(carried.discard)
        finally:
            await _cancelled(*carried)

    async def _carry(self, client: socket.socket) -> None:
        fault = self.plan()
        connection = Connection(len(self.connections), None if fault is None else Fuse(fault))
        self.connections.append(connection)
        server = socket.socket()
        try:
            for end in (client, server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._join(connection, client, server)
            connection.ending = "closed"
        except _Broken as broken:
            connection.ending = broken.fault.kind.value
            self._tell(connection, broken.fault)
            await self._end(broken.fault.kind, client, server)
        except OSError as error:
            connection.ending = "lost"
            self.log.append(f"connection {connection.number}: {error}")
            await self._end(Kind.RESET, client, server)
        finally:
            client.close()
            server.close()

    async def _join(self, connection: Connection, client: socket.socket, server: socket.socket) -> None:
        if connection.fuse is not None and connection.fuse.fault.kind is Kind.SILENCE:
            raise _Broken(connection.fuse.fault)
        await self._loop.sock_connect(server, self.target)
        waiting = _DELAYED_READS if self._delay_s else 1
        ways = ((Direction.UP, client, server), (Direction.DOWN, server, client))
        tasks: list[asyncio.Task[None]] = []
        for direction, source, sink in ways:
            queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(waiting)
            tasks.append(self._loop.create_task(self._read(source, queue)))
            tasks.append(self._loop.create_task(self._write(connection, direction, queue, sink)))
        try:
            await asyncio.gather(*tasks)
        finally:
            await _cancelled(*tasks)

    async def _read(self, source: socket.socket, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            data = await self._loop.sock_recv(source, _READ_BYTES)
            await queue.put((self._loop.time() + self._delay_s, data))
            if not data:
                return

    async def _write(
        self,
        connection: Connection,
        direction: Direction,
        queue: asyncio.Queue[tuple[float, bytes]],
        sink: socket.socket,
    ) -> None:
        while True:
            due, data = await queue.get()
            early_s = due - self._loop.time()
            if early_s > 0:
                await asyncio.sleep(early_s)
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            await self._pass(connection, direction, memoryview(data), sink)

    async def _pass(
        self, connection: Connection, direction: Direction, data: memoryview, sink: socket.socket
    ) -> None:
        fuses = [connection.fuse] if connection.fuse is not None else []
        for fuse in (*fuses, *self._traps):
            passing = fuse.burn(direction, len(data))
            if passing is None:
                continue
            await self._send(connection, direction, data[:passing], sink)
            data = data[passing:]
            if fuse.fault.kind is Kind.SLICES:
                self._tell(connection, fuse.fault)
                connection.sliced_left[direction] = _SLICED_BYTES
            elif fuse.fault.kind is Kind.PAUSE:
                self._tell(connection, fuse.fault)
                await asyncio.sleep(fuse.fault.pause_s)
            else:
                raise _Broken(fuse.fault)
        await self._send(connection, direction, data, sink)

    async def _send(
        self, connection: Connection, direction: Direction, data: memoryview, sink: socket.socket
    ) -> None:
        connection.passed[direction] += len(data)
        sliced = min(len(data), connection.sliced_left[direction])
        for at in range(sliced):
            await self._loop.sock_sendall(sink, data[at : at + 1])
            # Without a pause the kernel puts them together again before they are read.
            await asyncio.sleep(0.001)
        connection.sliced_left[direction] -= sliced
        await self._loop.sock_sendall(sink, data[sliced:])

    async def _end(self, kind: Kind, *ends: socket.socket) -> None:
        if kind in {Kind.STALL, Kind.SILENCE}:
            await asyncio.Event().wait()
        for end in ends:
            if kind is Kind.RESET:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            else:
                _drain(end)

    def _tell(self, connection: Connection, fault: Fault) -> None:
        self.happened.append(fault)
        self.log.append(f"connection {connection.number}: {fault}")


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _drain(end: socket.socket) -> None:
    """Take what has arrived: closing with unread bytes would be a reset."""
    with suppress(OSError):
        while end.recv(_READ_BYTES):
            pass


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="A TCP proxy that holds every byte back for a time.")
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="in each direction")
    given = parser.parse_args()
    host, _, port = given.target.rpartition(":")
    with TcpProxy((host, int(port)), delay_s=given.delay_ms / 1000) as proxy, suppress(KeyboardInterrupt):
        print(proxy.port, flush=True)
        proxy.wait()


if __name__ == "__main__":
    main()
