"""Transports around a transport: they record, crash, fail, lock, wait or lie.  For tests only.

Each is a `Transport` itself, so they nest, for example a recording one inside a crashing one.  Every
object of a batch deletion is an operation of its own.  `list` asks the inner transport when it is
called, not when its rows are taken.  None of them offers `get_many`: each get is an operation.
All of them are thread-safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Condition, Lock, Thread
from typing import Any, ClassVar, Literal, TypeVar

from bitbacker.errors import ObjectsLocked, StorageError
from bitbacker.spi import Abilities, Buffer, NoConfig, ObjectInfo, Transport

T = TypeVar("T")

Kind = Literal["put", "get", "list", "delete"]
"""What an operation does; put and delete are the mutating ones."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one object.

    `name` is the prefix for a list.  `size_bytes` is the size of the object put; in the log of a
    `RecordingTransport` also of the object got.  `replace` is that of put.
    """

    kind: Kind
    name: str
    size_bytes: int = 0
    replace: bool = False

    @property
    def mutates(self) -> bool:
        """Whether the storage may differ afterwards."""
        return self.kind in {"put", "delete"}


class WrappedTransport:
    """Hands every operation to `around`, which a subclass overrides, and that to the inner transport."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[Any]] = NoConfig

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        """Do `operation`, that is call `proceed`, or something else instead."""
        del operation
        return proceed()

    @property
    def abilities(self) -> Abilities:
        return self.inner.abilities

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        operation = Operation("put", name, memoryview(data).nbytes, replace)
        self.around(operation, lambda: self.inner.put(name, data, replace=replace))

    def get(self, name: str) -> bytes:
        return self.around(Operation("get", name), lambda: self.inner.get(name))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(self.around(Operation("list", prefix), lambda: [*self.inner.list(prefix)]))

    def delete(self, names: Iterable[str]) -> None:
        """One by one; what is locked holds up none of the others."""
        locked: list[ObjectsLocked] = []
        for name in names:
            try:
                self._delete_one(name)
            except ObjectsLocked as error:
                locked.append(error)
        if locked:
            kept = frozenset[str]().union(*(error.names for error in locked))
            raise ObjectsLocked(kept, max(error.free_at_s for error in locked))

    def close(self) -> None:
        self.inner.close()

    def _delete_one(self, name: str) -> None:
        self.around(Operation("delete", name), lambda: self.inner.delete([name]))


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a log: the operation, and the class of the error that it ended with, if any."""

    operation: Operation
    error: type[BaseException] | None = None


class RecordingTransport(WrappedTransport):
    """Remembers what was done, in the order in which it ended."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self._records: list[Record] = []

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        try:
            result = proceed()
        except BaseException as error:
            self._records.append(Record(operation, type(error)))
            raise
        if isinstance(result, bytes):
            operation = replace(operation, size_bytes=len(result))
        self._records.append(Record(operation))
        return result

    @property
    def records(self) -> tuple[Record, ...]:
        """Everything so far, failures included."""
        return tuple(self._records)

    @property
    def log(self) -> tuple[Operation, ...]:
        """The operations that succeeded so far."""
        return tuple(record.operation for record in self.records if record.error is None)

    def clear(self) -> None:
        """Begin a new log."""
        self._records.clear()


class Crash(BaseException):
    """The process is dead.

    Not an `Exception`, so that no handler for errors goes on living by mistake.
    """


class CrashingTransport(WrappedTransport):
    """Dies at its operation number `at`, counted from 1, and stays dead.

    `mode` says what became of that operation: "before": nothing; "after": all of it, but the reply
    is lost; "torn": half of the bytes of a put are visible, as on a storage that breaks the promise
    of atomicity (a deletion is not done then).  Once dead, every call raises `Crash` and the inner
    transport is left alone, so that no cleaning up reaches the storage.  Operations of other threads
    that were under way come to their end.  Without `at` it only counts.
    """

    def __init__(
        self,
        inner: Transport,
        at: int | None = None,
        mode: Literal["before", "after", "torn"] = "before",
        *,
        count_reads: bool = False,
    ) -> None:
        super().__init__(inner)
        self._at = at
        self._mode = mode
        self._count_reads = count_reads
        self._lock = Lock()
        self._count = 0

    @property
    def count(self) -> int:
        """How many operations were counted: mutating ones, with `count_reads` all."""
        return self._count

    @property
    def crashed(self) -> bool:
        """Whether operation `at` has come."""
        return self._at is not None and self._count >= self._at

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        return self._live_or_die(operation, proceed, torn=lambda: None)

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        whole = memoryview(data).cast("B")
        self._live_or_die(
            Operation("put", name, len(whole), replace),
            lambda: self.inner.put(name, whole, replace=replace),
            torn=lambda: self.inner.put(name, whole[: len(whole) // 2], replace=replace),
        )

    def close(self) -> None:
        if not self.crashed:
            super().close()

    def _live_or_die(self, operation: Operation, proceed: Callable[[], T], torn: Callable[[], None]) -> T:
        with self._lock:
            if self.crashed:
                raise Crash("this client crashed before")
            self._count += operation.mutates or self._count_reads
            dies = self.crashed
        if not dies:
            return proceed()
        # The dead do not hear that the storage refused.
        with suppress(StorageError):
            if self._mode == "after":
                proceed()
            elif self._mode == "torn":
                torn()
        raise Crash(f"operation {self._at}, {self._mode}: {operation}")


@dataclass(frozen=True, slots=True)
class Fault:
    """When an operation fails, and how.

    Among the operations of this `kind` whose name starts with `prefix`, number `nth`, counted from 1,
    raises what `error` returns; with `forever` all later ones do too.  With `executed` the storage
    has done what was asked, and only the answer was lost.
    """

    kind: Kind
    error: Callable[[], StorageError]
    nth: int = 1
    forever: bool = False
    executed: bool = False
    prefix: str = ""

    def strikes(self, count: int) -> bool:
        """Whether the matching operation number `count` is hit."""
        return count == self.nth or (self.forever and count > self.nth)


class FailingTransport(WrappedTransport):
    """Raises the given storage errors at the given operations."""

    def __init__(self, inner: Transport, *faults: Fault) -> None:
        super().__init__(inner)
        self._faults = faults
        self._lock = Lock()
        self._counts = [0] * len(faults)
        self._struck = 0

    @property
    def struck(self) -> int:
        """How many operations were made to fail; a test that is about a failure checks that there was one."""
        return self._struck

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        fault = self._next_fault(operation)
        if fault is None:
            return proceed()
        if fault.executed:
            proceed()
        raise fault.error()

    def _next_fault(self, operation: Operation) -> Fault | None:
        struck: list[Fault] = []
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.kind == operation.kind and operation.name.startswith(fault.prefix):
                    self._counts[index] += 1
                    struck += [fault] if fault.strikes(self._counts[index]) else []
            self._struck += bool(struck)
        return struck[0] if struck else None


class LyingTransport(WrappedTransport):
    """A storage that does not do what it says, for the operations that `when` picks.

    "forget": a put or a deletion is acknowledged and not done.  "corrupt": one bit of the object put is
    flipped.  "hide": the object is stored and can be got, but no list shows it; `when` sees it as the
    put of its name.
    """

    def __init__(
        self,
        inner: Transport,
        lie: Literal["forget", "corrupt", "hide"],
        when: Callable[[Operation], bool] = lambda _: True,
    ) -> None:
        super().__init__(inner)
        self._lie = lie
        self._when = when

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        if self._lie == "forget" and operation.mutates and self._when(operation):
            return None  # type: ignore[return-value]  # put and delete return nothing
        return proceed()

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        stored = bytearray(data)
        if self._lie == "corrupt" and stored and self._when(Operation("put", name, len(stored), replace)):
            stored[len(stored) // 2] ^= 1
        super().put(name, stored, replace=replace)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        rows = super().list(prefix)
        if self._lie != "hide":
            return rows
        return (row for row in rows if not self._when(Operation("put", row.name, row.size_bytes)))


class LockingTransport(WrappedTransport):
    """Keeps every object for a time after it was put through here, as storages with an object lock do.

    `clock` says what time it is, in seconds since 1970.  Replacing is allowed, and begins the time anew.
    Connections share the locks when they share this transport.
    """

    def __init__(self, inner: Transport, lock_s: float, clock: Callable[[], float] = time.time) -> None:
        super().__init__(inner)
        self._lock_s = lock_s
        self._clock = clock
        self._free_at_s: dict[str, float] = {}

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        free_at_s = self._free_at_s.get(operation.name, 0.0)
        if operation.kind == "delete" and self._clock() < free_at_s:
            raise ObjectsLocked(frozenset({operation.name}), free_at_s)
        result = proceed()
        if operation.kind == "put":
            self._free_at_s[operation.name] = self._clock() + self._lock_s
        elif operation.kind == "delete":
            self._free_at_s.pop(operation.name, None)
        return result

    def locked(self) -> frozenset[str]:
        """The names of all objects that are kept now."""
        now_s = self._clock()
        return frozenset(name for name, free_at_s in [*self._free_at_s.items()] if now_s < free_at_s)


class GatedTransport(WrappedTransport):
    """Calls `gate` before every operation; it may wait, count, raise, or change the storage meanwhile."""

    def __init__(self, inner: Transport, gate: Callable[[Operation], None]) -> None:
        super().__init__(inner)
        self._gate = gate

    def around(self, operation: Operation, proceed: Callable[[], T]) -> T:
        self._gate(operation)
        return proceed()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a client of an `Interleaving` ended: with a result, or with an error (a `Crash`, too)."""

    result: Any = None
    error: BaseException | None = None


class Interleaving:
    """Runs several clients so that one runs at a time and every operation is a point to switch at.

    `choose` gets the names of the clients that could go on, sorted, and returns one of them: equal
    choices give equal runs.  A client may use threads, but only one of its operations at a time::

        schedule = Interleaving(choose=lambda ready: random.choice(ready))
        a = GatedTransport(transport, schedule.gate("a"))
        b = GatedTransport(transport, schedule.gate("b"))
        outcomes = schedule.run({"a": lambda: commit(a), "b": lambda: commit(b)})

    `history` is what was done, in order.
    """

    def __init__(self, choose: Callable[[Sequence[str]], str], timeout_s: float = 60.0) -> None:
        """`timeout_s` bounds one turn: a client that waits for another one there is an error."""
        self.history: list[tuple[str, Operation]] = []
        self._choose = choose
        self._timeout_s = timeout_s
        self._condition = Condition()
        self._ready: set[str] = set()
        self._busy: set[str] = set()
        self._over = False

    def gate(self, client: str) -> Callable[[Operation], None]:
        """What a `GatedTransport` of this client is to call."""

        def wait(operation: Operation) -> None:
            self._wait_for_turn(client)
            self.history.append((client, operation))

        return wait

    def run(self, clients: Mapping[str, Callable[[], Any]]) -> Mapping[str, Outcome]:
        """Run them all to their ends, once.  Raises `TimeoutError`, and whatever `choose` raises."""
        outcomes: dict[str, Outcome] = {}
        self._busy = set(clients)
        threads = [
            Thread(target=self._live, args=(client, act, outcomes), name=f"client {client}", daemon=True)
            for client, act in clients.items()
        ]
        for thread in threads:
            thread.start()
        with self._condition:
            try:
                self._give_turns()
            finally:
                self._over = True
                self._condition.notify_all()
        for thread in threads:
            thread.join()
        return outcomes

    def _give_turns(self) -> None:
        while True:
            if not self._condition.wait_for(lambda: not self._busy, self._timeout_s):
                raise TimeoutError(f"client {min(self._busy)} did not come to its next operation")
            if not self._ready:
                return
            chosen = self._choose(sorted(self._ready))
            self._ready.remove(chosen)
            self._busy.add(chosen)
            self._condition.notify_all()

    def _live(self, client: str, act: Callable[[], Any], outcomes: dict[str, Outcome]) -> None:
        try:
            self._wait_for_turn(client)
            outcomes[client] = Outcome(result=act())
        except BaseException as error:  # noqa: BLE001  # a crash is an outcome, too
            outcomes[client] = Outcome(error=error)
        with self._condition:
            self._busy.discard(client)
            self._condition.notify_all()

    def _wait_for_turn(self, client: str) -> None:
        with self._condition:
            self._busy.discard(client)
            self._ready.add(client)
            self._condition.notify_all()
            self._condition.wait_for(lambda: client in self._busy or self._over)
            if client not in self._busy:
                raise Crash("the schedule is over")
