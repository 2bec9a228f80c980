"""The month of backups measures what sessions needed and stored, hour by hour."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "contrib" / "bench" / "padding_month.py"
HOURS = 24
MB = 1_000_000


def release(folder: Path, version: str, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"toy-{version}-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)


def run(work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--work", str(work), "--hours", f"{HOURS}", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def cells(report: str, name: str) -> list[str]:
    line = next(line for line in report.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_month_ends_in_a_report(tmp_path: Path) -> None:
    data, more = os.urandom(1_500_000), os.urandom(3_000_000)
    wheels = tmp_path / "wheels" / "toy"
    release(wheels, "1.9", {"toy/a": data, "toy/same": data, "toy-1.9.dist-info/M": b"1"})
    release(wheels, "1.10", {"toy/b": more, "toy/same": data, "toy-1.10.dist-info/M": b"1"})
    done = run(tmp_path, "--history", "toy:2:day", "--seed", "5")
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^hour (-?\d+): (\d+) files, ([\d,]+) bytes", done.stderr, re.MULTILINE)
    assert [f"{hour}" for hour in range(-1, HOURS)] == [hour for hour, _, _ in told]
    busy = [int(hour) for hour, files, _ in told[1:] if files != "0"]
    assert busy != []
    assert set(busy) <= set(range(9, 18)), "nothing changes but in working hours"
    report = done.stdout
    assert f"{len(busy)}" == cells(report, "something changed")[0]
    assert f"{HOURS - len(busy)}" == cells(report, "nothing changed")[0]
    needed, volume = (float(cell) for cell in cells(report, "something changed")[1:3])
    assert 3.0 <= needed <= 3.1, "what was added, and little more"
    assert needed <= volume
    floors = (HOURS - len(busy)) * 256 * 1024
    assert f"{floors / MB:,.2f}" == cells(report, "nothing changed")[2]


def test_a_file_packed_anew_with_the_same_content_is_no_change(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels" / "toy"
    release(wheels, "1", {"toy/data.json.gz": gzip.compress(b"same", mtime=1)})
    release(wheels, "2", {"toy/data.json.gz": gzip.compress(b"same", mtime=2)})
    done = run(tmp_path, "--history", "toy:2:day")
    assert done.returncode == 0, done.stderr
    assert "0" == cells(done.stdout, "something changed")[0]
    assert b"same" == (tmp_path / "tree" / "toy" / "data.json").read_bytes()


def test_releases_may_be_spread_evenly_over_the_month(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels" / "toy"
    # Sixty upgrades in 720 hours are one in each twelve, so the first day has two.
    for number in range(61):
        release(wheels, f"{number}", {"toy/a": os.urandom(1_000), "toy/b": os.urandom(1_000)})
    done = run(tmp_path, "--history", "toy:61:even")
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^hour (\d+): (\d+) files", done.stderr, re.MULTILINE)
    assert [2, 2] == [int(files) for _, files in told if files != "0"], "each lands at once"
    assert {0, 1} == {int(hour) // 12 for hour, files in told if files != "0"}
