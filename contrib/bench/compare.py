"""Compares BitBacker with restic: time, processor time, memory and size, in one run.

    contrib/debian/install-bench-packages
    .venv/bin/python contrib/bench/compare.py --bitbacker .venv/bin/bitbacker

Only ratios within one run mean anything, so the tools take turns, step by step, and swap their order every
round.  Everything is written to disk between two steps, and the pages of the source stay in memory.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import report
import tools
from measure import Cost, StepFailed, pages_held, run, tree_bytes
from tools import Tool

WORK = Path("/var/tmp/bitbacker-bench")  # noqa: S108  # the default; --work takes another
STEPS = ("first backup", "unchanged", "unchanged, nothing cached", "check with data", "restore")
WORDS = {"check with data": "check", "restore": "restore"}


def main() -> int:
    options = parser(__doc__ or "", WORK).parse_args()
    source = (options.source or options.work / "linux-source-6.1").resolve()
    contenders = [tool for tool in every_tool(options) if options.only in (None, tool.name)]
    measured = report.Figures()
    try:
        with pages_held(source):
            for number in range(options.rounds):
                one_round(contenders[:: -1 if number % 2 else 1], source, measured)
    except StepFailed as problem:
        print(problem, file=sys.stderr)
        return 1
    command = shlex.join(["contrib/bench/compare.py", *sys.argv[1:]])
    text = report.markdown(measured, contenders, source=source, work=options.work, command=command)
    print(text)
    if options.output:
        options.output.write_text(text)
    for tool in contenders:
        tool.clear_away()
    return 0


def parser(description: str, work: Path) -> argparse.ArgumentParser:
    """What every comparison can be told."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=work, help="where everything is written (%(default)s)")
    parser.add_argument("--source", type=Path, help="what is backed up (WORK/linux-source-6.1)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=4,
        help="how often each step is measured, best an even number",
    )
    parser.add_argument("--restic", type=Path, help="the program (WORK/restic)")
    parser.add_argument("--bitbacker", default="bitbacker", help="the program (%(default)s)")
    parser.add_argument("--only", choices=["restic", "bitbacker"], help="measure one tool alone")
    parser.add_argument("--output", type=Path, help="a file that gets the table too")
    return parser


def every_tool(options: argparse.Namespace) -> list[Tool]:
    restic = str((options.restic or options.work / "restic").resolve())
    ours = str(Path(options.bitbacker).resolve()) if "/" in options.bitbacker else options.bitbacker
    return [
        Tool("restic", restic, options.work / "of-restic", tools.restic),
        Tool("bitbacker", ours, options.work / "of-bitbacker", tools.bitbacker),
    ]


def one_round(
    contenders: Sequence[Tool], source: Path, measured: report.Figures, steps: Sequence[str] = STEPS
) -> None:
    """All steps in turns, from fresh repositories to restored trees.  Raises `StepFailed`."""
    for tool in contenders:
        tool.start_afresh()
        take_step(tool, "init", source)
    for step in steps:
        for tool in contenders:
            if step == "unchanged, nothing cached":
                tool.forget_what_is_cached()
            cost = take_step(tool, WORDS.get(step, "backup"), source)
            measured.add(step, tool.name, cost)
            print(f"{tool.name:10} {step:26} {cost.wall_s:7.2f} s", file=sys.stderr, flush=True)
            if step == "first backup":
                measured.add_size(tool.name, tree_bytes(tool.repository))
    for tool in contenders:
        be_equal(source, tool.where_restored(source))


def take_step(tool: Tool, word: str, source: Path) -> Cost:
    return run(tool.command(tool, word, source), tool.environment, tool.log)


def be_equal(source: Path, restored: Path) -> None:
    """A restore that is fast because it is wrong does not count.  Raises `StepFailed`."""
    command = ["diff", "--recursive", "--no-dereference", "--brief", str(source), str(restored)]
    compared = subprocess.run(command, check=False, capture_output=True, text=True)
    if compared.returncode != 0:
        raise StepFailed(
            f"{restored} is not what was backed up:\n{compared.stdout[:2000]}{compared.stderr[:2000]}"
        )


if __name__ == "__main__":
    sys.exit(main())
