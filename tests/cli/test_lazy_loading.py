"""The command line starts fast because it imports what a command needs, when it needs it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from cli.command import Home

HEAVY = {"numpy", "cryptography", "blake3", "zstandard", "rich", "platformdirs", "pluggy"}
LOOK = """
import json, sys
from bitbacker.cli import main
sys.argv = {argv!r}
try:
    main.main()
except SystemExit:
    pass
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def modules_after(home: Home, *arguments: str, **environment: str) -> set[str]:
    """What is imported when the command has run."""
    code = LOOK.format(argv=["bitbacker", *arguments])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=home.environment(**environment),
        capture_output=True,
        check=True,
        text=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def heavy(modules: set[str]) -> set[str]:
    """Packages that cost time, and commands."""
    commands = {name for name in modules if name.startswith("bitbacker.cli.commands.")}
    floors = {
        name for name in modules if name.startswith(("bitbacker.app", "bitbacker.repo", "bitbacker.spi"))
    }
    return (modules & HEAVY) | commands | floors


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["key", "--help"], ["no-such-word"]])
def test_what_needs_no_command_imports_none(home: Home, arguments: list[str]) -> None:
    assert heavy(modules_after(home, *arguments)) == set()


def test_completing_a_word_imports_no_command(home: Home) -> None:
    asked = {"_BITBACKER_COMPLETE": "complete_bash", "COMP_WORDS": "bitbacker sn", "COMP_CWORD": "1"}
    assert heavy(modules_after(home, **asked)) == set()


def test_the_help_of_a_command_imports_no_rich(home: Home) -> None:
    assert "rich" not in modules_after(home, "backup", "--help")


def test_a_command_imports_its_own_module_only(home: Home) -> None:
    """The control of the tests above: what they look for is there when a command is called."""
    modules = modules_after(home, "plugins")
    commands = {name for name in modules if name.startswith("bitbacker.cli.commands.")}
    assert commands == {"bitbacker.cli.commands.plugins"}
    assert "pluggy" in heavy(modules)


def test_showing_the_version_takes_no_time_to_speak_of(home: Home) -> None:
    """Time of the processor, which other processes do not disturb much; the budget is 0.15 s."""

    def spent_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert home("--version").code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # A slow machine may take twice the budget; one heavy import more would take three times as much.
    assert min(spent_s() for _ in range(3)) < 0.3
