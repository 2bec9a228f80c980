"""`bitbacker plugins`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app.plugins import Plugin, list_plugins
from bitbacker.cli.output import Output


def plugins(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Only this kind.", show_default=False)] = "",
) -> None:
    """List the plugins that are installed or that the configuration names as files.

    None of them is imported for that.

    Examples:
      bitbacker plugins
      bitbacker plugins transport
      bitbacker --config bitbacker.toml plugins --json
    """
    out = Output(ctx.obj)
    found = list_plugins(ctx.obj.config, kind)
    out.table(["KIND", "NAME", "DISTRIBUTION", "VERSION", "ORIGIN"], [_row(plugin) for plugin in found])
    for plugin in found:
        out.record(
            "plugin",
            kind=plugin.kind.value,
            name=plugin.name,
            distribution=plugin.distribution,
            version=plugin.version,
            origin=plugin.origin,
        )


def _row(plugin: Plugin) -> list[str]:
    return [plugin.kind.value, plugin.name, plugin.distribution, plugin.version, plugin.origin]
