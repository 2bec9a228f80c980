"""Help as plain text: no colours, no Rich, the same on every terminal and in the documentation.

A docstring that ends in `Examples:` and indented lines gives a section of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

EXAMPLES = "Examples:\n"
SEE_GLOBALS = "\nThe options of `bitbacker --help` may stand here, too.\n"


def write_text(command: Any, formatter: Any) -> None:
    """What the command does, in paragraphs."""
    text, _, _ = cleandoc(command.help or "").partition(EXAMPLES)
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(text.strip())


def write_params(ctx: Any, formatter: Any, params: Sequence[Any]) -> None:
    """Arguments and options, each with its explanation."""
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        records = [param.get_help_record(ctx) for param in params if param.param_type_name == kind]
        rows = [record for record in records if record]
        if kind == "argument":
            # Typer writes the type of Python beside the name.
            rows = [(left.partition(" <")[0], right) for left, right in rows]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def write_examples(command: Any, formatter: Any) -> None:
    """The examples, as they are: nobody wants a command line that is wrapped."""
    _, _, examples = cleandoc(command.help or "").partition(EXAMPLES)
    if examples:
        with formatter.section("Examples"):
            for line in examples.strip("\n").splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")
