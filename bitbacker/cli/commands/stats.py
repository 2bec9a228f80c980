"""`bitbacker stats`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from bitbacker.app.access import connected
from bitbacker.app.stats import stats as count
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.output import Output, size


def stats(ctx: typer.Context) -> None:
    """Show how big the repository is.

    Examples:
      bitbacker -r file:///srv/backup stats
      bitbacker -r file:///srv/backup stats --json
    """
    out = Output(ctx.obj)
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        found = count(connection)
    out.text(f"Snapshots:  {found.snapshots} of {found.sources} sources, {size(found.source_bytes)} as files")
    out.text(f"Stored:     {size(found.stored_bytes)} in {found.segments} segments")
    out.text(f"Chunks:     {found.chunks}")
    if found.condemned_segments:
        out.text(
            f"Condemned:  {size(found.condemned_bytes)} in {found.condemned_segments} segments, "
            "gone unless the storage keeps them locked"
        )
    out.record("stats", **asdict(found))
