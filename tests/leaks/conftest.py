"""The fixture `laboratory`, how often it runs each world, and its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from leak_lab.laboratory import Laboratory, Result
from leak_lab.report import page

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
def laboratory(request: pytest.FixtureRequest, tmp_path: Path) -> Laboratory:
    """Where experiments are made: `compare`, or `observe` and `record`."""
    runs = request.config.getoption("leak_runs", RUNS)
    mark = request.node.get_closest_marker("experiment")
    assert mark is not None, "an experiment has a number: pytest.mark.experiment(number)"
    return Laboratory(mark.args[0], tmp_path, runs, request.config.stash[_results])
