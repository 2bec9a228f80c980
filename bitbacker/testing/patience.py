"""For conformance runs on real servers: a transport whose calls are repeated as the framework repeats them.

    return lambda: patient(MyTransport(f"mine://{my_server}/", MyTransport.Config()))

A server may refuse for a moment what it does a moment later.  A transport does not try again: it raises an
error that says `retryable`, and who calls it tries again, see `bitbacker.spi.transport`.  This is such a
caller, and nothing more: a wrong result, or an error of another kind, is what it was at the first attempt.
A transport without a server has nothing to be patient with.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, TypeVar, cast

from bitbacker.errors import ObjectExists, StorageError
from bitbacker.spi import NAME_PATTERN, Abilities, Buffer, FetchesMany, ObjectInfo, Transport

ATTEMPTS_MAX = 6
"""How often a call is made; the framework makes as many."""

_FIRST_DELAY_S = 0.2
_PREFIX_PATTERN = re.compile(r"([a-z]+/)?")

T = TypeVar("T")


def patient(inner: Transport, sleep: Callable[[float], None] = time.sleep) -> Transport:
    """A transport that does what `inner` does, and tries again where the framework would."""
    return (_PatientWithMany if isinstance(inner, FetchesMany) else _Patient)(inner, sleep)


class _Patient:
    # Only declared: what is not defined here is that of the inner transport.
    api_version: ClassVar[int]
    Config: ClassVar[type[Any]]

    def __init__(self, inner: Transport, sleep: Callable[[float], None]) -> None:
        self._inner = inner
        self._sleep = sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def abilities(self) -> Abilities:
        return self._repeat(lambda: self._inner.abilities)

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        """An object that is there after an attempt that failed is compared: it may be that attempt's."""
        failed = False

        def attempt() -> None:
            nonlocal failed
            try:
                self._inner.put(name, data, replace=replace)
            except ObjectExists:
                if not failed or memoryview(self._inner.get(name)) != memoryview(data):
                    raise
            except StorageError:
                failed = True
                raise

        self._repeat(attempt, name)

    def get(self, name: str) -> bytes:
        return self._repeat(lambda: self._inner.get(name), name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """After a failure it goes on behind the last row that was taken."""
        rows: Iterator[ObjectInfo] | None = None
        last = ""

        def step() -> ObjectInfo | None:
            nonlocal rows
            try:
                if rows is None:
                    rows = self._inner.list(prefix)
                    rows = (row for row in rows if row.name > last) if last else rows
                return next(rows, None)
            except StorageError:
                rows = None
                raise

        while (row := self._repeat(step, prefix=prefix)) is not None:
            last = row.name
            yield row

    def delete(self, names: Iterable[str]) -> None:
        wanted = [*names]
        self._repeat(lambda: self._inner.delete(iter(wanted)), *wanted)

    def close(self) -> None:
        self._inner.close()

    def _repeat(self, call: Callable[[], T], *names: str, prefix: str = "") -> T:
        # What the contract does not allow is refused for ever, by an error of the same class.
        allowed = all(map(NAME_PATTERN.fullmatch, names)) and _PREFIX_PATTERN.fullmatch(prefix)
        attempts = ATTEMPTS_MAX if allowed else 1
        for attempt in range(1, attempts + 1):
            try:
                return call()
            except StorageError as error:
                if not error.retryable or attempt == attempts:
                    raise
                longest_s = _FIRST_DELAY_S * 2 ** (attempt - 1)
                self._sleep(random.uniform(0, longest_s))  # noqa: S311  # jitter needs no secrecy
        raise AssertionError("unreachable")


class _PatientWithMany(_Patient):
    def get_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        wanted = [*names]
        inner = cast("FetchesMany", self._inner)
        return iter(self._repeat(lambda: [*inner.get_many(iter(wanted))], *wanted))
