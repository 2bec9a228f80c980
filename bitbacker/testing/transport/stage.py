"""What the tests of a transport stand on: connections, names, contents, and several threads."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier, Condition, Event
from typing import TypeVar

import pytest

from bitbacker.spi import Transport
from bitbacker.testing.contract import Contract

T = TypeVar("T")

Connect = Callable[[], Transport]
"""Opens one more connection to the same storage."""

KIB = 1024
MIB = 1024 * KIB
OBJECT_SIZES_BYTES = (4 * KIB, 64 * KIB, 256 * KIB, 4 * MIB)
"""What a repository stores; other sizes must work, too."""

CONNECTIONS = 4
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


class Connected(Contract, kit=True):
    """Has connections to one storage."""

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
