"""`bitbacker check`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app.access import connected
from bitbacker.app.check import CheckResult, Problem
from bitbacker.app.check import check as prove
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.escape import escaped
from bitbacker.cli.output import Output, json_text, size
from bitbacker.cli.progress import observing
from bitbacker.errors import DamageError


def check(
    ctx: typer.Context,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read and decrypt everything, as a restore of all would.")
    ] = False,
) -> int:
    """Prove that the repository is whole.

    Without --read-data, everything that leads to the data is read, and the data itself must be there.
    What is found is told in words of snapshots and files, and the exit code is 13.

    Examples:
      bitbacker -r file:///srv/backup check
      bitbacker -r file:///srv/backup check --read-data
    """
    out = Output(ctx.obj)
    with (
        connected(access_of(ctx.obj), password_prompt()) as connection,
        observing(ctx.obj, "segments") as observer,
    ):
        result = prove(connection, observer, read_data=read_data)
    for problem in result.problems:
        _show(out, problem)
    _summary(out, result)
    return DamageError.exit_code if result.problems else 0


def _show(out: Output, problem: Problem) -> None:
    snapshots = ", ".join(one[:8] for one in problem.snapshots)
    out.text(
        escaped(f"{problem.object}: {problem.text}") + (f" (snapshots {snapshots})" if snapshots else "")
    )
    for path in problem.paths:
        out.text(f"  {escaped(path)}")
    out.record(
        "problem",
        object=problem.object,
        problem=escaped(problem.text),
        snapshots=list(problem.snapshots),
        paths=[json_text(path, "path") for path in problem.paths],
    )


def _summary(out: Output, result: CheckResult) -> None:
    read = f", {size(result.read_bytes)} read" if result.read_bytes else ""
    out.detail(
        f"looked at {result.snapshots} snapshots, {result.segments} segments, {result.chunks} chunks{read}"
    )
    if result.read_bytes:
        out.detail(f"{result.padding_part:.1%} of the large segments is padding")
    if result.orphans:
        out.detail(f"{result.orphans} segments belong to no snapshot; bitbacker prune removes them")
    out.text(f"found {len(result.problems)} problems" if result.problems else "found nothing wrong")
    out.record(
        "summary",
        problems=len(result.problems),
        heads=result.heads,
        snapshots=result.snapshots,
        segments=result.segments,
        chunks=result.chunks,
        orphan_segments=result.orphans,
        read_bytes=result.read_bytes,
        padding_part=round(result.padding_part, 4),
    )
