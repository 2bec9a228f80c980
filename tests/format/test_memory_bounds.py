"""What bytes claim costs no memory: hostile inputs in a process that may not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import bitbacker

TESTS = Path(__file__).parents[1]
CHECKOUT = Path(bitbacker.__file__).parents[1]
if sys.platform != "linux":
    pytest.skip("a limit on memory is set as Linux does it", allow_module_level=True)


@cache
def outcomes() -> dict[str, str]:
    """What became of each input."""
    path = os.pathsep.join(map(str, (TESTS, CHECKOUT, CHECKOUT / "plugins")))
    run = subprocess.run(
        [sys.executable, "-m", "format.bounded"],
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return dict(line.split("\t") for line in run.stdout.splitlines())


def test_hostile_inputs_are_refused_without_memory() -> None:
    found = {name: what for name, what in outcomes().items() if not name.startswith(("control", "extremes"))}
    assert len(found) >= 19
    assert set(found.values()) == {"FormatError"}, found


def test_no_number_in_any_example_makes_a_decoder_grow() -> None:
    assert outcomes()["extremes"] == "taken"


def test_a_decoder_that_trusts_what_it_reads_would_run_out_of_memory() -> None:
    """The control: the limit is there, and these inputs would meet it."""
    found = {what for name, what in outcomes().items() if name.startswith("control")}
    assert found == {"MemoryError"}
