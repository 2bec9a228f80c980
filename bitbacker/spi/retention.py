"""The retention contract: which snapshots stay.

A policy is a pure function: no I/O, no clock but the one it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What a policy may know of a snapshot.  `time_ns` counts from the epoch, UTC."""

    id: str
    time_ns: int
    host: str
    source: str
    tags: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a snapshot stays, and why, in words for a user."""

    snapshot: SnapshotInfo
    keep: bool
    reason: str


class RetentionPolicy(Protocol):
    """Judges the snapshots of one group (one host and source), newest first or in any order."""

    api_version: ClassVar[int]
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`."""

    def judge(self, snapshots: Sequence[SnapshotInfo], now_ns: int) -> Sequence[Verdict]:
        """One verdict per snapshot, in the order given."""
