"""Decodes sketches of random pairs of sets, and counts how often that works and whether it is ever wrong.

    .venv/bin/python contrib/bench/sketch_trials.py

A load of 1 is what a sketch is made for: 3,800 differences in the sketch of a head, 65,000 in the rung of
1 MiB.  The figures are Markdown; docs/sketch.md explains them.  The command ends with 1 if any difference was
wrong.
"""

from __future__ import annotations

import argparse
import enum
import secrets
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from bitbacker.format.sketch import (
    PART_CELLS,
    PARTS,
    RUNG_PART_CELLS,
    Difference,
    Fingerprints,
    SetDigest,
    Sketch,
    difference,
)

DESIGN_DIFFERENCES = 3800
RUNG_DIFFERENCES = 65_000
COMMON_MAX = 2000
BELOW = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
BEYOND = (1.0, 1.025, 1.05, 1.075, 1.1, 1.2)
FOLDED = tuple(PART_CELLS >> halvings for halvings in range(1, 8))
FOLDED_LOADS = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2)

Decode = Callable[[Sketch, SetDigest, Fingerprints], Difference | None]


class Outcome(enum.Enum):
    """What became of one pair of sets."""

    DECODED = "decoded"
    FLAGGED = "flagged"
    WRONG = "wrong"


@dataclass(frozen=True)
class Row:
    """Trials of one size of sketch at one load."""

    part_cells: int
    load: float
    differences: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    @property
    def trials(self) -> int:
        return self.outcomes.total()

    @property
    def decoded(self) -> str:
        """The share that was decoded, rounded down: 100 % means all."""
        return f"{int(10_000 * self.outcomes[Outcome.DECODED] / self.trials) / 100:g} %"

    def markdown(self) -> str:
        flagged, wrong = self.outcomes[Outcome.FLAGGED], self.outcomes[Outcome.WRONG]
        shown = [
            f"{PARTS * self.part_cells:,}",
            f"{self.load:g}",
            f"{self.differences:,}",
            f"{self.trials:,}",
        ]
        return f"| {' | '.join([*shown, self.decoded, f'{flagged:,}', f'{wrong:,}'])} |"


def draw(rng: np.random.Generator, count: int) -> Fingerprints:
    """Keyed hashes look like this."""
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def trial(rng: np.random.Generator, part_cells: int, differences: int, decode: Decode) -> Outcome:
    """A pair of sets that share some fingerprints; the others are on either side as chance has it."""
    common, changed = draw(rng, int(rng.integers(COMMON_MAX))), draw(rng, differences)
    cut = int(rng.integers(differences + 1))
    local_only, remote_only = np.sort(changed[:cut]), np.sort(changed[cut:])
    remote = np.concatenate([common, remote_only])
    sketch, digest = Sketch.of(remote, part_cells), SetDigest.of(remote)
    result = decode(sketch, digest, np.concatenate([local_only, common]))
    if result is None:
        return Outcome.FLAGGED
    right = np.array_equal(result.local_only, local_only) and np.array_equal(result.remote_only, remote_only)
    return Outcome.DECODED if right else Outcome.WRONG


def run(row: Row, trials: int, seed: int, decode: Decode = difference) -> Row:
    """The row with so many trials.  Its random numbers follow from the seed, the size and the load."""
    rng = np.random.default_rng([seed, row.part_cells, row.differences])
    row.outcomes.update(trial(rng, row.part_cells, row.differences, decode) for _ in range(trials))
    return row


def row_of(part_cells: int, load: float, design: int = DESIGN_DIFFERENCES, full: int = PART_CELLS) -> Row:
    """A load of a sketch, of which `full` cells a part are made for `design` differences."""
    return Row(part_cells, load, max(1, round(load * design * part_cells / full)))


def table(rows: Iterator[Row]) -> Iterator[Row]:
    """Prints each row as soon as it is there."""
    print("\n| cells | load | differences | trials | decoded | flagged | wrong |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(row.markdown(), flush=True)
        yield row


def matrix(rows: Sequence[Row]) -> None:
    """A line for each size, a column for each load."""
    print(f"\n| cells | differences at load 1 | {' | '.join(f'{load:g}' for load in FOLDED_LOADS)} |")
    print("|---" * (2 + len(FOLDED_LOADS)) + "|")
    for part_cells in FOLDED:
        line = [row for row in rows if row.part_cells == part_cells]
        design = next(row.differences for row in line if row.load == 1)
        shown = " | ".join(row.decoded for row in line)
        print(f"| {PARTS * part_cells:,} | {design:,} | {shown} |", flush=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trials", type=int, default=20_000, help="at each load from 1 on; others get fewer (%(default)s)"
    )
    parser.add_argument("--seed", type=int, help="repeats a run (another one each time)")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    seed = secrets.randbits(32) if options.seed is None else options.seed
    few, fewer, fewest = (max(1, options.trials // share) for share in (10, 20, 200))
    print(f"`{shlex.join(['contrib/bench/sketch_trials.py', *sys.argv[1:]])}`, seed {seed}")
    started = time.monotonic()
    head = [*table(run(row_of(PART_CELLS, load), few, seed) for load in BELOW)]
    beyond = [*table(run(row_of(PART_CELLS, load), options.trials, seed) for load in BEYOND)]
    rungs = (row_of(RUNG_PART_CELLS, load, RUNG_DIFFERENCES, RUNG_PART_CELLS) for load in BELOW + BEYOND)
    rung = [*table(run(row, fewest, seed) for row in rungs)]
    folded = [run(row_of(cells, load), fewer, seed) for cells in FOLDED for load in FOLDED_LOADS]
    matrix(folded)
    every = sum((row.outcomes for row in [*head, *beyond, *rung, *folded]), Counter[Outcome]())
    print(
        f"\n{every.total():,} trials, {sum(row.trials for row in beyond):,} of them at and beyond load 1 of"
        f" the sketch in a head: {every[Outcome.DECODED]:,} decoded, {every[Outcome.FLAGGED]:,} flagged,"
        f" {every[Outcome.WRONG]} wrong, in {time.monotonic() - started:.0f} s."
    )
    return 1 if every[Outcome.WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
