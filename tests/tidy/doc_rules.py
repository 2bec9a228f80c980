"""The rules of docs/style.md for Markdown files: sentences, links, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tidy.tree import Finding, Text

ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|cf|vs|etc|ca|no|St)\.$")
SENTENCE_END = re.compile(r"[.!?][)\"”]?(?= +[A-ZÄÖÜ])")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


class Command(NamedTuple):
    """A line of a `console` block that a reader is meant to type."""

    line: int
    words: tuple[str, ...]


def one_sentence_per_line(file: Text) -> Iterator[Finding]:
    """Prose only: code, tables and headings are left out.  A heuristic: a capital after a full stop."""
    for number, line in _prose(file):
        shown = re.sub(r"^\s*([-*+]|\d+\.)\s+", "", re.sub(r"`[^`]*`", "code", line))
        for match in SENTENCE_END.finditer(shown):
            if not ABBREVIATIONS.search(shown[: match.start() + 1]):
                yield file.found(number, "a second sentence on the line")
                break


def links_resolve(file: Text, root: Path) -> Iterator[Finding]:
    """Every relative link leads to a file, and to a heading where it names one."""
    for number, line in _prose(file, tables=True):
        for match in LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            target, _, anchor = match["target"].partition("#")
            if re.match(r"[a-z]+:", match["target"]):
                continue
            there = root / PurePosixPath(file.path).parent / target if target else root / file.path
            if not there.exists():
                yield file.found(number, f"links to {target}, which does not exist")
            elif anchor and there.suffix == ".md" and anchor not in _anchors(there.read_text()):
                yield file.found(number, f"links to #{anchor}, which {target or 'this file'} does not have")


def commands(file: Text) -> Iterator[Command]:
    """The commands of the `console` blocks: the lines that start with a prompt."""
    inside = False
    for number, line in enumerate(file.lines, 1):
        if line.startswith("```"):
            inside = line.strip() == "```console"
        elif inside and line.startswith(("$ ", "# ")):
            yield Command(number, tuple(line[2:].split()))


def _prose(file: Text, *, tables: bool = False) -> Iterator[tuple[int, str]]:
    fenced = False
    for number, line in enumerate(file.lines, 1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and not line.startswith(("#", "    ")) and (tables or not line.startswith("|")):
            yield number, line


def _anchors(text: str) -> set[str]:
    headings = (line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
