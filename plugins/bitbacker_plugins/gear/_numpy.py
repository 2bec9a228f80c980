"""The scan of `gear` in NumPy: the oracle of `_gear.c`, and its stand-in without a compiler.

The hash of a position is a sum over the 64 bytes before it, so all hashes of a stretch of data are
made at once, by doubling: the hash over 2n bytes is the hash over the last n of them plus that over
the first n, shifted by n bits.  Only then the few positions that qualify are walked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitbacker.spi import Buffer
from bitbacker_plugins.gear._walk import cut_by
from bitbacker_plugins.gear.rule import Rule, Table
from bitbacker_plugins.gear.sizes import WINDOW_BYTES


def cut(data: Buffer, rule: Rule, final: bool, /) -> list[int]:
    """Ends of the chunks in `data`; the same as `_scan.cut_gear` to the last bit."""
    return cut_by(lambda stretch: _hashes(stretch, rule.table), data, rule, final=final)


def _hashes(data: NDArray[np.uint8], table: Table) -> Table:
    """The hash behind each whole window of `data`."""
    hashes = table[data]
    width = 1
    while width < WINDOW_BYTES:
        hashes = (hashes[:-width] << np.uint64(width)) + hashes[width:]
        width *= 2
    return hashes
