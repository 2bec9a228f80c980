"""Experiment 41: a sketch never yields a wrong difference, and every failure is flagged.

This is the short version of contrib/bench/sketch_trials.py, whose long run is in docs/sketch.md.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bitbacker.format import sketch as module
from bitbacker.format.sketch import Difference, Fingerprints, SetDigest, Sketch, difference

pytestmark = pytest.mark.experiment(41)

SCRIPT = Path(__file__).parents[2] / "contrib" / "bench" / "sketch_trials.py"
DESIGN_DIFFERENCES = 3800
# Cells a part, differences and trials: within the load that a sketch is made for, at it, and beyond it.
LOADS = (
    (1664, 2000, 100),
    (1664, DESIGN_DIFFERENCES, 400),
    (1664, 4080, 300),
    (1664, 4300, 200),
    (1664, 8000, 100),
    (104, 240, 500),
    (13, 25, 500),
    (13, 60, 500),
    (1, 2, 500),
    (1, 3, 500),
)
OVERLOADS = ((1664, 4400, 60), (104, 300, 200), (13, 50, 200), (1, 3, 200))


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sketch_trials", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up.
    sys.modules.setdefault(spec.name, script)
    spec.loader.exec_module(script)
    return script


trials = load_script()


def outcomes(loads: tuple[tuple[int, int, int], ...], seed: int, decode: object) -> Counter[str]:
    """How often the trials ended how, over all these loads."""
    rows = [
        trials.run(trials.Row(part_cells, 1, differences), count, seed, decode)
        for part_cells, differences, count in loads
    ]
    print(*(row.markdown() for row in rows), sep="\n")
    return Counter({outcome.value: count for row in rows for outcome, count in row.outcomes.items()})


def leaky_peel(sketch: Sketch) -> Fingerprints:
    """Yields what could be peeled, and does not look at what is left in the table."""
    rest = sketch.toggled(np.empty(0, np.uint64))
    found: list[Fingerprints] = []
    touched = np.arange(len(rest.sums))
    while len(single := module._singles(rest, touched)):
        found.append(single)
        touched = module._toggle(rest, single)
    return np.unique(np.concatenate([*found, np.empty(0, np.uint64)]))


def leaky_difference(remote: Sketch, _digest: SetDigest, local: Fingerprints) -> Difference:
    """What a decoder says that believes its sketch: no digest, and no look at what is left."""
    found = leaky_peel(remote ^ Sketch.of(local, remote.part_cells))
    here = np.isin(found, local)
    return Difference(found[here], found[~here])


@pytest.mark.parametrize(("part_cells", "differences", "count"), LOADS)
def test_a_difference_is_never_wrong(part_cells: int, differences: int, count: int, seed: int) -> None:
    ended = outcomes(((part_cells, differences, count),), seed, difference)
    assert 0 == ended["wrong"]
    assert count == ended["decoded"] + ended["flagged"]


def test_what_a_head_is_made_for_is_decoded_nearly_always(seed: int) -> None:
    """So the trials above are about decoding, not about a decoder that gives up."""
    ended = outcomes(((1664, DESIGN_DIFFERENCES, 200),), seed, difference)
    assert ended["decoded"] >= 190


@pytest.mark.parametrize(("part_cells", "differences", "count"), OVERLOADS)
def test_a_decoder_that_believes_its_sketch_is_caught(
    part_cells: int, differences: int, count: int, seed: int
) -> None:
    """The control: the trials see wrong differences where there are some."""
    ended = outcomes(((part_cells, differences, count),), seed, leaky_difference)
    assert ended["wrong"] > count / 2


@pytest.mark.parametrize(("part_cells", "differences", "count"), OVERLOADS)
def test_the_digest_alone_flags_what_such_a_decoder_says(
    part_cells: int, differences: int, count: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sketch, "peel", leaky_peel)
    ended = outcomes(((part_cells, differences, count),), seed, difference)
    assert 0 == ended["wrong"]
    assert ended["flagged"] > count / 2


@pytest.mark.parametrize(("decode", "code"), [(difference, 0), (leaky_difference, 1)])
def test_the_long_run_says_whether_any_was_wrong(
    decode: object, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trials.run
    monkeypatch.setattr(trials, "run", lambda row, count, seed: run(row, count, seed, decode))
    monkeypatch.setattr(sys, "argv", ["sketch_trials.py", "--trials", "1", "--seed", "5"])
    assert code == trials.main()
    shown = capsys.readouterr().out
    assert shown.startswith("`contrib/bench/sketch_trials.py --trials 1 --seed 5`, seed 5\n")
    assert (code == 0) == ("flagged, 0 wrong" in shown.splitlines()[-1])
