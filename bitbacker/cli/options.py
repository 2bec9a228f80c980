"""Options that every command understands, before and after its name, and types that several share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import typer

import bitbacker


@dataclass(frozen=True, slots=True)
class Globals:
    """The options of every command, as given so far, and the words of the command itself."""

    config: str = ""
    remote: str = ""
    password_file: str = ""
    password_command: str = ""
    json: bool = False
    verbose: int = 0
    quiet: bool = False
    no_cache: bool = False
    command: str = ""

    def overlaid(self, given: Mapping[str, Any]) -> Globals:
        """With what stands further right on the command line: it overrules, and -v adds up."""
        changes = {name: value for name, value in given.items() if value}
        changes["verbose"] = self.verbose + given.get("verbose", 0)
        return replace(self, **changes)


GLOBAL_NAMES = frozenset(field.name for field in fields(Globals)) - {"command"}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bitbacker {bitbacker.__version__}")
        raise typer.Exit


def _not_empty(value: str | None) -> str | None:
    """An empty value is a variable of a shell that was never set, not a wish for the default."""
    if value == "":
        raise typer.BadParameter("is empty")
    return value


def _text_option(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, callback=_not_empty, show_default=False)


ConfigFile = Annotated[str | None, _text_option("--config", metavar="FILE", text="The configuration to use.")]
RemoteName = Annotated[
    str | None,
    _text_option(
        "--remote",
        "-r",
        metavar="NAME_OR_URL",
        text="The repository: a remote of the configuration, a URL or a path. Else BITBACKER_REMOTE.",
    ),
]
PasswordFile = Annotated[
    str | None,
    _text_option(
        "--password-file", metavar="FILE", text="Read the password from a file. Else BITBACKER_PASSWORD."
    ),
]
PasswordCommand = Annotated[
    str | None, _text_option("--password-command", metavar="COMMAND", text="Run this for the password.")
]


def global_options(
    *,
    config: ConfigFile = None,
    remote: RemoteName = None,
    password_file: PasswordFile = None,
    password_command: PasswordCommand = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
    verbose: Annotated[
        int,
        typer.Option("--verbose", "-v", count=True, help="Say more; may be repeated.", show_default=False),
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the cache.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end."),
    ] = False,
) -> None:
    """What Typer makes the options from; they go to the context (see `lazy.take_globals`), not here."""


SnapshotName = Annotated[
    str, typer.Argument(metavar="SNAPSHOT", help="An id or its beginning, 'latest', or 'latest~N'.")
]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", "-H", metavar="NAME", help="Only snapshots of this host; may be repeated."),
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME", help="Only snapshots of this source; may be repeated."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Only snapshots with this tag; may be repeated."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done, and do nothing.")]
StrictBackup = Annotated[
    bool, typer.Option("--strict", help="Fetch the same from the storage whatever changed.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
