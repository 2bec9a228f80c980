"""When a repository was last checked from this machine."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from bitbacker.app.access import Connection

NS_PER_S = 10**9
CHECKED = "check"
READ_DATA = "read_data"


class CheckTimes:
    """Remembered in the state directory of the repository.

    A repository that was never checked counts from its oldest snapshot, so that a first backup is not
    read again at once, and a lost state directory does not put a check off for ever.
    """

    def __init__(self, connection: Connection, now_ns: int) -> None:
        self._path = connection.repository.state_folder / "checks.json"
        self._connection = connection
        self._now_ns = now_ns

    def due(self, kind: str, every_s: float | None) -> bool:
        """Whether so much time has passed; None is never."""
        if every_s is None:
            return False
        last_ns = _read(self._path).get(kind) or self._oldest_ns()
        return self._now_ns - last_ns >= every_s * NS_PER_S

    def done(self, *kinds: str) -> None:
        """Remember that these were done now and found nothing wrong."""
        times = {**_read(self._path), **dict.fromkeys(kinds, self._now_ns)}
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_name(f".checks.{secrets.token_hex(4)}")
        temporary.write_text(json.dumps(times), "ascii")
        os.replace(temporary, self._path)

    def _oldest_ns(self) -> int:
        repository = self._connection.repository
        snapshots = repository.catalog(repository.newest()).snapshots
        return snapshots[0].time_ns if snapshots else self._now_ns


def _read(path: Path) -> Mapping[str, int]:
    """What is remembered; nothing when that is lost or damaged, which costs a check."""
    try:
        times = json.loads(path.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(times, dict):
        return {}
    return {kind: value for kind, value in times.items() if isinstance(value, int)}
