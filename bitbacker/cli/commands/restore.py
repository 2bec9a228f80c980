"""`bitbacker restore`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bitbacker.app.access import connected
from bitbacker.app.restore import RestorePlan, RestoreRequest, RestoreResult, plan, unseen
from bitbacker.app.restore import restore as write_files
from bitbacker.app.select import Filter, find_snapshot
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.escape import escaped, problem_text
from bitbacker.cli.options import DryRun, Hosts, SnapshotName, Sources, Tags
from bitbacker.cli.output import Output, duration, json_path, size
from bitbacker.cli.progress import observing
from bitbacker.errors import BitBackerError


def restore(
    ctx: typer.Context,
    *,
    snapshot: SnapshotName,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Only these, and what is below them.", show_default=False),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="DIR", help="Where to; paths are kept whole below it.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a restore that was interrupted.")
    ] = False,
    oblivious: Annotated[
        bool,
        typer.Option("--oblivious", help="Read everything, twice, so that what is restored does not show."),
    ] = False,
    dry_run: DryRun = False,
    host: Hosts = None,
    source: Sources = None,
    tag: Tags = None,
) -> int:
    """Write files of a snapshot into a directory that is empty, or is made.

    Nothing outside the directory is touched. What is damaged in the repository is left out and named,
    everything else is restored, and the exit code is 13.

    The storage sees which segments are read. With --oblivious these are all, whatever is restored.

    Examples:
      bitbacker -r file:///srv/backup restore latest --target ~/restored
      bitbacker -r file:///srv/backup restore latest~1 /home/ann/letters -t /tmp/letters
      bitbacker -r file:///srv/backup restore latest --target ~/restored --resume
      bitbacker -r file:///srv/backup restore latest /home/ann/letters -t /tmp/letters --oblivious
    """
    out = Output(ctx.obj)
    wanted = Filter(tuple(host or ()), tuple(source or ()), tuple(tag or ()))
    request = RestoreRequest(Path(target), tuple(paths or ()), resume=resume)
    with connected(access_of(ctx.obj), password_prompt()) as opened:
        connection = opened
        if oblivious:
            with observing(ctx.obj, "segments") as observer:
                connection = unseen(opened, observer)
        found = find_snapshot(connection, snapshot, wanted)
        planned = plan(connection, found, request)
        if dry_run:
            _show_plan(out, planned)
            return 0
        started = time.monotonic()
        with observing(ctx.obj) as observer:
            result = write_files(connection, found, request, planned, observer)
    _show_result(out, result, took_s=time.monotonic() - started)
    return BitBackerError.exit_code if result.problems else 0


def _show_plan(out: Output, planned: RestorePlan) -> None:
    for loss in planned.losses:
        out.text(f"cannot be restored: {problem_text(loss.path, loss.text)}")
    out.text(
        f"would restore {planned.files} files, {planned.directories} directories "
        f"and {planned.others} others, {size(planned.size_bytes)}, from {planned.segments} segments"
    )
    if planned.skipped:
        out.text(f"{planned.skipped} files are there already")
    out.record(
        "plan",
        files=planned.files,
        directories=planned.directories,
        others=planned.others,
        bytes=planned.size_bytes,
        skipped=planned.skipped,
        segments=planned.segments,
        losses=[{**json_path(loss.path), "problem": escaped(loss.text)} for loss in planned.losses],
    )


def _show_result(out: Output, result: RestoreResult, *, took_s: float) -> None:
    skipped = f", {result.skipped} were there already" if result.skipped else ""
    out.text(f"restored {result.files} files, {size(result.bytes)} in {duration(took_s)}{skipped}")
    if result.problems:
        out.text(f"{result.problems} problems: not everything is as it was")
    out.record(
        "summary",
        files=result.files,
        bytes=result.bytes,
        skipped=result.skipped,
        problems=result.problems,
        duration_s=round(took_s, 3),
    )
