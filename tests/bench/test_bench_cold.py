"""The benchmark of sessions without a cache, on a small tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "contrib" / "bench" / "cold.py"


def test_it_prints_what_both_kinds_of_sessions_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--files", "300", "--rounds", "1", "--work", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    rows = {line.split(" | ")[0]: line.split(" | ")[1:3] for line in run.stdout.splitlines()[2:]}
    assert ["69,632", "69,632"] == rows["| bytes received"]
    assert ["327,680", "327,680"] == rows["| bytes sent"]
    assert rows["| requests"][0] == rows["| requests"][1]
