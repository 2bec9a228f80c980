"""`make demo` does what the README says of it, and would notice if it did not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tidy.tree import ROOT, paths

SPOILED = """#!/usr/bin/env bash
set -euo pipefail
{program} "$@"
if [ "$1" = restore ]; then find .demo/restored -name README.md -exec sh -c 'echo >> "$1"' - {{}} ';'; fi
"""


@pytest.fixture
def program() -> str:
    found = shutil.which("bitbacker", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("the command bitbacker is not installed beside this Python; make test installs it")
    return found


def test_the_demo_restores_what_it_backed_up(tmp_path: Path, program: str) -> None:
    done = run_demo(tmp_path, str(Path(program).parent))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("Done: backed up twice, restored, compared, checked.")
    assert not (tmp_path / "checkout" / "demo-note.txt").exists()


def test_the_demo_notices_a_wrong_restore(tmp_path: Path, program: str) -> None:
    """The control: between restoring and comparing, README.md gets another line."""
    shim = tmp_path / "bin" / "bitbacker"
    shim.parent.mkdir()
    shim.write_text(SPOILED.format(program=program))
    shim.chmod(0o755)
    done = run_demo(tmp_path, str(shim.parent))
    assert done.returncode == 1
    assert "diff " in done.stdout
    assert "README.md" in done.stdout


def run_demo(top: Path, programs: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in a copy of this checkout."""
    copy = top / "checkout"
    for name in paths():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(
        [str(copy / "contrib/demo/run")], env=environment, check=False, capture_output=True, text=True
    )
