"""`bitbacker leaks`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bitbacker.app.access import connected
from bitbacker.app.leaks import CommandAccess, Leaks, SeenAccess, SeenSession, TrueChange
from bitbacker.app.leaks import leaks as learnt
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.escape import escaped
from bitbacker.cli.output import Output, json_text, json_time, local_time, size

LAST = 20
ID_DIGITS = 8
CANNOT_TELL = """\
The storage also knows from which address and with which credential each request came.
Nothing else can be derived from it: not names, numbers, sizes, times, modes or owners of files, not
which of them changed, not how many sources, hosts, tags and snapshots there are, not what a snapshot
needs, and not whether anything was compressed or stored before, beyond what the volume says.
The leakage function, and what is accepted, are in docs/threat-model.md."""


def leaks(
    ctx: typer.Context,
    last: Annotated[
        int, typer.Option("--last", metavar="N", min=0, help="Show the last N sessions; 0 for all of them.")
    ] = LAST,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw the storage's view beside the true changes, as PNG."
        ),
    ] = None,
) -> None:
    """Show what the storage has learnt so far.

    The first part is what the storage can see: sessions, their times and volumes, and its objects.
    The second is what this machine has asked for, from a trace that it keeps in its state directory;
    the storage has seen the requests of other machines, too. The last part is what truly changed,
    which only somebody with the password can know.

    --plot needs the extra 'plot': pip install 'bitbacker[plot]'.

    Examples:
      bitbacker -r file:///srv/backup leaks
      bitbacker -r file:///srv/backup leaks --last 0 --json
      bitbacker -r file:///srv/backup leaks --plot leaks.png
    """
    out = Output(ctx.obj)
    if plot is not None:
        from bitbacker.app.leaks_picture import draw, writable

        writable(plot)
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        found = learnt(connection)
    if plot is not None:
        draw(found, plot)
    _show_sessions(out, found, last)
    _show_access(out, found.access)
    _show_changes(out, found.changes, last)
    out.text(CANNOT_TELL)
    if plot is not None:
        out.detail(f"\n{escaped(str(plot))} drawn")
    _summary(out, found, plot)


def _show_sessions(out: Output, found: Leaks, last: int) -> None:
    shown = found.sessions[-last:]
    out.text("What the storage has seen:")
    out.text()
    head = ["SESSION", "TIME", "VOLUME", "LARGE", "SMALL"]
    out.table(head, [_session_row(session) for session in shown], right=(0, 2, 3, 4))
    if len(shown) < len(found.sessions):
        out.detail(f"(the last {len(shown)} of {len(found.sessions)} sessions; --last 0 shows all)")
    if not all(session.complete for session in shown):
        out.text("* more may have come: a prune has removed segments, or two clients committed at once")
    objects = found.objects
    out.text()
    out.text(f"Volume:   {size(found.volume_bytes)} in {len(found.sessions)} sessions")
    out.text(
        f"Objects:  {objects.keyslots} keyslots, {objects.heads} heads, {objects.large} large and "
        f"{objects.small} small segments, {size(objects.size_bytes)} in all"
    )
    if objects.orphans:
        out.text(f"Orphans:  {objects.orphans} segments came without a session, for example before a crash")
    out.text(f"Prunes:   {found.prunes}")
    out.text()
    for session in shown:
        out.record(
            "session",
            number=session.number,
            time=None if session.time_ns is None else json_time(session.time_ns),
            volume_bytes=session.volume_bytes,
            large_segments=session.large,
            small_segments=session.small,
            complete=session.complete,
        )
    out.record(
        "objects",
        keyslots=objects.keyslots,
        heads=objects.heads,
        large_segments=objects.large,
        small_segments=objects.small,
        orphan_segments=objects.orphans,
        bytes=objects.size_bytes,
    )


def _session_row(session: SeenSession) -> list[str]:
    return [
        str(session.number),
        "unknown" if session.time_ns is None else local_time(session.time_ns),
        size(session.volume_bytes) + ("" if session.complete else "*"),
        str(session.large),
        str(session.small),
    ]


def _show_access(out: Output, access: SeenAccess) -> None:
    if access.since_ns is None:
        out.text("What this machine has asked for is not known: it has no trace of this repository.")
    else:
        out.text(f"What this machine has asked for since {local_time(access.since_ns)}:")
        out.text()
        head = ["COMMAND", "RUNS", "REQUESTS", "SEGMENTS READ", "RECEIVED", "SENT"]
        out.table(head, [_access_row(one) for one in access.commands], right=(1, 2, 3, 4, 5))
        out.text()
        out.text(
            f"Read:     {access.read_segments} segments, {access.different_segments} different ones, "
            f"{access.repeated_segments} of them more than once"
        )
    out.text()
    for one in access.commands:
        out.record("access", **asdict(one))


def _access_row(one: CommandAccess) -> list[str]:
    return [
        one.command or "unknown",
        str(one.runs),
        str(one.requests),
        str(one.read_segments),
        size(one.got_bytes),
        size(one.put_bytes),
    ]


def _show_changes(out: Output, changes: tuple[TrueChange, ...], last: int) -> None:
    shown = changes[-last:]
    if shown:
        out.text("What truly changed, which the storage has not seen:")
        out.text()
        head = ["SNAPSHOT", "TIME", "ADDED", "STORED", "NEW OR CHANGED FILES"]
        out.table(head, [_change_row(change) for change in shown], right=(2, 3, 4))
        out.text()
    for change in shown:
        fields = asdict(change)
        out.record("change", time=json_time(fields.pop("time_ns")), **fields)


def _change_row(change: TrueChange) -> list[str]:
    return [
        change.snapshot[:ID_DIGITS],
        local_time(change.time_ns),
        size(change.added_bytes),
        size(change.stored_bytes),
        str(change.files_changed),
    ]


def _summary(out: Output, found: Leaks, plot: Path | None) -> None:
    picture = {"picture": None} if plot is None else json_text(str(plot), "picture")
    out.record(
        "summary",
        sessions=len(found.sessions),
        volume_bytes=found.volume_bytes,
        prunes=found.prunes,
        runs=sum(one.runs for one in found.access.commands),
        read_segments=found.access.read_segments,
        different_segments=found.access.different_segments,
        repeated_segments=found.access.repeated_segments,
        **picture,
    )
