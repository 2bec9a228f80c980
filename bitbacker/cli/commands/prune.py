"""`bitbacker prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app.access import Connection, connected
from bitbacker.app.prune import PrunePlan, PruneResult, free_at_ns, plan
from bitbacker.app.prune import prune as free
from bitbacker.cli.asking import access_of, confirm, password_prompt
from bitbacker.cli.options import DryRun, Yes
from bitbacker.cli.output import Output, json_time, local_time, size
from bitbacker.cli.progress import observing

Strict = Annotated[
    bool, typer.Option("--strict", help="Read and store everything again, so that what goes does not show.")
]


def prune(ctx: typer.Context, strict: Strict = False, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Free the space that no snapshot needs.

    Segments that hold little of what is needed are copied first. Other clients may back up meanwhile.
    What goes is shown first.

    The storage sees which segments are copied and removed, and so about when what was forgotten had
    been stored. With --strict it sees how much remains, and nothing else: everything is read twice, and
    all that is needed is stored again.

    Examples:
      bitbacker -r file:///srv/backup prune --dry-run
      bitbacker -r file:///srv/backup prune --yes
      bitbacker -r file:///srv/backup prune --strict --yes
    """
    out = Output(ctx.obj)
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        if not dry_run:
            out.warn(connection.warning)
        with observing(ctx.obj, "segments") as observer:
            planned = plan(connection, observer, strict=strict)
        _carry_out(out, connection, planned, dry_run=dry_run, yes=yes)


def prune_now(out: Output, connection: Connection, *, dry_run: bool, yes: bool) -> None:
    """Plan, show, ask, do."""
    _carry_out(out, connection, plan(connection), dry_run=dry_run, yes=yes)


def _carry_out(out: Output, connection: Connection, planned: PrunePlan, *, dry_run: bool, yes: bool) -> None:
    _show(out, planned)
    if dry_run:
        return
    if planned.nothing_to_do:
        _summarise(out, PruneResult(0, 0, 0))
        return
    confirm("Go on?", yes=yes)
    result = free(connection, planned)
    net = result.freed_bytes - result.stored_bytes
    out.text(f"removed {result.deleted_segments} segments, freed {size(max(net, 0))}")
    if result.locked_segments:
        out.text(_locked_text(result))
    _summarise(out, result)


def _locked_text(result: PruneResult) -> str:
    until_ns = free_at_ns(result)
    until = f" until {local_time(until_ns)}" if until_ns is not None else ""
    what = f"{result.locked_segments} segments ({size(result.locked_bytes)})"
    return f"{what} are locked{until}; a later prune removes them"


def _summarise(out: Output, result: PruneResult) -> None:
    until_ns = free_at_ns(result)
    out.record(
        "summary",
        deleted_segments=result.deleted_segments,
        freed_bytes=result.freed_bytes,
        stored_bytes=result.stored_bytes,
        locked_segments=result.locked_segments,
        locked_bytes=result.locked_bytes,
        locked_until=None if until_ns is None else json_time(until_ns),
    )


def _show(out: Output, planned: PrunePlan) -> None:
    if planned.nothing_to_do:
        out.text("nothing to prune")
    elif planned.strict:
        out.text(f"Strict:    reads and writes the whole repository, {len(planned.repacked)} segments")
        out.text(
            f"Stored:    about {size(planned.repacked_bytes)} again, which wait on this machine until then"
        )
        out.text(f"Left over: {len(planned.orphans)} segments that belong to no snapshot")
        _show_condemned(out, planned)
        out.text(f"Removes:   {size(planned.freed_bytes)}, which is everything that is there now")
    else:
        out.text(f"Unused:    {len(planned.dead)} segments")
        out.text(f"Repacked:  {len(planned.repacked)} segments, {size(planned.repacked_bytes)} stored again")
        out.text(f"Left over: {len(planned.orphans)} segments that belong to no snapshot")
        _show_condemned(out, planned)
        out.text(f"Frees:     {size(planned.freed_bytes)}; {len(planned.kept)} segments stay")
    out.record(
        "plan",
        strict=planned.strict,
        dead_segments=len(planned.dead),
        repacked_segments=len(planned.repacked),
        orphan_segments=len(planned.orphans),
        condemned_segments=len(planned.condemned),
        kept_segments=len(planned.kept),
        freed_bytes=planned.freed_bytes,
        repacked_bytes=planned.repacked_bytes,
    )


def _show_condemned(out: Output, planned: PrunePlan) -> None:
    """Most storages delete at once, so there is seldom something to say."""
    if planned.condemned:
        out.text(f"Condemned: {len(planned.condemned)} segments that an earlier prune could not delete")
