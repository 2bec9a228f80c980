"""Proving that a repository is whole."""

from __future__ import annotations

import time

from bitbacker.app.access import Connection
from bitbacker.app.due import CHECKED, READ_DATA, CheckTimes
from bitbacker.engine.observe import Observer, Progress
from bitbacker.repo.check import CheckResult, Problem
from bitbacker.repo.check import check as check_repository

__all__ = ["CheckResult", "Problem", "check"]


def check(connection: Connection, observer: Observer, *, read_data: bool) -> CheckResult:
    """Check, and remember when nothing was wrong; progress counts segments.

    Raises `DamageError` when nothing can be said any more, `StorageError`.
    """

    def tell(done: int, every: int) -> None:
        observer.progress(Progress(files=done, current=f"of {every} segments"))

    result = check_repository(connection.repository, read_data=read_data, tell=tell)
    if not result.problems:
        times = CheckTimes(connection, time.time_ns())
        times.done(*([CHECKED, READ_DATA] if read_data else [CHECKED]))
    return result
