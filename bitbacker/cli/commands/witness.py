"""`bitbacker witness`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app.access import connected
from bitbacker.app.witness import Standing, Verdict, check_witness, decode_witness, make_witness
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.output import Output


def witness(
    ctx: typer.Context,
    text: Annotated[
        str,
        typer.Argument(
            metavar="WITNESS", help="A line that was printed before, to compare with.", show_default=False
        ),
    ] = "",
) -> None:
    """Print a line that detects a rollback, or check one.

    Without a line, one is printed that says what the newest state of the repository is. Keep it where
    the storage is not: on paper, or on another machine.

    With a line, it is checked that the storage shows this state or one that goes on from it. That works
    on a machine that has never seen the repository; if it is not so, the exit code is 13.

    Examples:
      bitbacker -r file:///srv/backup witness
      bitbacker -r file:///srv/backup witness bbw1-7-7f3a-09c1-55d2-e8b0-4c6d-913e-42ed
    """
    out = Output(ctx.obj)
    witnessed = decode_witness(text) if text else None
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        if witnessed is not None:
            _tell(out, check_witness(connection, witnessed))
            return
        made = make_witness(connection)
    out.text(made)
    out.record("witness", witness=made)


def _tell(out: Output, verdict: Verdict) -> None:
    sentences = {
        Standing.SAME: f"the newest head is {verdict.head}, that of the witness",
        Standing.LATER: f"the newest head is {verdict.head}, which goes on from head {verdict.witnessed} "
        "of the witness",
        Standing.UNKNOWN: f"the newest head is {verdict.head}; the repository no longer says what head "
        f"{verdict.witnessed} was, so this does not show whether it goes on from it",
    }
    out.text(sentences[verdict.standing])
    out.record(
        "witness_checked",
        standing=verdict.standing.value,
        head=verdict.head,
        witnessed=verdict.witnessed,
    )
