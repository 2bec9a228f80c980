"""The reference pages say what the program does, and the scripts in contrib/ work."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bitbacker
from bitbacker.cli.failures import CLOSED_PIPE
from bitbacker.errors import BitBackerError
from cli.command import Home
from cli.reference import TOP, cli_page, made_files

EXIT_CODES = (TOP / "docs/reference/exit-codes.md").read_text()
NOT_OF_A_CLASS = {0, CLOSED_PIPE}


def every_error() -> set[type[BitBackerError]]:
    """All error classes of the framework; their modules are imported for that."""
    for module in pkgutil.walk_packages(bitbacker.__path__, "bitbacker."):
        if not module.name.startswith(("bitbacker.testing", "bitbacker.__main__")):
            importlib.import_module(module.name)

    def below(kind: type[BitBackerError]) -> Iterator[type[BitBackerError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    return {kind for kind in below(BitBackerError) if kind.__module__.startswith("bitbacker.")}


def test_the_table_of_exit_codes_has_those_of_the_errors() -> None:
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", EXIT_CODES, re.MULTILINE)}
    assert listed == {kind.exit_code for kind in every_error()} | NOT_OF_A_CLASS


def test_the_table_of_errors_has_every_class() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", EXIT_CODES, re.MULTILINE)
    listed = {(code, int(number)) for code, number in rows}
    assert listed == {(kind.code, kind.exit_code) for kind in every_error()} | {("bug", 1)}


def test_the_page_of_the_command_line_is_current() -> None:
    """When this fails, run `python tests/cli/reference.py` and read what has changed."""
    assert (TOP / "docs/reference/cli.md").read_text() == cli_page()


def test_the_completions_are_those_of_this_typer() -> None:
    """Another release of Typer may write other scripts; those in the checkout must ask the same thing."""
    for path, text in made_files().items():
        if path.startswith("contrib/"):
            asked = set(re.findall(r"_BITBACKER_COMPLETE=\w+", text))
            assert set(re.findall(r"_BITBACKER_COMPLETE=\w+", (TOP / path).read_text())) == asked != set()


def test_bash_completes_words_and_options(home: Home, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "bitbacker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bitbacker "$@"\n')
    program.chmod(0o755)
    script = f"""
        source {TOP}/contrib/completions/bitbacker.bash
        for words in "bitbacker sn" "bitbacker key re" "bitbacker restore --res"; do
            COMP_WORDS=($words) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _bitbacker_completion {program}
            echo "${{COMPREPLY[*]}}"
        done
    """
    done = subprocess.run(
        ["bash", "-c", script], env=home.environment(), check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["snapshots", "remove", "--resume"]


@pytest.mark.parametrize("name", ["bitbacker.service", "bitbacker.timer"])
def test_systemd_understands_the_units(tmp_path: Path, name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in ("bitbacker.service", "bitbacker.timer"):
        text = (TOP / "contrib/systemd" / unit).read_text()
        # The program need not be installed where the tests run.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        (tmp_path / unit).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        check=False,
        capture_output=True,
        text=True,
    )
    complaints = [line for line in done.stderr.splitlines() if "bitbacker" in line]
    assert complaints == []
