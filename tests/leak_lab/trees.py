"""Planting files so that nothing but what an experiment means differs: times are constant."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

TIME_NS = 1_700_000_000_123_456_789

SETTLED_S = 0.06


def settle() -> None:
    """Wait until what was written last can be told from what is written next: 50 ms, says the source."""
    time.sleep(SETTLED_S)


def plant(top: Path, files: Mapping[str, bytes], time_ns: int = TIME_NS) -> None:
    """Write these files, make their directories, and set every time below `top`."""
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    set_times(top, time_ns)


def set_times(top: Path, time_ns: int = TIME_NS) -> None:
    """Give everything below `top` the same time."""
    for folder, folders, files in os.walk(top, topdown=False):
        for name in (*folders, *files):
            os.utime(os.path.join(folder, name), ns=(time_ns, time_ns), follow_symlinks=False)
    os.utime(top, ns=(time_ns, time_ns))
