"""What this machine has asked the storage for: counted while a repository is open, one line a run.

The storage sees every one of these requests itself.  The lines stay in the state directory, and a
line that cannot be written is no failure: a trace is for whoever wants to know what was seen.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from bitbacker.errors import BitBackerError
from bitbacker.format import names
from bitbacker.spi import API_VERSION, Abilities, Buffer, NoConfig, ObjectInfo, Transport

SEGMENTS_NAMED_MAX = 32_768
_SHORT_LINE_BYTES = 128


@dataclass(frozen=True, slots=True)
class Requests:
    """How often an operation (`get`, `put`, `list`, `delete`) was asked for on one kind of object.

    `area` is `keyslots`, `heads` or `segments`, or `all` for a listing of everything.  A deletion
    counts once an object.  `size_bytes` is what was got or put.
    """

    operation: str
    area: str
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A head that was created, and how many segments were stored for it: since the head before."""

    head: int
    time_ns: int
    large: int
    small: int


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for while a repository was open once.

    `command` is the word of the command line, empty when nobody said it.  `segments_read` are the
    identities in hexadecimal, in the order and as often as they were read; of a very long run the
    first `SEGMENTS_NAMED_MAX`.
    """

    time_ns: int
    duration_ms: int
    command: str
    requests: tuple[Requests, ...]
    commits: tuple[Commit, ...] = ()
    segments_read: tuple[str, ...] = ()

    def count(self, operation: str, area: str) -> int:
        """How often this was asked for."""
        return sum(one.count for one in self.requests if (one.operation, one.area) == (operation, area))

    def moved_bytes(self, operation: str) -> int:
        """How many bytes were got, or put."""
        return sum(one.size_bytes for one in self.requests if one.operation == operation)


class Tally:
    """Counts requests; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._started_ns = time.time_ns()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sizes: Counter[tuple[str, str]] = Counter()
        self._read: list[str] = []
        self._commits: list[Commit] = []
        self._put: dict[str, int] = {}

    def asked(self, operation: str, name: str) -> None:
        """A request goes out; what comes of it is not known yet."""
        with self._lock:
            self._counts[operation, _area(name)] += 1

    def got(self, name: str, size_bytes: int) -> None:
        """An object has come."""
        area = _area(name)
        with self._lock:
            self._sizes["get", area] += size_bytes
            if area == "segments" and len(self._read) < SEGMENTS_NAMED_MAX:
                self._read.append(name.removeprefix(names.SEGMENTS))

    def stored(self, name: str, size_bytes: int) -> None:
        """An object has been taken; a head ends what the storage can see as one session."""
        area = _area(name)
        with self._lock:
            self._sizes["put", area] += size_bytes
            if area == "segments":
                self._put[name] = size_bytes
            elif area == "heads":
                large = sum(size == names.LARGE_SEGMENT_SIZE_BYTES for size in self._put.values())
                commit = Commit(names.head_number(name), time.time_ns(), large, len(self._put) - large)
                self._commits.append(commit)
                self._put.clear()

    def deleted(self, name: str) -> None:
        """An object is gone; one of this session was a probe."""
        with self._lock:
            self._put.pop(name, None)

    def take(self, command: str) -> Run | None:
        """Everything so far, and begin anew; None when nothing was asked for."""
        with self._lock:
            requests = tuple(
                Requests(operation, area, count, self._sizes[operation, area])
                for (operation, area), count in sorted(self._counts.items())
            )
            duration_ms = max(0, time.time_ns() - self._started_ns) // 10**6
            started_ns, commits, read = self._started_ns, tuple(self._commits), tuple(self._read)
            self._begin()
        return Run(started_ns, duration_ms, command, requests, commits, read) if requests else None


def _area(name: str) -> str:
    return name.partition("/")[0] or "all"


class CountedTransport:
    """A transport whose requests are counted, failed ones too; it changes nothing about them."""

    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[Any]] = NoConfig

    def __init__(self, inner: Transport, tally: Tally) -> None:
        self._inner = inner
        self._tally = tally

    @property
    def abilities(self) -> Abilities:
        return self._inner.abilities

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        self._tally.asked("put", name)
        self._inner.put(name, data, replace=replace)
        self._tally.stored(name, memoryview(data).nbytes)

    def get(self, name: str) -> bytes:
        self._tally.asked("get", name)
        data = self._inner.get(name)
        self._tally.got(name, len(data))
        return data

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._tally.asked("list", prefix)
        return self._inner.list(prefix)

    def delete(self, names: Iterable[str]) -> None:
        wanted = [*names]
        for name in wanted:
            self._tally.asked("delete", name)
        self._inner.delete(wanted)
        for name in wanted:
            self._tally.deleted(name)

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a trace may become before its oldest lines go."""

    lines: int = 10_000
    size_bytes: int = 16 * 1024 * 1024


class Trace:
    """The runs of this machine on one repository, oldest first.

    Two runs that end at once may cost a line when one of them shortens the file; nothing else does.
    """

    def __init__(self, folder: Path, bounds: Bounds = Bounds()) -> None:
        self.path = folder / "trace.jsonl"
        self._bounds = bounds

    def append(self, run: Run | None) -> None:
        """Add a run, if there is one; what goes wrong here is nobody's trouble."""
        if run is None:
            return
        line = json.dumps(asdict(run), separators=(",", ":")).encode() + b"\n"
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(self.path, "ab", buffering=0, opener=_private) as file:
                file.write(line)
                size = os.fstat(file.fileno()).st_size
            if size > min(self._bounds.size_bytes, self._bounds.lines * _SHORT_LINE_BYTES):
                self._shorten()

    def _shorten(self) -> None:
        """Drop the oldest lines when there are too many, and a few more, so that this is rare."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        if len(lines) <= self._bounds.lines and sum(map(len, lines)) <= self._bounds.size_bytes:
            return
        sizes = accumulate(map(len, reversed(lines[-self._bounds.lines * 3 // 4 :])))
        kept = sum(size <= self._bounds.size_bytes * 3 // 4 for size in sizes)
        # One name for all, so that a full disk does not collect them.
        temporary = self.path.with_name(".trace.new")
        with open(temporary, "wb", opener=_private) as file:
            file.writelines(lines[len(lines) - kept :])
        temporary.replace(self.path)

    def runs(self) -> tuple[Run, ...]:
        """What is there; lines that a crash cut off or another version wrote are left out.

        Raises `BitBackerError` when the file is there but cannot be read.
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise BitBackerError(f"{self.path} cannot be read: {error.strerror}") from error
        return tuple(run for run in map(_decoded, lines) if run is not None)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _decoded(line: bytes) -> Run | None:
    try:
        found = json.loads(line)
        return Run(
            time_ns=int(found["time_ns"]),
            duration_ms=int(found["duration_ms"]),
            command=str(found["command"]),
            requests=tuple(Requests(**one) for one in found["requests"]),
            commits=tuple(Commit(**one) for one in found["commits"]),
            segments_read=tuple(map(str, found["segments_read"])),
        )
    except (KeyError, TypeError, ValueError):
        return None
