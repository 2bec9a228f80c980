"""`bitbacker config`."""

from __future__ import annotations

import typer

from bitbacker.app.configuration import check_config, show_config
from bitbacker.cli.asking import access_of
from bitbacker.cli.escape import escaped
from bitbacker.cli.output import Output


def check(ctx: typer.Context) -> None:
    """Check the configuration and its plugins: all keys are known, and every plugin loads.

    No secret is fetched, and neither sources nor remotes are touched.

    Examples:
      bitbacker config check
      bitbacker --config bitbacker.toml config check --json
    """
    out = Output(ctx.obj)
    parts = check_config(access_of(ctx.obj))
    rows = [[part.table, part.plugin.kind.value, part.plugin.name, str(part.plugin)] for part in parts]
    out.table(["TABLE", "KIND", "PLUGIN", "FROM"], rows)
    out.detail("the configuration is in order")
    for part in parts:
        out.record("part", table=part.table, kind=part.plugin.kind.value, plugin=part.plugin.name)
    out.record("summary", parts=len(parts))


def show(ctx: typer.Context) -> None:
    """Show every value that holds, and where it comes from; secrets are stars.

    What settings of sessions give up follows: what the storage learns, or what it costs to hide it.

    Examples:
      bitbacker config show
      bitbacker --config bitbacker.toml config show --json
    """
    out = Output(ctx.obj)
    values = show_config(access_of(ctx.obj))
    out.table(["KEY", "VALUE", "FROM"], [[shown.key, shown.value, shown.origin] for shown in values])
    trades = [shown for shown in values if shown.gives_up]
    if trades:
        out.detail("")
    for shown in trades:
        out.detail(escaped(f"{shown.key} = {shown.value}: {shown.gives_up}"))
    for shown in values:
        out.record("value", key=shown.key, value=shown.value, origin=shown.origin, gives_up=shown.gives_up)
