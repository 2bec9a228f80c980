"""An attacker with a learning machine: which of two worlds is a view from?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leak_lab.recording import View
from leak_lab.shape import shape

FOLDS = 5
STEPS = 40
PERMUTATIONS = 40
OPERATIONS = ("put", "get", "list", "delete")

Features = npt.NDArray[np.float64]


def features(view: View) -> Features:
    """Sizes, counts and order: how many of each operation, what sizes, and the first and last steps."""
    steps = shape(view.events)
    sizes = np.array([step.size_bytes for step in steps if step.operation == "put"], dtype=float)
    counts = [sum(step.operation == operation for step in steps) for operation in OPERATIONS]
    spread = np.quantile(sizes, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
    totals = [len(steps), sizes.sum(), sizes.mean(), sizes.std(), len(set(sizes))]
    coded = [(OPERATIONS.index(step.operation), step.number, step.size_bytes) for step in steps]
    ends = [*_padded(coded[:STEPS]), *_padded(coded[-STEPS:])]
    return np.array([*counts, *totals, *spread, *ends], dtype=float)


def _padded(steps: Sequence[tuple[int, int, int]]) -> list[float]:
    flat = [float(value) for step in steps for value in step]
    return flat + [-1.0] * (3 * STEPS - len(flat))


def best_guess(one: Sequence[View], other: Sequence[View]) -> float:
    """Cross-validated balanced accuracy of the best of several classifiers; 0.5 is chance."""
    return _best(*_labelled(one, other))


def p_of_blind_guess(one: Sequence[View], other: Sequence[View], accuracy: float) -> float:
    """The chance that the same attack is so accurate on labels that mean nothing.

    Blind guesses are over a limit sometimes, too, most of all when there are few views.
    """
    data, labels = _labelled(one, other)
    rng = np.random.default_rng()
    blind = [_best(data, rng.permutation(labels)) for _ in range(PERMUTATIONS)]
    return (1 + sum(found >= accuracy for found in blind)) / (1 + PERMUTATIONS)


def _labelled(one: Sequence[View], other: Sequence[View]) -> tuple[Features, npt.NDArray[np.int64]]:
    data = np.array([features(view) for view in (*one, *other)])
    return data, np.array([0] * len(one) + [1] * len(other))


def _best(data: Features, labels: npt.NDArray[np.int64]) -> float:
    folds = StratifiedKFold(FOLDS, shuffle=True)
    attackers: list[ClassifierMixin] = [
        RandomForestClassifier(50),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        make_pipeline(StandardScaler(), KNeighborsClassifier(5)),
    ]
    scores = (
        cross_val_score(attacker, data, labels, cv=folds, scoring="balanced_accuracy").mean()
        for attacker in attackers
    )
    return max(float(score) for score in scores)
