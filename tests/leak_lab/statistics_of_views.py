"""Two-sample tests: do two worlds look the same to the storage, up to chance?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from scipy import stats

P_MIN = 0.01
RESAMPLES = 2000


def p_of_categories(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """The chance of counts as different as these when both samples come from one distribution.

    A permutation test of the chi-square statistic, which is right for few runs and rare values, too.
    """
    values = {value: number for number, value in enumerate(dict.fromkeys([*one, *other]))}
    codes = np.array([values[value] for value in (*one, *other)])
    if len(values) == 1:
        return 1.0
    return _permuted(codes, len(one), lambda left, right: _chi_square(left, right, len(values)))


def p_of_numbers(one: Sequence[float], other: Sequence[float]) -> float:
    """The same for numbers, by the distance of Kolmogorov and Smirnov."""
    values = np.array([*one, *other], dtype=float)
    return _permuted(values, len(one), lambda left, right: float(stats.ks_2samp(left, right).statistic))


def p_of_uniform_bytes(data: bytes) -> float:
    """The chance that uniform bytes are as uneven as these (chi-square)."""
    return float(stats.chisquare(np.bincount(np.frombuffer(data, np.uint8), minlength=256)).pvalue)


def _permuted(values: np.ndarray, first: int, statistic: Callable[[np.ndarray, np.ndarray], float]) -> float:
    rng = np.random.default_rng()
    found = statistic(values[:first], values[first:])
    hits = 0
    for _ in range(RESAMPLES):
        mixed = rng.permutation(values)
        hits += statistic(mixed[:first], mixed[first:]) >= found - 1e-12
    return (hits + 1) / (RESAMPLES + 1)


def _chi_square(left: np.ndarray, right: np.ndarray, values: int) -> float:
    counts = np.array([np.bincount(left, minlength=values), np.bincount(right, minlength=values)], float)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())
