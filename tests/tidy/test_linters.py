"""ruff and mypy agree with the tree; their settings are in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tidy.tree import ROOT
from tidy.verdict import found_nothing


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff_is_content(arguments: list[str]) -> None:
    found_nothing(run("ruff", *arguments, "--output-format", "concise", "--quiet", ".").splitlines())


def test_mypy_is_content() -> None:
    found_nothing(run("mypy", "--no-error-summary").splitlines())


def test_ruff_finds_a_planted_sin(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("from __future__ import annotations\n\nimport os\n")
    settings = str(ROOT / "pyproject.toml")
    assert "F401" in run("ruff", "check", "--config", settings, "--no-cache", str(planted))


def test_mypy_finds_a_planted_sin(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def untyped(value):\n    return value\n")
    settings = str(ROOT / "pyproject.toml")
    found = run("mypy", "--config-file", settings, "--cache-dir", str(tmp_path / "cache"), str(planted))
    assert "no-untyped-def" in found


def run(tool: str, *arguments: str) -> str:
    """What the tool finds; nothing when all is well."""
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
