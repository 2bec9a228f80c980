"""What can be told to a notifier or shown by a front end: frozen values, never secrets.

Front ends and notifiers may meet event classes that they do not know; they ignore them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events.  `time_ns` is the wall clock of this client, UTC."""

    time_ns: int


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A command that does several things begins."""

    command: str


@dataclass(frozen=True, slots=True)
class SourceProblem(Event):
    """A file or directory was not backed up as it is, and why.  `path` may hold surrogates."""

    source: str
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class BackupFinished(Event):
    """A snapshot is acknowledged.  `files_changed` are new or changed since the one before.

    Sizes in bytes; `stored_bytes` is what was uploaded.
    """

    source: str
    snapshot: str
    files_changed: int
    files_unmodified: int
    problems: int
    processed_bytes: int
    added_bytes: int
    stored_bytes: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class RetentionApplied(Event):
    """Snapshots were forgotten."""

    kept: int
    forgotten: int


@dataclass(frozen=True, slots=True)
class CheckFinished(Event):
    """A check ended; `problems` is 0 when all is well."""

    problems: int
    read_data: bool


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    """A command ended with an error: its stable code and its message."""

    command: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """A command ended; `exit_code` as documented in docs/reference/exit-codes.md."""

    command: str
    exit_code: int
    duration_s: float
