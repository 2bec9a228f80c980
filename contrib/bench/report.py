"""Turns the costs of all rounds into the table of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from measure import Cost, files, tree_bytes
from tools import Tool

MEASURES: list[tuple[str, Callable[[Cost], float]]] = [
    ("time, s", lambda cost: cost.wall_s),
    ("user + system time, s", lambda cost: cost.cpu_s),
    ("peak memory, MiB", lambda cost: cost.peak_bytes / 2**20),
]


class Figures:
    """What was measured, by step and tool."""

    def __init__(self) -> None:
        self._costs: defaultdict[str, defaultdict[str, list[Cost]]] = defaultdict(lambda: defaultdict(list))
        self._sizes: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, step: str, tool: str, cost: Cost) -> None:
        self._costs[step][tool].append(cost)

    def add_size(self, tool: str, size_bytes: int) -> None:
        self._sizes[tool].append(size_bytes / 1e6)

    def peak_bytes(self, tool: str) -> int:
        """The most memory that any step of a tool took."""
        return max(cost.peak_bytes for costs in self._costs.values() for cost in costs[tool])

    def rows(self, names: Sequence[str]) -> list[str]:
        """One table row for each measure of each step."""
        rows = []
        for step, costs in self._costs.items():
            for measure, value in MEASURES:
                rows.append(
                    _row(f"{step}: {measure}", [[value(cost) for cost in costs[name]] for name in names])
                )
        rows.append(_row("repository after the first backup, MB", [self._sizes[name] for name in names]))
        return rows


def markdown(figures: Figures, contenders: Sequence[Tool], *, source: Path, work: Path, command: str) -> str:
    """The whole report: what was measured where and how, and the table."""
    heads = [f"{tool.name} {tool.version()}" for tool in contenders]
    count = sum(1 for _ in files(str(source)))
    megabytes = tree_bytes(source) / 1e6
    return "\n".join(
        [
            f"Made by `{command}`.",
            f"Source: `{source.name}`, {count:,} files, {megabytes:,.0f} MB, in the page cache.",
            f"Machine: {machine(work)}.",
            "Medians, with the range in brackets; the ratio is last tool to first tool.",
            "",
            f"| | {' | '.join(heads)} | ratio |",
            f"|---|{'---|' * len(heads)}---|",
            *figures.rows([tool.name for tool in contenders]),
            "",
        ]
    )


def _row(title: str, columns: Sequence[Sequence[float]]) -> str:
    medians = [median(values) for values in columns]
    shown = [
        f"{middle:,.4g} ({min(values):,.4g} to {max(values):,.4g})"
        for middle, values in zip(medians, columns, strict=True)
    ]
    ratio = f"{medians[-1] / medians[0]:.2f}" if len(medians) > 1 else ""
    return f"| {title} | {' | '.join(shown)} | {ratio} |"


def machine(work: Path) -> str:
    """Processor, memory, file system of `work`, system and Python, in one line."""
    with open("/proc/cpuinfo") as file:
        model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    shown = subprocess.run(["df", "--output=fstype", str(work)], check=True, capture_output=True, text=True)
    filesystem = shown.stdout.split()[-1]
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {filesystem}, {system}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )
