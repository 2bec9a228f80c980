"""Runs a command and says what it cost; keeps the pages of the source in memory meanwhile."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

# The kernel grants a process 65,530 mappings; each holder stays well below.
FILES_PER_HOLDER = 40_000
PROT_READ, MAP_SHARED, MAP_LOCKED, MAP_POPULATE = 1, 1, 0x2000, 0x8000


@dataclass(frozen=True)
class Cost:
    """What one command needed.

    `peak_bytes` is the resident memory of the largest process among the command and its children.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


class StepFailed(Exception):
    """A command of the comparison ended with an error."""


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Run the command to its end, its output going to `log`.  Raises `StepFailed`.

    What was written before is on disk first, so that nobody pays for the step before.  The kernel counts
    the memory of whoever starts a process into that process's peak, so this program stays small.
    """
    os.sync()
    with log.open("ab") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise StepFailed(f"{' '.join(command)} ended with {process.returncode}; its output is in {log}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


@contextmanager
def pages_held(tree: Path) -> Iterator[None]:
    """Keep the contents of every file below `tree` in the page cache.

    On a virtual machine the kernel may drop pages that were idle for a minute, and a benchmark on small
    files would then measure the disk.  Other processes map the files and lock the mappings.
    """
    holders = []
    try:
        for part in count():
            command = [sys.executable, __file__, str(tree), str(part)]
            holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            holders.append(holder)
            assert holder.stdout is not None
            answer = holder.stdout.readline().split()
            if answer[:1] != ["held"]:
                raise StepFailed(f"the pages of {tree} cannot be held; this needs root")
            if int(answer[1]) < FILES_PER_HOLDER:
                break
        yield
    finally:
        for holder in holders:
            holder.communicate()


def hold(tree: str, part: int) -> int:
    """Map and lock the files of one part of the tree; the mappings last until the process ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    held = 0
    for number, path in enumerate(files(tree)):
        if number // FILES_PER_HOLDER != part:
            continue
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            flags = MAP_SHARED | MAP_LOCKED | MAP_POPULATE
            if (
                size
                and libc.mmap(None, size, PROT_READ, flags, file.fileno(), 0) == ctypes.c_void_p(-1).value
            ):
                raise OSError(ctypes.get_errno(), "cannot lock", path)
        held += 1
    return held


def files(tree: str) -> Iterator[str]:
    """Every regular file below the tree, always in one order."""
    for folder, folders, names in os.walk(tree):
        folders.sort()
        paths = (os.path.join(folder, name) for name in sorted(names))
        yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def tree_bytes(tree: Path) -> int:
    """The sizes of all files below the tree, added up."""
    return sum(os.path.getsize(path) for path in files(str(tree)))


if __name__ == "__main__":
    print("held", hold(sys.argv[1], int(sys.argv[2])), flush=True)
    sys.stdin.read()
