"""`bitbacker snapshots`."""

from __future__ import annotations

import typer

from bitbacker.app.access import connected
from bitbacker.app.select import Filter, Snapshot, list_snapshots
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.options import Hosts, Sources, Tags
from bitbacker.cli.output import Output, local_time, size
from bitbacker.cli.records import snapshot_fields

ID_DIGITS = 8


def snapshots(ctx: typer.Context, host: Hosts = None, source: Sources = None, tag: Tags = None) -> None:
    """List snapshots, oldest first.

    A star marks what a backup that did not end has left. With -v, ids are shown whole.

    Examples:
      bitbacker -r file:///srv/backup snapshots
      bitbacker -r file:///srv/backup snapshots --host laptop --tag weekly
      bitbacker -r offsite snapshots --json
    """
    out = Output(ctx.obj)
    wanted = Filter(tuple(host or ()), tuple(source or ()), tuple(tag or ()))
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        found = list_snapshots(connection, wanted)
    head = ["ID", "TIME", "HOST", "SOURCE", "TAGS", "FILES", "SIZE", "PATHS"]
    if found:
        digits = None if out.verbose else ID_DIGITS
        out.table(head, [_row(snapshot, digits) for snapshot in found], right=(5, 6))
    out.detail(f"{len(found)} snapshots" if len(found) != 1 else "1 snapshot")
    for snapshot in found:
        out.record("snapshot", **snapshot_fields(snapshot))


def _row(snapshot: Snapshot, digits: int | None) -> list[str]:
    return [
        snapshot.id[:digits] + ("*" if snapshot.partial else ""),
        local_time(snapshot.time_ns),
        snapshot.host,
        snapshot.source,
        ",".join(snapshot.tags),
        str(snapshot.stats.files),
        size(snapshot.stats.size_bytes),
        ", ".join(snapshot.roots),
    ]
