"""The benchmark measures what it says, refuses a wrong restore, and keeps its source in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "contrib" / "bench"
STAND_IN = """#!/usr/bin/env bash
# Understands the words that the comparison says to restic, and copies instead of storing.
set -euo pipefail
[ "$1" != version ] || { echo "restic 1.2.3"; exit; }
shift 2
repository=$1 word=$2
case $word in
  init) mkdir "$repository" ;;
  backup) tar -C / -cf - "${3#/}" | tar -C "$repository" -xf - ;;
  check) test -d "$repository" ;;
  restore) cp -a "$repository" "$5"; %s ;;
esac
"""


def test_a_comparison_ends_in_a_table(tmp_path: Path) -> None:
    done = compare(tmp_path, spoil="true")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[0] == "| | restic 1.2.3 | ratio |"
    assert rows[-1] == "| repository after the first backup, MB | 0.003 (0.003 to 0.003) |  |"
    assert {row.split(":")[0] for row in rows[1:-1]} == {
        "| first backup",
        "| unchanged",
        "| unchanged, nothing cached",
        "| check with data",
        "| restore",
    }


def test_a_wrong_restore_ends_the_comparison(tmp_path: Path) -> None:
    """The control of the comparison's own check: one byte more in one file."""
    done = compare(tmp_path, spoil='find "$5" -name 1 -exec sh -c "echo >> {}" ";"')
    assert done.returncode == 1
    assert "is not what was backed up" in done.stderr


def test_pages_of_the_source_stay_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(1 << 20))
    if pages_left_after_eviction(file) > 0:
        pytest.skip(f"the file system of {tmp_path} never lets pages go, so this would prove nothing")
    command = [sys.executable, str(BENCH / "measure.py"), str(tmp_path), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held 1\n"
        assert pages_left_after_eviction(file) == 256
        holder.communicate()


def compare(top: Path, *, spoil: str) -> subprocess.CompletedProcess[str]:
    """Compare with a stand-in for restic alone, on three small files."""
    source = top / "source"
    source.mkdir()
    for number in range(3):
        (source / str(number)).write_bytes(b"x" * 1000)
    program = top / "restic"
    program.write_text(STAND_IN % spoil)
    program.chmod(0o755)
    command = [sys.executable, str(BENCH / "compare.py"), "--only", "restic", "--rounds", "1"]
    command += ["--work", str(top), "--source", str(source)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def pages_left_after_eviction(file: Path) -> int:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = ["fincore", "--noheadings", "--output", "PAGES", str(file)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
