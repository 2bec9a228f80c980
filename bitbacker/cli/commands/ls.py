"""`bitbacker ls`."""

from __future__ import annotations

import stat
from typing import Annotated

import typer

from bitbacker.app.access import connected
from bitbacker.app.ls import KINDS, Entry, list_entries
from bitbacker.app.select import Filter, find_snapshot
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.escape import escaped, escaped_path
from bitbacker.cli.options import Hosts, SnapshotName, Sources, Tags
from bitbacker.cli.output import Output, json_path, json_time, local_time

_TYPES = {name: mode for mode, name in KINDS.items()}


def ls(
    ctx: typer.Context,
    *,
    snapshot: SnapshotName,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Only this, and what is below it.", show_default=False)
    ] = "",
    long: Annotated[
        bool, typer.Option("--long", "-l", help="With mode, owner, size and time of change.")
    ] = False,
    host: Hosts = None,
    source: Sources = None,
    tag: Tags = None,
) -> None:
    """List the files of a snapshot.

    Examples:
      bitbacker -r file:///srv/backup ls latest
      bitbacker -r file:///srv/backup ls latest~1 /home/ann -l
      bitbacker -r file:///srv/backup ls 4f1c --json
    """
    out = Output(ctx.obj)
    wanted = Filter(tuple(host or ()), tuple(source or ()), tuple(tag or ()))
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        found = find_snapshot(connection, snapshot, wanted)
        for entry in list_entries(connection, found, path):
            out.text(_long(entry) if long else _name(entry))
            if out.as_json:
                out.record("entry", **_fields(entry))


def _name(entry: Entry) -> str:
    return "/" + escaped_path(entry.path) + ("/" if entry.kind == "directory" else "")


def _long(entry: Entry) -> str:
    owner = f"{escaped(entry.user) or entry.uid} {escaped(entry.group) or entry.gid}"
    target = f" -> {escaped_path(entry.link_target)}" if entry.link_target else ""
    return (
        f"{stat.filemode(_TYPES.get(entry.kind, 0) | entry.mode)} {owner:<17} {entry.size_bytes:>12} "
        f"{local_time(entry.mtime_ns)} {_name(entry)}{target}"
    )


def _fields(entry: Entry) -> dict[str, object]:
    target = json_path(entry.link_target, "link_target") if entry.kind == "symlink" else {}
    return {
        **json_path(entry.path),
        "kind": entry.kind,
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "user": entry.user,
        "group": entry.group,
        "size": entry.size_bytes,
        "mtime": json_time(entry.mtime_ns),
        "changed_while_read": entry.torn,
        **target,
    }
