"""`bitbacker key`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app import keys
from bitbacker.app.access import connected
from bitbacker.app.keys import KeyInfo, KeyOptions
from bitbacker.cli.asking import access_of, confirm, password_prompt
from bitbacker.cli.options import Yes
from bitbacker.cli.output import Output, json_time, local_time

NS_PER_S = 10**9


def add(
    ctx: typer.Context,
    *,
    label: Annotated[
        str, typer.Option(metavar="TEXT", help="What `key list` calls it.", show_default=False)
    ] = "",
    new_password_file: Annotated[
        str, typer.Option(metavar="FILE", help="Read the new password from a file.", show_default=False)
    ] = "",
    recovery_code: Annotated[
        bool, typer.Option("--recovery-code", help="Make a recovery code instead, and show it once.")
    ] = False,
) -> None:
    """Add a password or a recovery code.

    A code is made up, shown once, and kept on paper.
    The repository is opened with a password that it has already.

    Examples:
      bitbacker -r file:///srv/backup key add --label laptop
      bitbacker -r file:///srv/backup key add --recovery-code
    """
    out = Output(ctx.obj)
    options = KeyOptions(label, new_password_file, recovery_code)
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        out.warn(connection.warning)
        added = keys.add_key(connection, options)
    out.detail(f"key {added.number} added")
    if added.recovery_code:
        out.detail("This code opens the repository like a password. It is not shown again; print it:")
        out.text(added.recovery_code)
    code = {"recovery_code": added.recovery_code} if added.recovery_code else {}
    out.record("key_added", number=added.number, **code)


def list_(ctx: typer.Context) -> None:
    """List passwords and recovery codes: their kinds and labels, never what they are.

    Examples:
      bitbacker -r file:///srv/backup key list
      bitbacker -r file:///srv/backup key list --json
    """
    out = Output(ctx.obj)
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        found = keys.list_keys(connection)
    out.table(["NUMBER", "KIND", "MADE", "LABEL", ""], [_row(info) for info in found], right=(0,))
    for info in found:
        out.record(
            "key",
            number=info.number,
            kind=info.kind.name.lower(),
            created=json_time(info.created_s * NS_PER_S),
            label=info.label,
            current=info.current,
        )


def remove(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `key list` shows it.")],
    yes: Yes = False,
) -> None:
    """Remove a password or a recovery code.

    It no longer opens the repository. Who has a copy of the storage from before can still use it there.

    Examples:
      bitbacker -r file:///srv/backup key remove 2
      bitbacker -r file:///srv/backup key remove 2 --yes
    """
    out = Output(ctx.obj)
    with connected(access_of(ctx.obj), password_prompt()) as connection:
        out.warn(connection.warning)
        confirm(f"Remove key {number}?", yes=yes)
        keys.remove_key(connection, number)
    out.detail(f"key {number} removed")
    out.record("key_removed", number=number)


def _row(info: KeyInfo) -> list[str]:
    made = local_time(info.created_s * NS_PER_S)
    return [str(info.number), info.kind.name.lower(), made, info.label, "in use now" if info.current else ""]
