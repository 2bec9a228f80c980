"""Compares a backup of an unchanged tree with a cache and without: time, processor time, and what is fetched.

Makes a tree of small files and backs it up; then again and again with an empty home, and again and again
with the cache and state of a first backup.  Prints Markdown with medians.

    python contrib/bench/cold.py --files 1000000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PER_DIRECTORY = 100
SIZE_MAX_BYTES = 2_000
WORK = Path("/var/tmp/bitbacker-cold")  # noqa: S108  # it is large, and kept for the next time


@dataclass(frozen=True)
class Run:
    """One backup: seconds, seconds of the processor, and what it asked the storage for."""

    elapsed_s: float
    cpu_s: float
    requests: int
    received_bytes: int
    sent_bytes: int


class Place:
    """A folder with the tree, the repository and a home for the tool."""

    def __init__(self, folder: Path, bitbacker: list[str]) -> None:
        self.tree = folder / "tree"
        self._home = folder / "home"
        self._repository = folder / "repository"
        self._command = [*bitbacker, "-r", f"file://{self._repository}"]

    def make_tree(self, files: int) -> None:
        """Files of 0 to 2 KB, a hundred in each directory; an existing tree is taken as it is."""
        if self.tree.exists():
            return
        rng = random.Random(1)  # noqa: S311  # the same tree everywhere
        for number in range(files):
            if number % PER_DIRECTORY == 0:
                directory = (
                    self.tree / f"{number // PER_DIRECTORY // 100:04}" / f"{number // PER_DIRECTORY % 100:02}"
                )
                directory.mkdir(parents=True)
            text = " ".join(f"{rng.randrange(1 << 20):x}" for _ in range(rng.randrange(SIZE_MAX_BYTES // 6)))
            (directory / f"{rng.randrange(1 << 24):06x}-{number % PER_DIRECTORY}").write_text(text)

    def begin(self) -> None:
        """A new repository with one snapshot."""
        shutil.rmtree(self._repository, ignore_errors=True)
        self.forget()
        self._run("init")
        self._run("backup", str(self.tree))

    def forget(self) -> None:
        """No cache and no state, as on a machine that was never here."""
        shutil.rmtree(self._home, ignore_errors=True)

    def back_up(self) -> Run:
        """One backup, measured."""
        os.sync()
        cpu, start = _children_cpu_s(), time.monotonic()
        self._run("backup", str(self.tree))
        elapsed, cpu = time.monotonic() - start, _children_cpu_s() - cpu
        return Run(elapsed, cpu, *self._last_trace())

    def _last_trace(self) -> tuple[int, int, int]:
        (trace,) = self._home.glob("state/bitbacker/*/trace.jsonl")
        asked = json.loads(trace.read_text().splitlines()[-1])["requests"]
        moved = {
            way: sum(one["size_bytes"] for one in asked if one["operation"] == way) for way in ("get", "put")
        }
        return sum(one["count"] for one in asked), moved["get"], moved["put"]

    def _run(self, *arguments: str) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "XDG_CACHE_HOME": str(self._home / "cache"),
            "XDG_STATE_HOME": str(self._home / "state"),
            "BITBACKER_PASSWORD": "a password",
        }
        subprocess.run([*self._command, *arguments], env=environment, check=True, capture_output=True)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def medians(runs: list[Run]) -> Run:
    """Each value in the middle."""
    return Run(
        statistics.median(run.elapsed_s for run in runs),
        statistics.median(run.cpu_s for run in runs),
        max(run.requests for run in runs),
        max(run.received_bytes for run in runs),
        max(run.sent_bytes for run in runs),
    )


def report(files: int, warm: Run, cold: Run) -> str:
    """A table for docs/benchmarks.md."""
    rows = [
        (
            "time, s",
            f"{warm.elapsed_s:.2f}",
            f"{cold.elapsed_s:.2f}",
            f"{cold.elapsed_s / warm.elapsed_s:.2f}",
        ),
        ("user + system time, s", f"{warm.cpu_s:.2f}", f"{cold.cpu_s:.2f}", f"{cold.cpu_s / warm.cpu_s:.2f}"),
        ("requests", f"{warm.requests}", f"{cold.requests}", ""),
        ("bytes received", f"{warm.received_bytes:,}", f"{cold.received_bytes:,}", ""),
        ("bytes sent", f"{warm.sent_bytes:,}", f"{cold.sent_bytes:,}", ""),
    ]
    lines = [f"| unchanged tree of {files:,} files | with cache | without | ratio |", "|---|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument(
        "--bitbacker", default=f"{sys.executable} -m bitbacker", help="the command to measure"
    )
    options = parser.parse_args()
    place = Place(options.work, options.bitbacker.split())
    place.make_tree(options.files)
    place.begin()
    cold = []
    for _ in range(options.rounds):
        place.forget()
        cold.append(place.back_up())
    place.begin()
    warm = [place.back_up() for _ in range(options.rounds)]
    print(report(options.files, medians(warm), medians(cold)))


if __name__ == "__main__":
    main()
