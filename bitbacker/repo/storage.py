"""The one retry layer, and the exclusive put that knows its own earlier attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from bitbacker.errors import ObjectExists, ObjectMissing, StorageError
from bitbacker.format import names
from bitbacker.repo.trace import CountedTransport, Tally
from bitbacker.spi import Abilities, Buffer, ObjectInfo, Transport

ATTEMPTS_MAX = 6
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 20.0

T = TypeVar("T")


class Storage:
    """A transport whose calls are repeated when their error says that this may help.

    Exponential backoff with full jitter.  Safe to share between threads, as transports are.
    `tally` has counted every request that went out through `transport`.

    With `single_writer` the storage cannot decide between two writers, so this looks before it puts,
    which is enough as long as nobody else writes.
    """

    single_writer = False

    def __init__(self, transport: Transport, sleep: Callable[[float], None] = time.sleep) -> None:
        self.tally = Tally()
        self.transport: Transport = CountedTransport(transport, self.tally)
        self._sleep = sleep
        self._random = random.Random()  # noqa: S311  # jitter needs no secrecy

    @property
    def abilities(self) -> Abilities:
        return self.transport.abilities

    def get(self, name: str) -> bytes:
        """The whole object.  Raises `ObjectMissing`, `StorageError`."""
        return self.retry(lambda: self.transport.get(name))

    def put_new(self, name: str, data: Buffer) -> None:
        """Store an object under a new name.

        Raises `ObjectExists` only when what is stored there is not `data`: an earlier attempt of
        ours whose answer was lost is a success.
        """

        def attempt() -> None:
            try:
                self._put_new(name, data)
            except ObjectExists:
                if memoryview(self.transport.get(name)) != memoryview(data):
                    raise

        self.retry(attempt)

    def _put_new(self, name: str, data: Buffer) -> None:
        if not self.single_writer:
            self.transport.put(name, data)
            return
        # Names of segments are random and never met twice, so only the others are looked for.
        if not name.startswith(names.SEGMENTS) and self._present(name):
            raise ObjectExists(name)
        self.transport.put(name, data, replace=True)

    def _present(self, name: str) -> bool:
        try:
            self.transport.get(name)
        except ObjectMissing:
            return False
        return True

    def replace(self, name: str, data: Buffer) -> None:
        """Store an object, whatever was there."""
        self.retry(lambda: self.transport.put(name, data, replace=True))

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Every object below a prefix, ascending."""
        return self.retry(lambda: list(self.transport.list(prefix)))

    def first(self, prefix: str) -> ObjectInfo | None:
        """The first object below a prefix, without listing the others."""
        return self.retry(lambda: next(self.transport.list(prefix), None))

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; absent ones count as removed."""
        wanted = list(names)
        if wanted:
            self.retry(lambda: self.transport.delete(wanted))

    def close(self) -> None:
        self.transport.close()

    def retry(self, call: Callable[[], T]) -> T:
        """What `call` returns; it is called again as long as its error says that this may help."""
        delay_s = _FIRST_DELAY_S
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return call()
            except StorageError as error:
                if not error.retryable or attempt == ATTEMPTS_MAX:
                    raise
                self._sleep(self._random.uniform(0, delay_s))
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        raise AssertionError("unreachable")


class DiscardingStorage(Storage):
    """For dry runs: reads as usual, and drops what is put."""

    def put_new(self, name: str, data: Buffer) -> None:
        """Nothing is stored."""

    def replace(self, name: str, data: Buffer) -> None:
        """Nothing is stored."""

    def delete(self, names: Iterable[str]) -> None:
        """Nothing is removed."""
