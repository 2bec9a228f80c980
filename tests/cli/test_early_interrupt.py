"""Ctrl-C while the program is still loading."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["bitbacker", "--version"]
from bitbacker.cli.{module} import main
main()
"""


def run(module: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.replace("{module}", module)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_it_ends_with_one_line_and_its_exit_code() -> None:
    done = run("entry")
    expected = (130, "", "bitbacker: error: interrupted before anything was begun\n")
    assert expected == (done.returncode, done.stdout, done.stderr)


def test_control_without_the_early_handler_there_is_a_traceback() -> None:
    assert "Traceback" in run("main").stderr
