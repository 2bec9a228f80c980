"""Every promise of docs/threat-model.md is checked by an experiment, and every experiment by a promise."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "threat-model.md"
EXPERIMENTS = range(1, 42)

PROMISE = re.compile(r"\*\*(?P<name>P-\d+)\*\* (?P<text>.+)")
CHECK = re.compile(r"\[(?P<number>\d+)\]\((?P<target>[^)\s]+)\)")


class Check(NamedTuple):
    """A link from a promise to the file that has the experiment."""

    experiment: int
    path: Path


class Promise(NamedTuple):
    """A numbered sentence and the links of its paragraph."""

    name: str
    checks: tuple[Check, ...]


def promises(document: Path) -> list[Promise]:
    """A promise is a paragraph that begins with its number in bold."""
    found = []
    for paragraph in document.read_text().split("\n\n"):
        if match := PROMISE.match(paragraph.strip()):
            links = CHECK.finditer(paragraph)
            checks = (Check(int(link["number"]), document.parent / link["target"]) for link in links)
            found.append(Promise(match["name"], tuple(checks)))
    return found


def experiments_of(source: str) -> set[int]:
    """The numbers that `pytest.mark.experiment` gives to the tests of a module, or to all of them.

    A number that only a comment or a docstring mentions is no test of it.
    """
    module = ast.parse(source)
    tests = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef) and _is_test(node)]
    marks = [mark for node in tests for mark in node.decorator_list]
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and any(test in node.body for test in tests):
            marks += node.decorator_list
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark" and tests:
            marks += node.value.elts if isinstance(node.value, ast.List) else [node.value]
    return {number for mark in marks for number in _numbers(mark)}


def _is_test(node: ast.FunctionDef) -> bool:
    return node.name.startswith("test_")


def _numbers(mark: ast.expr) -> Iterator[int]:
    if isinstance(mark, ast.Call) and ast.unparse(mark.func).rpartition(".")[2] == "experiment":
        for argument in mark.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                yield argument.value


def faults(document: Path) -> list[str]:
    """What is wrong with the promises of a document; nothing when each is checked."""
    made = promises(document)
    found = [] if made else ["there is no promise"]
    names = [promise.name for promise in made]
    if names != [f"P-{number}" for number in range(1, len(names) + 1)]:
        found.append(f"the promises are not numbered from 1 on: {names}")
    declared: Mapping[Path, set[int]] = {
        check.path: experiments_of(check.path.read_text())
        for promise in made
        for check in promise.checks
        if check.path.is_file()
    }
    for promise in made:
        if not promise.checks:
            found.append(f"{promise.name} names no experiment")
        for number, path in promise.checks:
            if path not in declared:
                found.append(f"{promise.name} links to {path.name}, which does not exist")
            elif number not in declared[path]:
                found.append(f"{promise.name} says that {path.name} has experiment {number}")
    named = {check.experiment for promise in made for check in promise.checks}
    found += [f"experiment {number} checks no promise" for number in EXPERIMENTS if number not in named]
    found += [f"there is no experiment {number}" for number in sorted(named) if number not in EXPERIMENTS]
    return found


def test_every_promise_is_checked_by_an_experiment_that_exists() -> None:
    assert faults(DOCUMENT) == []


def written(folder: Path, text: str) -> Path:
    """A document beside a test module that has all experiments."""
    marks = "\n".join(f"@pytest.mark.experiment({number})" for number in EXPERIMENTS)
    (folder / "test_everything.py").write_text(f"{marks}\ndef test_it():\n    pass\n")
    document = folder / "model.md"
    document.write_text(text)
    return document


def good_document() -> str:
    links = ", ".join(f"[{number}](test_everything.py)" for number in EXPERIMENTS)
    first = f"**P-1** Nothing leaks.\nChecked by {links}."
    return f"# Model\n\n{first}\n\n**P-2** Nor here.\nBy [1](test_everything.py).\n"


def test_a_good_document_passes(tmp_path: Path) -> None:
    assert faults(written(tmp_path, good_document())) == []


@pytest.mark.parametrize(
    ("fault", "right", "wrong"),
    [
        ("P-2 names no experiment", "By [1](test_everything.py)", "By experiment 1"),
        (
            "P-2 links to test_gone.py, which does not exist",
            "By [1](test_everything.py)",
            "[1](test_gone.py)",
        ),
        ("experiment 25 checks no promise", "[25](test_everything.py), ", ""),
        ("P-2 says that test_everything.py has experiment 42", "By [1]", "By [42]"),
        ("there is no experiment 42", "By [1]", "By [42]"),
        ("the promises are not numbered from 1 on: ['P-1', 'P-3']", "P-2", "P-3"),
        ("there is no promise", "**", ""),
    ],
)
def test_a_fault_of_the_document_is_found(tmp_path: Path, fault: str, right: str, wrong: str) -> None:
    text = good_document()
    assert right in text
    assert fault in faults(written(tmp_path, text.replace(right, wrong)))


@pytest.mark.parametrize(
    ("source", "declared"),
    [
        ("@pytest.mark.experiment(7)\ndef test_a(): pass", {7}),
        ("@experiment(7)\n@experiment(8)\ndef test_a(): pass", {7, 8}),
        ("class TestIt:\n    @experiment(7)\n    def test_a(self): pass", {7}),
        ("@experiment(7)\nclass TestIt:\n    def test_a(self): pass", {7}),
        ("pytestmark = pytest.mark.experiment(7)\ndef test_a(): pass", {7}),
        ("pytestmark = [pytest.mark.experiment(7)]\ndef test_a(): pass", {7}),
        ("pytestmark = pytest.mark.experiment(7)\ndef helper(): pass", set()),
        ("@experiment(7)\nclass TestIt:\n    def helper(self): pass", set()),
        ("@experiment(7)\ndef helper(): pass", set()),
        ("def test_a():\n    'Experiment 7.'", set()),
        ("'Experiment 7.'\ndef test_a(): pass", set()),
        ("# @experiment(7)\ndef test_a(): pass", set()),
        ("@other(7)\ndef test_a(): pass", set()),
    ],
)
def test_only_a_declared_test_counts(source: str, declared: set[int]) -> None:
    assert declared == experiments_of(source)


def test_the_page_shows_commands_that_exist() -> None:
    shown = re.findall(r"^\$ (\w+) ([\w-]+)", DOCUMENT.read_text(), re.MULTILINE)
    assert {"bitbacker", "make"} == {program for program, _ in shown}
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [] == [word for program, word in shown if program == "make" and word not in targets]
    for word in {word for program, word in shown if program == "bitbacker"}:
        command = [sys.executable, "-m", "bitbacker", word, "--help"]
        assert 0 == subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode


def test_the_errors_that_the_page_names_exist() -> None:
    """Each row of the table of a hostile storage names errors of the reference with their exit codes."""
    reference = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    known = dict(re.findall(r"^\| `([\w-]+)` \| (\d+) \|", reference, re.MULTILINE))
    section = DOCUMENT.read_text().partition("## What a hostile storage meets\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("|")][2:]
    assert rows != []
    for row in rows:
        said = re.findall(r"`([\w-]+)`(?: \(exit code (\d+)\))?", row)
        assert said != []
        assert [(code, number or "13") for code, number in said] == [
            (code, known.get(code)) for code, _ in said
        ]
