"""`bitbacker init`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app.init import init as make_repository
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.escape import escaped
from bitbacker.cli.output import Output


def init(
    ctx: typer.Context,
    label: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What `key list` calls the first password.", show_default=False),
    ] = "",
    single_writer: Annotated[
        bool,
        typer.Option("--single-writer", help="For a storage that cannot decide between two writers."),
    ] = False,
) -> None:
    """Make a new repository.

    Its cipher and its chunker are those of the configuration, and stay what they are.
    A storage that cannot decide which of two writers came first is refused. With --single-writer it is
    used all the same; no two machines may ever write to it at once then, and nothing detects that they do.

    The password cannot be recovered: keep it, or make a recovery code with `bitbacker key add`.

    Examples:
      bitbacker -r file:///srv/backup init
      bitbacker -r /srv/backup --password-file ~/.backup-password init
      bitbacker --config bitbacker.toml -r offsite init
      bitbacker -r sftp://backup@nas/backup init --single-writer
    """
    out = Output(ctx.obj)
    made = make_repository(access_of(ctx.obj), password_prompt(), label, single_writer=single_writer)
    out.warn(made.warning)
    out.text(f"repository made at {escaped(made.url)}")
    out.detail(f"cipher {made.cipher}, chunker {made.chunker}")
    out.record(
        "initialized",
        url=made.url,
        repository=made.id,
        cipher=made.cipher,
        chunker=made.chunker,
        single_writer=made.single_writer,
    )
