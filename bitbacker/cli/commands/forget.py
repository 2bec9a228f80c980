"""`bitbacker forget`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bitbacker.app.access import Connection, connected
from bitbacker.app.forget import ForgetPlan, ForgetRequest, Group, execute_forget, plan_forget
from bitbacker.app.select import Filter
from bitbacker.cli.asking import access_of, confirm, password_prompt
from bitbacker.cli.commands.prune import prune_now
from bitbacker.cli.escape import escaped
from bitbacker.cli.options import DryRun, Hosts, Sources, Tags, Yes
from bitbacker.cli.output import Output, json_text, json_time, local_time


def _count(period: str) -> Any:
    text = f"Keep the last N {period} ones; -1 keeps all."
    return typer.Option(f"--keep-{period}", metavar="N", help=text, show_default=False)


Count = int | None


def forget(
    ctx: typer.Context,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="SNAPSHOT", help="Forget exactly these.", show_default=False),
    ] = None,
    keep_last: Annotated[
        Count,
        typer.Option(metavar="N", help="Keep the last N; -1 keeps all.", show_default=False),
    ] = None,
    keep_hourly: Annotated[Count, _count("hourly")] = None,
    keep_daily: Annotated[Count, _count("daily")] = None,
    keep_weekly: Annotated[Count, _count("weekly")] = None,
    keep_monthly: Annotated[Count, _count("monthly")] = None,
    keep_yearly: Annotated[Count, _count("yearly")] = None,
    keep_within: Annotated[
        str, typer.Option(metavar="SPAN", help="Keep what is no older, such as 2y5m7d3h.", show_default=False)
    ] = "",
    keep_tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Keep what wears this tag; may be repeated."),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Free the space as well.")] = False,
    host: Hosts = None,
    source: Sources = None,
    tag: Tags = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove snapshots by name or by rules, or by the policies of the configuration.

    Rules look at each source of each host by itself, and keep a snapshot when at least one of them
    does. Policies apply to the sources of this host only. What goes is shown first. The space is freed
    by `bitbacker prune`, or at once with --prune.

    Examples:
      bitbacker -r file:///srv/backup forget 4f1c2a
      bitbacker -r file:///srv/backup forget --keep-daily 7 --keep-monthly 12 --dry-run
      bitbacker --config bitbacker.toml -r offsite forget --prune --yes
    """
    out = Output(ctx.obj)
    rules = {
        "keep_last": keep_last,
        "keep_hourly": keep_hourly,
        "keep_daily": keep_daily,
        "keep_weekly": keep_weekly,
        "keep_monthly": keep_monthly,
        "keep_yearly": keep_yearly,
        "keep_within": keep_within or None,
        "keep_tags": tuple(keep_tag) if keep_tag else None,
    }
    request = ForgetRequest(
        tuple(names or ()),
        {key: value for key, value in rules.items() if value is not None},
        Filter(tuple(host or ()), tuple(source or ()), tuple(tag or ())),
    )
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        if not dry_run:
            out.warn(connection.warning)
        plan = plan_forget(connection, request)
        _show(out, plan, dry_run=dry_run)
        if not dry_run:
            _forget(out, connection, plan, yes=yes)
            if prune and plan.forgotten:
                prune_now(out, connection, dry_run=False, yes=True)


def _forget(out: Output, connection: Connection, plan: ForgetPlan, *, yes: bool) -> None:
    gone = len(plan.forgotten)
    if gone:
        confirm(f"Forget {gone} snapshots?", yes=yes)
        execute_forget(connection, plan)
        out.text(f"forgot {gone} snapshots, kept {plan.kept}")
    else:
        out.text("nothing to forget")
    out.record("summary", forgotten=gone, kept=plan.kept)


def _show(out: Output, plan: ForgetPlan, *, dry_run: bool) -> None:
    for group in plan.groups:
        out.text(escaped(f"{group.source} on {group.host}:"))
        out.table(["", "ID", "TIME", "TAGS", "WHY"], _rows(group))
        out.text()
        for verdict in group.verdicts:
            out.record(
                "verdict",
                id=verdict.snapshot.id,
                time=json_time(verdict.snapshot.time_ns),
                host=group.host,
                **json_text(group.source, "source"),
                keep=verdict.keep,
                reason=escaped(verdict.reason),
            )
    if dry_run:
        out.text(f"would forget {len(plan.forgotten)} snapshots and keep {plan.kept}")
        out.record("plan", forgotten=len(plan.forgotten), kept=plan.kept)


def _rows(group: Group) -> list[list[str]]:
    return [
        [
            "keep" if verdict.keep else "forget",
            verdict.snapshot.id[:8],
            local_time(verdict.snapshot.time_ns),
            ",".join(verdict.snapshot.tags),
            verdict.reason,
        ]
        for verdict in group.verdicts
    ]
