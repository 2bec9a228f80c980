"""Who has lost cache and state reads the same on the terminal, and gets the same exit code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import Home
from cli.test_unreadable import WITHOUT_POWER, closed

RANDOM = re.compile(r"\b[0-9a-f]{8}\b|[0-9a-f]{32}|in \d+:\d+|\"(?:duration_ms|time)\": [^,}]+")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One backup, and then a file that is new, one that changed, and some that cannot be read."""
    home = Home(tmp_path / "warm")
    (home.data / "folder").mkdir(parents=True)
    for name in ("kept", "changed", "folder/inside"):
        (home.data / name).write_text(name)
    assert 0 == home("init").code
    assert 0 == backup(home).returncode
    (home.data / "new").write_text("new")
    (home.data / "changed").write_text("changed again")
    for name in ("a", "zoo"):
        (home.data / name).write_text("nobody reads this")
        closed(home.data / name)
    closed(home.data / "folder")
    return home


def backup(home: Home, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WITHOUT_POWER, sys.executable, "-m", "bitbacker", "backup", *options, "data"],
        env=home.environment(),
        cwd=home.top,
        capture_output=True,
        text=True,
        check=False,
    )


def shown(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, RANDOM.sub("...", done.stdout), RANDOM.sub("...", done.stderr)


@pytest.mark.parametrize("options", [(), ("--json",), ("--read-all",), ("--strict",), ("--dry-run",)])
def test_a_backup_without_cache_and_state_says_the_same(home: Home, options: tuple[str, ...]) -> None:
    kept = home.top.with_name("kept")
    shutil.copytree(home.repository, kept)
    warm = shown(backup(home, *options))
    shutil.rmtree(home.repository)
    kept.rename(home.repository)
    for name in ("cache", "state"):
        shutil.rmtree(home.top / name)
    cold = shown(backup(home, *options))
    assert 3 == warm[0]
    assert warm == cold
    assert "--json" in options or "2 new or changed" in warm[1] or "--read-all" in options
