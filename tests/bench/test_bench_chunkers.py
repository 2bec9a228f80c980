"""The benchmark of the chunkers: what it counts is what it says."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "contrib" / "bench" / "chunkers.py"


def rows(*arguments: object) -> dict[str, list[str]]:
    """The cells of each table row that the script prints, by their first cell."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    cells = [line.strip("| ").split(" | ") for line in run.stdout.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in cells}


def share(cell: str) -> float:
    return float(cell.rstrip("%")) / 100


def test_an_insertion_costs_the_control_half_of_the_data_and_the_others_little(
    tmp_path: Path, rng: random.Random
) -> None:
    old = rng.randbytes(4 << 20)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new.gz").write_bytes(gzip.compress(old[: 2 << 20] + b"!" + old[2 << 20 :], 1))
    found = rows(
        "--speed-mib", 0, "--average-kib", 16, "--keys", 2, "--pair", tmp_path / "old", tmp_path / "new.gz"
    )
    assert share(found.pop("`fixed` (control)")[0]) > 0.49
    assert set(found) - {"chunker", "---"} == {"`gear`", "`toeplitz-aes`", "`toeplitz-aes`, sizes of `gear`"}
    assert all(share(found[name][0]) < 0.1 for name in found if name.startswith("`"))


def test_a_folder_is_the_tar_of_its_files_whatever_their_times(tmp_path: Path, rng: random.Random) -> None:
    content = rng.randbytes(300_000)
    for name in ("old", "new"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_bytes(content)
    found = rows(
        "--speed-mib", 0, "--average-kib", 16, "--keys", 1, "--pair", tmp_path / "old", tmp_path / "new"
    )
    assert [row[0] for name, row in found.items() if name.startswith("`")] == ["0.00%"] * 4


def test_what_is_twice_in_a_stream_is_found_twice(tmp_path: Path, rng: random.Random) -> None:
    (tmp_path / "stream").write_bytes(rng.randbytes(2 << 20) * 2)
    found = rows("--speed-mib", 0, "--average-kib", 16, "--keys", 1, "--stream", tmp_path / "stream")
    assert 0.45 < share(found["`toeplitz-aes`"][-1]) < 0.51


def test_the_race_names_every_way_and_compares_it_to_gear() -> None:
    found = rows("--speed-mib", 1, "--rounds", 2, "--average-kib", 16)
    assert found["`gear`"][-1] == "1.00"
    assert float(found["`toeplitz-aes`"][0]) > 0
