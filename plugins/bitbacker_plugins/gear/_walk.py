"""The walk from chunk to chunk over the positions that qualify; `_sizes.c` is the same in C."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitbacker.spi import Buffer
from bitbacker_plugins.gear.sizes import WINDOW_BYTES, Limits

_STRETCH_BYTES = 32 << 10
"""So many hashes at once stay in the second-level cache."""

Hashes = Callable[[NDArray[np.uint8]], NDArray[np.unsignedinteger]]
"""The hash behind each whole window of the data, as numbers of one width."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Positions whose hash qualifies, ascending: every strict one is a loose one, too."""

    strict: list[int]
    loose: list[int]


def cut_by(hashes: Hashes, data: Buffer, limits: Limits, *, final: bool) -> list[int]:
    """Ends of the chunks in `data`.  Raises `BufferError` when `data` is not contiguous."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the data of a chunker must be contiguous")
    candidates = _candidates(hashes, np.frombuffer(view, np.uint8), limits)
    ends: list[int] = []
    start = 0
    while start < view.nbytes:
        size = _chunk_size(candidates, limits, start, view.nbytes - start, final=final)
        if size == 0:
            break
        start += size
        ends.append(start)
    return ends


def _chunk_size(candidates: _Candidates, limits: Limits, start: int, rest: int, *, final: bool) -> int:
    """The size of the chunk at `start`, with `rest` bytes there, or 0 when more bytes have to decide."""
    stop = min(rest, limits.max_size_bytes)
    change = min(stop, limits.switch_size_bytes)
    end = _first(candidates.strict, start + limits.min_size_bytes, start + change)
    if end is None:
        end = _first(candidates.loose, start + max(change, limits.min_size_bytes), start + stop)
    if end is not None:
        return end - start
    return stop if final or stop == limits.max_size_bytes else 0


def _first(positions: list[int], begin: int, end: int) -> int | None:
    """The first of the ascending `positions` in `[begin, end)`."""
    index = bisect_left(positions, begin)
    return positions[index] if index < len(positions) and positions[index] < end else None


def _candidates(hashes: Hashes, data: NDArray[np.uint8], limits: Limits) -> _Candidates:
    strict: list[int] = []
    loose: list[int] = []
    for begin in range(WINDOW_BYTES, len(data) + 1, _STRETCH_BYTES):
        found = hashes(data[begin - WINDOW_BYTES : begin + _STRETCH_BYTES - 1])
        # A number of `width` bits has its n top bits zero when it is below 2^(width - n).
        width = 8 * found.itemsize
        places = np.flatnonzero(found < 1 << (width - limits.loose_bits))
        loose += (places + begin).tolist()
        strict += (places[found[places] < 1 << (width - limits.strict_bits)] + begin).tolist()
    return _Candidates(strict, loose)
