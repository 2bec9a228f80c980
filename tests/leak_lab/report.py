"""The report of the laboratory: a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from leak_lab.laboratory import Finding, Result

_HEAD = """# The leak laboratory

`make leak-lab` writes this page.
Two worlds differ in one secret; the table says whether the storage could tell them apart.
The control is a program that leaks, and each experiment must see that it does.
What the numbers stand for is said in the experiments, in `tests/leaks`.

| number | experiment | runs | BitBacker | control | p |
|---|---|---|---|---|---|
"""


def page(results: Sequence[Result]) -> str:
    """The whole page, by number and title."""
    rows = sorted(results, key=lambda result: (result.number, result.title))
    return _HEAD + "".join(map(_row, rows))


def _row(result: Result) -> str:
    p = "" if result.ours.p is None else f"{result.ours.p:.3f}"
    ours, control = _cell(result.ours), _cell(result.control)
    return f"| {result.number} | {result.title} | {result.runs} | {ours} | {control} | {p} |\n"


def _cell(finding: Finding) -> str:
    text = finding.text.replace("|", "/")
    return f"LEAK: {text}" if finding.leak else text
