"""`bitbacker explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app.explain import Explained
from bitbacker.app.explain import explain as ask
from bitbacker.cli.asking import access_of
from bitbacker.cli.escape import escaped
from bitbacker.cli.output import Output, json_text


def explain(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="It need not exist.")],
    source: Annotated[
        str, typer.Option(metavar="NAME", help="Ask this source only.", show_default=False)
    ] = "",
) -> None:
    """Say why a path is backed up or not: the rule that decides, and where it stands.

    Examples:
      bitbacker explain ~/downloads/film.mkv
      bitbacker --config bitbacker.toml explain /var/cache --source system
    """
    out = Output(ctx.obj)
    for found in ask(access_of(ctx.obj), path, source):
        out.text(_sentence(found))
        explanation = found.explanation
        out.record(
            "explanation",
            source=found.source,
            **json_text(path, "path"),
            included=explanation.included,
            reason=escaped(explanation.reason),
            rule=escaped(explanation.rule),
            file=escaped(explanation.file),
            line=explanation.line,
        )


def _sentence(found: Explained) -> str:
    explanation = found.explanation
    verdict = "backed up" if explanation.included else "left out"
    where = f" at {explanation.file}:{explanation.line}" if explanation.file else ""
    rule = f" ({explanation.rule}{where})" if explanation.rule else ""
    return escaped(f"{found.source}: {verdict}: {explanation.reason}{rule}")
