"""Homes for commands: an empty one, and one with a repository and a snapshot in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command import Home, plant


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with data and no repository."""
    made = Home(tmp_path / "home")
    plant(made.data)
    return made


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Deriving a key takes a third of a second on purpose, so one repository is made and copied."""
    made = Home(tmp_path_factory.mktemp("prepared"))
    plant(made.data)
    for arguments in (["init", "-q"], ["backup", "-q", "--host", "box", "--tag", "first", "data"]):
        done = made.inside(*arguments)
        assert done.code == 0, done.err
    return made


@pytest.fixture
def backed_up(_prepared: Home, tmp_path: Path) -> Home:
    """A home with a repository that holds one snapshot of its data."""
    return _prepared.copy(tmp_path / "home")
