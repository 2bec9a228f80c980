"""Every word of the command line: it loads, explains itself, and shows an example that parses."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from bitbacker.cli.lazy import load, root
from bitbacker.cli.table import WORDS
from cli.reference import every_word, help_of

EVERY = dict(every_word())


@pytest.mark.parametrize("name", EVERY)
def test_a_word_loads(name: str) -> None:
    command = load(EVERY[name])
    assert command.name in (name.rsplit(maxsplit=1)[-1], "")


@pytest.mark.parametrize("name", ["", *EVERY])
def test_the_help_has_an_example_that_parses(name: str) -> None:
    _, _, behind = help_of(name).partition("Examples:\n")
    lines = [line for line in behind.splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        parse(line)


def test_an_example_that_does_not_parse_is_found() -> None:
    with pytest.raises(Exception, match="such option"):
        parse("bitbacker snapshots --no-such-option")


@pytest.mark.parametrize("name", EVERY)
def test_the_summary_is_how_the_help_begins(name: str) -> None:
    """The list of commands is written by hand, so that it costs no import."""
    _, _, text = help_of(name).partition("\n\n")
    assert " ".join(text.split()).startswith(EVERY[name].summary.rstrip("."))


def parse(line: str) -> None:
    """Parse the part of a shell line that is ours, without running it."""
    words = [word for part in line.split("|") if "bitbacker" in part for word in shlex.split(part)]
    arguments = words[words.index("bitbacker") + 1 :]
    command: Any = root(WORDS)
    ctx = command.make_context("bitbacker", list(arguments))
    while hasattr(command, "resolve_command"):
        rest = [*ctx._protected_args, *ctx.args]
        name, command, arguments = command.resolve_command(ctx, rest)
        ctx = command.make_context(name, list(arguments), parent=ctx)
    assert isinstance(ctx, typer.Context) or ctx is not None
