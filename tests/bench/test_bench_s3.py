"""The benchmark of the transport s3, on a small tree and a real server."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "contrib" / "bench" / "s3.py"


def test_a_run_ends_in_tables(tmp_path: Path, rng: random.Random) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / str(number)).write_bytes(rng.randbytes(100_000))
    done = run("--only", "bitbacker", "--work", str(tmp_path), "--source", str(source))
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert {"first backup", "restore"} == {row[0].split(":")[0] for row in rows[1:-3]}
    stored = next(row for row in rows if row[0].startswith("repository after"))
    assert stored[1].startswith("0.6595 "), "two segments of 256 KiB, two heads and the keyslots"
    assert rows[-1][1] == "16 x 4 + 100 = 164"
    assert not (tmp_path / "served").exists(), "it cleans up"


def test_a_server_that_does_not_start_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = run("--rclone", "false", "--work", str(tmp_path), "--source", str(tmp_path / "file"))
    assert done.returncode == 1
    assert "does not listen" in done.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("bitbacker")
    command = [sys.executable, str(SCRIPT), "--rounds", "1", "--bitbacker", str(program), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
