"""The fixture `laboratory`, how often it runs each world, and its report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leak_lab.laboratory import Laboratory, Result
from leak_lab.report import page
from local_client import directory_in_memory

RUNS = 2

_results = pytest.StashKey[list[Result]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """They exist only where these tests are named on the command line; else the defaults hold."""
    parser.addoption("--leak-runs", type=int, default=RUNS, help="how often each world is run")
    parser.addoption("--leak-report", type=Path, help="where to write the results")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_results] = []
    config.addinivalue_line("markers", "experiment(number): an experiment of the leak laboratory")


def pytest_sessionfinish(session: pytest.Session) -> None:
    report: Path | None = session.config.getoption("leak_report", None)
    if report is not None:
        results = session.config.stash[_results]
        report.write_text(page(results))


@pytest.fixture
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """Where experiments are made: `compare`, or `observe` and `record`; its files are in memory."""
    runs = request.config.getoption("leak_runs", RUNS)
    mark = request.node.get_closest_marker("experiment")
    assert mark is not None, "an experiment has a number: pytest.mark.experiment(number)"
    with directory_in_memory() as folder:
        yield Laboratory(mark.args[0], folder, runs, request.config.stash[_results])
