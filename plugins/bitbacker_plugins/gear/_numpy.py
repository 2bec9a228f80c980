"""The scan of the gear chunker in NumPy: the oracle of `_gear.c`, and its stand-in without a compiler.

The hash of a position is a sum over the 64 bytes before it, so all hashes of a stretch of data are
made at once, by doubling: the hash over 2n bytes is the hash over the last n of them plus that over
the first n, shifted by n bits.  Only then the few positions that qualify are walked.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitbacker.spi import Buffer
from bitbacker_plugins.gear.rule import WINDOW_BYTES, Rule, Table

_STRETCH_BYTES = 32 << 10
"""So many hashes at once stay in the second-level cache."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Positions whose hash qualifies, ascending: every strict one is a loose one, too."""

    strict: list[int]
    loose: list[int]


def cut(data: Buffer, rule: Rule, final: bool, /) -> list[int]:
    """Ends of the chunks in `data`; the same as `_gear.cut` to the last bit."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the data of a chunker must be contiguous")
    candidates = _candidates(np.frombuffer(view, np.uint8), rule)
    ends: list[int] = []
    start = 0
    while start < view.nbytes:
        size = _chunk_size(candidates, rule, start, view.nbytes - start, final=final)
        if size == 0:
            break
        start += size
        ends.append(start)
    return ends


def _chunk_size(candidates: _Candidates, rule: Rule, start: int, rest: int, *, final: bool) -> int:
    """The size of the chunk at `start`, with `rest` bytes there, or 0 when more bytes have to decide."""
    stop = min(rest, rule.max_size_bytes)
    change = min(stop, rule.switch_size_bytes)
    end = _first(candidates.strict, start + rule.min_size_bytes, start + change)
    if end is None:
        end = _first(candidates.loose, start + max(change, rule.min_size_bytes), start + stop)
    if end is not None:
        return end - start
    return stop if final or stop == rule.max_size_bytes else 0


def _first(positions: list[int], begin: int, end: int) -> int | None:
    """The first of the ascending `positions` in `[begin, end)`."""
    index = bisect_left(positions, begin)
    return positions[index] if index < len(positions) and positions[index] < end else None


def _candidates(data: NDArray[np.uint8], rule: Rule) -> _Candidates:
    strict_limit = np.uint64(1 << (64 - rule.strict_bits))
    loose_limit = np.uint64(1 << (64 - rule.loose_bits))
    strict: list[int] = []
    loose: list[int] = []
    for begin in range(WINDOW_BYTES, len(data) + 1, _STRETCH_BYTES):
        hashes = _hashes(data[begin - WINDOW_BYTES : begin + _STRETCH_BYTES - 1], rule.table)
        found = np.flatnonzero(hashes < loose_limit)
        loose += (found + begin).tolist()
        strict += (found[hashes[found] < strict_limit] + begin).tolist()
    return _Candidates(strict, loose)


def _hashes(data: NDArray[np.uint8], table: Table) -> Table:
    """The hash behind each whole window of `data`."""
    hashes = table[data]
    width = 1
    while width < WINDOW_BYTES:
        hashes = (hashes[:-width] << np.uint64(width)) + hashes[width:]
        width *= 2
    return hashes
