"""Runs conformance suites on plugins that are broken on purpose, and says which tests noticed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest
from hypothesis import Phase, settings

NOTICED = re.compile(r"^(?:FAILED|ERROR) \S+?::(?P<suite>\w+)::(?P<test>\w+)", re.MULTILINE)
SUMMARY = re.compile(r"^\d+ failed, \d+ passed", re.MULTILINE)


class Suite(Protocol):
    """A test class in a module of broken plugins."""

    __name__: str
    breaks: tuple[str, ...]
    """The tests that have to fail; none for a plugin that is sound."""


def suites_of(module: ModuleType) -> list[Suite]:
    """The test classes of a module of broken plugins."""
    return [value for name, value in vars(module).items() if name.startswith("Test")]


def failed_tests(module: ModuleType) -> dict[str, set[str]]:
    """What fails in each class of `module`: of its `breaks`, or else of all its tests."""
    path = Path(str(module.__file__))
    wanted = ["::".join((suite.__name__, *test)) for suite in suites_of(module) for test in _tests(suite)]
    command = [sys.executable, __file__, *(f"{path}::{test}" for test in wanted)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=path.parents[2])
    assert SUMMARY.search(run.stdout), run.stdout + run.stderr
    failed: dict[str, set[str]] = defaultdict(set)
    for match in NOTICED.finditer(run.stdout):
        failed[match["suite"]].add(match["test"])
    return failed


def _tests(suite: Suite) -> list[tuple[str, ...]]:
    return [(test,) for test in suite.breaks] or [()]


if __name__ == "__main__":
    # That a test fails is all that is asked, so nobody needs the smallest example.
    settings.register_profile("control", phases=[Phase.explicit, Phase.generate], database=None)
    profile = ["--hypothesis-profile=control", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    sys.exit(
        pytest.main(
            ["-q", "--tb=no", "--assert=plain", "-rfE", "-p", "no:cacheprovider", *profile, *sys.argv[1:]]
        )
    )
