"""Commands that are imported when they are called, and options that may stand anywhere.

Typer hands both jobs to the classes of its groups and commands, which are Click's.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bitbacker.cli.help_page import SEE_GLOBALS, write_examples, write_params, write_text
from bitbacker.cli.options import GLOBAL_NAMES, Globals, global_options
from bitbacker.cli.table import Word
from bitbacker.errors import InterruptedByUser

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
ROOT_HELP = """
Encrypted, deduplicating, leak-free backup, made of plugins.

The options below may stand before or behind the command.

Examples:
  bitbacker -r file:///srv/backup init
  bitbacker -r file:///srv/backup backup ~/documents
  bitbacker -r file:///srv/backup restore latest --target ~/restored
"""


def root(words: Sequence[Word]) -> LazyGroup:
    """The whole command line."""
    return _group(words, ROOT_HELP, version=True)


class PipeClosed(Exception):
    """Nobody reads what we write any more: no error, but the end."""


class _Command(TyperCommand):
    """A command that takes the global options too, and shows them in one line of its help."""

    def invoke(self, ctx: Any) -> Any:
        take_globals(ctx)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # Typer would end without a word.
            raise InterruptedByUser("interrupted") from error
        except BrokenPipeError as error:
            raise PipeClosed from error

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        del ctx
        write_text(self, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        own = [param for param in self.get_params(ctx) if param.name not in GLOBAL_NAMES]
        write_params(ctx, formatter, own)
        write_examples(self, formatter)
        formatter.write(SEE_GLOBALS)


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and summary only."""

    words: dict[str, Word]

    def invoke(self, ctx: Any) -> Any:
        take_globals(ctx)
        return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.words)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        word = self.words.get(cmd_name)
        return load(word) if word else None

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        del ctx
        write_text(self, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        is_root = ctx.parent is None
        own = [param for param in self.get_params(ctx) if is_root or param.name not in GLOBAL_NAMES]
        write_params(ctx, formatter, own)
        with formatter.section("Commands"):
            formatter.write_dl([(word.name, word.summary) for word in self.words.values()])
        write_examples(self, formatter)
        if not is_root:
            formatter.write(SEE_GLOBALS)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Options as any command completes them, words from the table."""
        options = TyperCommand.shell_complete(cast("Any", self), ctx, incomplete)
        item = _completion_item()
        words = [word for word in self.words.values() if word.name.startswith(incomplete)]
        return [item(word.name, help=word.summary) for word in words] + options


def take_globals(ctx: Any) -> None:
    """Move the global options of this command or group from its parameters to the context."""
    given = {name: ctx.params.pop(name) for name in GLOBAL_NAMES if name in ctx.params}
    ctx.params.pop("version", None)
    given["command"] = ctx.command_path.partition(" ")[2]
    ctx.obj = (ctx.obj if isinstance(ctx.obj, Globals) else Globals()).overlaid(given)


def load(word: Word) -> Any:
    """The command of this word; its module is imported."""
    if word.words:
        return _group(word.words, word.text)
    module, _, function = word.target.partition(":")
    app = typer.Typer(**_PLAIN)
    app.command(word.name, cls=_Command, context_settings=SETTINGS, short_help=word.summary)(
        getattr(import_module(module), function)
    )
    command: Any = get_command(app)
    command.params += [param for param in _group((), "").params if param.name in GLOBAL_NAMES]
    return command


# Local variables in a traceback may hold the password, and Rich is slow to load.
_PLAIN: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "pretty_exceptions_show_locals": False,
    "rich_markup_mode": None,
}


def _group(words: Sequence[Word], text: str, *, version: bool = False) -> LazyGroup:
    app = typer.Typer(**_PLAIN)
    app.callback(cls=LazyGroup, context_settings=SETTINGS, help=text, no_args_is_help=True)(global_options)
    group = cast("LazyGroup", get_command(app))
    if not version:
        group.params = [param for param in group.params if param.name in GLOBAL_NAMES]
    group.words = {word.name: word for word in words}
    # Its keys are what a mistyped word is compared with.
    group.commands = dict.fromkeys(group.words, cast("Any", None))
    return group


def _completion_item() -> Any:
    """The class of a completion, which Typer's own groups use."""
    return vars(import_module("typer.core"))["CompletionItem"]
