"""What bytes alone give away: repeats, and being uneven."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import stats

WINDOW_BYTES = 8
"""Any common string of 16 or 32 bytes has common windows of 8, and by chance windows hardly ever repeat:
among five million of them with a probability of one in a million."""


def windows(data: bytes) -> npt.NDArray[np.uint64]:
    """The 8 bytes at every offset, as numbers."""
    parts = [
        np.frombuffer(data, np.uint64, offset=offset, count=(len(data) - offset) // WINDOW_BYTES)
        for offset in range(min(WINDOW_BYTES, len(data)))
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def repeats(objects: Iterable[bytes]) -> int:
    """How many windows of these objects have occurred before."""
    every = _sorted(objects)
    return int(np.count_nonzero(every[1:] == every[:-1]))


def common(one: Iterable[bytes], other: Iterable[bytes]) -> int:
    """How many windows of one side occur on the other."""
    left, right = _sorted(one), _sorted(other)
    if not len(right):
        return 0
    found = np.minimum(np.searchsorted(right, left), len(right) - 1)
    return int(np.count_nonzero(right[found] == left))


def _sorted(objects: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    """All windows; NumPy sorts numbers much faster than it makes them unique."""
    return np.sort(np.concatenate([np.empty(0, np.uint64), *map(windows, objects)]))


def p_of_even(symbols: npt.NDArray[np.integer], kinds: int) -> float:
    """The chance that symbols drawn evenly are as uneven as these (chi-square)."""
    return float(stats.chisquare(np.bincount(symbols, minlength=kinds)).pvalue)


def p_of_random(data: bytes) -> float:
    """The worst of three tests, corrected for their number: bytes, pairs of bytes, and runs of bits."""
    values = np.frombuffer(data, np.uint8)
    pairs = np.frombuffer(data, ">u2", count=len(data) // 2)
    return min(1.0, 3 * min(p_of_even(values, 256), p_of_even(pairs // 16, 4096), _p_of_runs(values)))


def _p_of_runs(values: npt.NDArray[np.uint8]) -> float:
    """The runs test of NIST SP 800-22: how often neighbouring bits differ."""
    bits = np.unpackbits(values)
    share = float(bits.mean())
    if not 0 < share < 1:
        return 0.0
    runs = 1 + int(np.count_nonzero(bits[1:] != bits[:-1]))
    spread = 2 * np.sqrt(2 * len(bits)) * share * (1 - share)
    return float(stats.norm.sf(abs(runs - 2 * len(bits) * share * (1 - share)) / spread * np.sqrt(2)) * 2)
