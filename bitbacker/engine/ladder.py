"""The ladder: from the fingerprints of a local tree to what differs from the last snapshot.

1. the sketch in the head, which costs nothing more;
2. the sketches of 1 MiB, where the tables have some;
3. the sorted lists of fingerprints, which always tell.

Each rung is fetched as a whole, so that its requests do not depend on what changed.  What a rung says
is held against the digest in the head; one that does not tell makes no difference but the next rung.
"""

from __future__ import annotations

import numpy as np

from bitbacker.format.head import SourceTip
from bitbacker.format.sketch import (
    RUNG_PART_CELLS,
    Difference,
    Fingerprints,
    Sketch,
    difference,
    difference_of_lists,
)
from bitbacker.repo.open import Repository
from bitbacker.repo.rungs import Rungs
from bitbacker.repo.tips import digest_of, sketch_of


def climb(repository: Repository, tip: SourceTip, local: Fingerprints, *, strict: bool) -> Difference:
    """What differs between `local` and the snapshot of a tip.

    `strict` always fetches the last rung and nothing else.  Raises `DamageError`, `StorageError`.
    """
    sketch = sketch_of(tip)
    if sketch is not None and not strict:
        found = difference(sketch, digest_of(tip), local)
        if found is not None:
            return found
    rungs = [Rungs(repository.tables, ref) for ref in tip.tables]
    if sketch is not None and not strict and any(rung.has_sketch for rung in rungs):
        found = difference(_sketch(rungs), digest_of(tip), local)
        if found is not None:
            return found
    return _by_lists(rungs, local)


def _sketch(rungs: list[Rungs]) -> Sketch:
    """The sketch of all tables together."""
    total = Sketch.empty(RUNG_PART_CELLS)
    for rung in rungs:
        if rung.has_sketch:
            total = (total ^ rung.sketch()).toggled(rung.dropped())
        else:
            delta = rung.delta()
            total = total.toggled(delta.added).toggled(delta.dropped)
    return total


def _by_lists(rungs: list[Rungs], local: Fingerprints) -> Difference:
    stored = np.empty(0, np.uint64)
    for rung in rungs:
        delta = rung.delta()
        stored = np.concatenate([stored[~np.isin(stored, delta.dropped)], delta.added])
    return difference_of_lists(stored, local)
