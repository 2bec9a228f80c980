"""The documents say one thing a line, link to what exists and show commands that run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tidy import doc_rules
from tidy.doc_rules import Command
from tidy.tree import ROOT, Text, texts
from tidy.verdict import found_nothing

DOCUMENTS = [file for file in texts() if file.path.endswith(".md")]


def test_one_sentence_per_line() -> None:
    found_nothing(finding for file in DOCUMENTS for finding in doc_rules.one_sentence_per_line(file))


def test_links_resolve() -> None:
    found_nothing(finding for file in DOCUMENTS for finding in doc_rules.links_resolve(file, ROOT))


def test_the_readme_shows_commands_that_exist() -> None:
    readme = next(file for file in DOCUMENTS if file.path == "README.md")
    shown = list(doc_rules.commands(readme))
    assert {command.words[0] for command in shown} >= {"make", "bitbacker"}
    missing = (command for command in shown if not exists(command))
    found_nothing(
        readme.found(command.line, f"{' '.join(command.words)!r} does not exist") for command in missing
    )


def exists(command: Command) -> bool:
    """Whether somebody who types the command meets a program, a make target or a subcommand of ours."""
    program, *arguments = (word for word in command.words if "=" not in word)
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return set(arguments) <= set(targets)
    if program == "bitbacker":
        shown = [sys.executable, "-m", "bitbacker", *arguments, "--help"]
        return subprocess.run(shown, cwd=ROOT, check=False, capture_output=True).returncode == 0
    return program in {".", "cd"} or shutil.which(program) is not None


@pytest.mark.parametrize(
    "line", ["It is here. It is there.", "- Is it here? Yes.", "It (a cat) sat. `b` ran. So."]
)
def test_a_second_sentence_is_found(line: str) -> None:
    assert [*doc_rules.one_sentence_per_line(Text("a.md", line))] != []


@pytest.mark.parametrize(
    "line",
    [
        "It is here.",
        "1. First things first.",
        "Names, e.g. Anna, are fine.",
        "`A. B`",
        "| A. B. | C. |",
        "# A. B.",
    ],
)
def test_a_single_sentence_passes(line: str) -> None:
    assert [*doc_rules.one_sentence_per_line(Text("a.md", line))] == []


@pytest.mark.parametrize(
    "target", ["missing.md", "README.md#no-such-heading", "#no-such-heading", "../outside.md"]
)
def test_a_dead_link_is_found(target: str) -> None:
    file = Text("README.md", f"See [it]({target}).")
    assert [*doc_rules.links_resolve(file, ROOT)] != []


@pytest.mark.parametrize("words", ["make no-such-target", "bitbacker no-such-command", "no-such-program"])
def test_a_command_that_does_not_exist_is_found(words: str) -> None:
    shown = [*doc_rules.commands(Text("README.md", f"```console\n$ {words}\n```\n"))]
    assert [exists(command) for command in shown] == [False]
