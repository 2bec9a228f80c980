"""How a style test fails: by listing every place, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def found_nothing(findings: Iterable[object]) -> None:
    """Fail with one line for each finding, if there is one."""
    if lines := sorted(map(str, findings)):
        pytest.fail("\n".join(lines), pytrace=False)
