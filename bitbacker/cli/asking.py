"""Questions to whoever sits at the terminal."""

from __future__ import annotations

import sys
from getpass import getpass

import typer

from bitbacker.app.access import Access, Prompt
from bitbacker.cli.escape import escaped
from bitbacker.cli.options import Globals
from bitbacker.errors import BitBackerError, UsageError


def access_of(chosen: Globals) -> Access:
    """What the command line says about the repository."""
    return Access(
        chosen.config,
        chosen.remote,
        chosen.password_file,
        chosen.password_command,
        use_cache=not chosen.no_cache,
        command=chosen.command,
    )


def password_prompt(*, stdin_is_data: bool = False) -> Prompt | None:
    """How to ask for a password; None when nobody is there, or when stdin carries what is backed up."""
    if stdin_is_data or not sys.stdin.isatty():
        return None
    return lambda purpose: getpass(f"{escaped(purpose)}: ", stream=sys.stderr)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if that is wanted.

    Raises `BitBackerError` when it is not, `UsageError` where nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm this", hint="--yes confirms it, --dry-run only shows it")
    if not typer.confirm(question, err=True):
        raise BitBackerError("not confirmed; nothing was changed")
