"""The pages and scripts that are made from the command line itself.

`python tests/cli/reference.py` writes them; the tests compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.completion import get_completion_script

from bitbacker.cli.lazy import SETTINGS, root
from bitbacker.cli.table import WORDS, Word

TOP = Path(__file__).parents[2]
WIDTH = 80
INTRODUCTION = """# The command line

This page is what `--help` says, word by word; `python tests/cli/reference.py` makes it.
[exit-codes.md](exit-codes.md) lists the exit codes, [json.md](json.md) the output of `--json`.
"""


def every_word(words: tuple[Word, ...] = WORDS, above: str = "") -> Iterator[tuple[str, Word]]:
    """Each command and group with the words that lead to it."""
    for word in words:
        name = f"{above} {word.name}".strip()
        yield name, word
        yield from every_word(word.words, name)


def help_of(name: str) -> str:
    """The help of a command, at the width of the page; of the program itself for an empty name."""
    ctx: Any = None
    command: Any = root(WORDS)
    for part in ["bitbacker", *name.split()]:
        if ctx is not None:
            command = command.get_command(ctx, part)
        ctx = command.context_class(command, parent=ctx, info_name=part, terminal_width=WIDTH, **SETTINGS)
    text: str = command.get_help(ctx)
    return text


def cli_page() -> str:
    """docs/reference/cli.md."""
    parts = [INTRODUCTION]
    for name in ["", *(name for name, _ in every_word())]:
        title = f"bitbacker {name}".strip()
        parts.append(f"## {title}\n\n```text\n{help_of(name).rstrip()}\n```\n")
    return "\n".join(parts)


def made_files() -> dict[str, str]:
    """Every file that is made, by its path in the checkout."""
    names = {"bash": "bitbacker.bash", "zsh": "_bitbacker", "fish": "bitbacker.fish"}
    scripts = {
        f"contrib/completions/{name}": get_completion_script(
            prog_name="bitbacker", complete_var="_BITBACKER_COMPLETE", shell=shell
        ).strip()
        + "\n"
        for shell, name in names.items()
    }
    return {"docs/reference/cli.md": cli_page(), **scripts}


if __name__ == "__main__":
    for path, text in made_files().items():
        (TOP / path).parent.mkdir(parents=True, exist_ok=True)
        (TOP / path).write_text(text)
