"""Experiment 8: which of two known corpora a repository holds, asked of the best classifier."""

from __future__ import annotations

import random
from functools import partial

import pytest

from leak_lab.classifiers import best_guess, p_of_blind_guess
from leak_lab.desk import Desk, MakeDesk, OurDesk
from leak_lab.laboratory import Finding, Laboratory
from leak_lab.plain_store import PlainDesk
from leak_lab.recording import View
from leak_lab.trees import plant

KIB = 1024
ACCURACY_MAX = 0.55
FULL_REPOSITORIES = 200
QUICK_REPOSITORIES = 16
QUICK_ACCURACY_MAX = 0.7
"""Of a few repositories a blind guess gets many right, so the quick run is a looser check."""


SIZES_KIB: dict[str, list[float]] = {"letters": [2, 3, 4, 6, 9], "photographs": [25, 40, 60, 90]}
POOL = 400
TOTAL_BYTES = 1090 * KIB


def corpus(kind: str) -> list[bytes]:
    """The files that everybody knows: always the same."""
    rng = random.Random(kind)
    return [
        rng.randbytes(int(rng.choice(SIZES_KIB[kind]) * rng.uniform(0.8, 1.2) * KIB)) for _ in range(POOL)
    ]


CORPORA = {kind: corpus(kind) for kind in SIZES_KIB}
KNOWN = [random.Random(8).randbytes(TOTAL_BYTES // 40) for _ in range(20)]


def some_of(kind: str, size_bytes: int, rng: random.Random) -> list[bytes]:
    """Files of the corpus in random order, the last one cut, so that the total is exact."""
    chosen: list[bytes] = []
    for file in rng.sample(CORPORA[kind], POOL):
        chosen.append(file[:size_bytes])
        size_bytes -= len(chosen[-1])
        if not size_bytes:
            return chosen
    raise AssertionError("the corpus is too small")


def held(kind: str, known: bool, desk: Desk, rng: random.Random) -> None:
    """A backup of such files, and another one when some more have come."""
    given = KNOWN if known else []
    first = some_of(kind, TOTAL_BYTES - sum(map(len, given)), rng)
    more = some_of(kind, 60 * KIB, rng)
    files = {f"{number:04}": data for number, data in enumerate([*given, *first])}
    plant(desk.source, files)
    desk.back_up()
    plant(desk.source, files | {f"new{number:04}": data for number, data in enumerate(more)})
    desk.back_up()


@pytest.mark.experiment(8)
@pytest.mark.parametrize("known", [False, True], ids=["secret", "half known"])
def test_no_classifier_tells_two_corpora_apart(laboratory: Laboratory, known: bool) -> None:
    count = FULL_REPOSITORIES if laboratory.full else QUICK_REPOSITORIES
    limit = ACCURACY_MAX if laboratory.full else QUICK_ACCURACY_MAX

    def attack(make: MakeDesk, repositories: int) -> tuple[list[View], list[View]]:
        worlds = {kind: partial(held, kind, known) for kind in CORPORA}
        one, other = laboratory.observe(worlds, make, repositories // 2).values()
        return [*one], [*other]

    views = attack(OurDesk, count)
    guess, p = best_guess(*views), 1.0
    if guess > limit:
        p = p_of_blind_guess(*views, guess)
    leaky = best_guess(*attack(PlainDesk, QUICK_REPOSITORIES))
    assert leaky > 0.9
    ours = Finding(leak=p <= 0.05, text=f"balanced accuracy {guess:.2f}", p=p)
    control = Finding(leak=leaky > limit, text=f"balanced accuracy {leaky:.2f}")
    title = "which of two corpora" + (", half of the repository known" if known else "")
    laboratory.record(title, ours, control, runs=count)
