"""`bitbacker dump`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bitbacker.app.access import connected
from bitbacker.app.restore import dump_file
from bitbacker.app.select import Filter, find_snapshot
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.options import Hosts, SnapshotName, Sources, Tags


def dump(
    ctx: typer.Context,
    *,
    snapshot: SnapshotName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A regular file of the snapshot.")],
    host: Hosts = None,
    source: Sources = None,
    tag: Tags = None,
) -> None:
    """Write one file of a snapshot to standard output, byte for byte.

    Examples:
      bitbacker -r file:///srv/backup dump latest shop.sql | psql shop
      bitbacker -r file:///srv/backup dump latest~2 /etc/fstab
    """
    wanted = Filter(tuple(host or ()), tuple(source or ()), tuple(tag or ()))
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        found = find_snapshot(connection, snapshot, wanted)
        dump_file(connection, found, path, sys.stdout.buffer)
        sys.stdout.buffer.flush()
