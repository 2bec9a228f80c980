"""Choosing what goes into one segment."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bitbacker.repo.pack import best_subset, choose

KIB = 1024


@given(sizes=st.lists(st.integers(1, 40 * KIB), max_size=12), capacity=st.integers(1, 128 * KIB))
def test_no_other_subset_fills_better_in_whole_units(sizes: list[int], capacity: int) -> None:
    def units(chosen: list[int]) -> int:
        return sum(-(-sizes[position] // KIB) for position in chosen)

    subsets = [
        [position for position in range(len(sizes)) if mask >> position & 1]
        for mask in range(1 << len(sizes))
    ]
    best = max(units(subset) for subset in subsets if units(subset) <= capacity // KIB)
    assert best == units(best_subset(sizes, capacity))


@given(costs=st.lists(st.integers(1, 3000 * KIB), min_size=1, max_size=40))
def test_what_is_chosen_fits_and_is_chosen_once(costs: list[int]) -> None:
    capacity = 4096 * KIB
    chosen = choose(costs, capacity)
    assert sum(costs[position] for position in chosen) <= capacity
    assert len(chosen) == len(set(chosen))


@given(costs=st.lists(st.integers(1, 2000 * KIB), min_size=1, max_size=40))
def test_something_is_always_chosen(costs: list[int]) -> None:
    assert choose(costs, 4096 * KIB)


def test_the_oldest_block_never_waits_for_long(rng: random.Random) -> None:
    costs = [rng.randrange(50 * KIB, 1000 * KIB) for _ in range(20)]
    assert 0 == choose(costs, 4096 * KIB)[0]


def test_segments_of_incompressible_blocks_waste_less_than_three_percent(rng: random.Random) -> None:
    pool: list[int] = []
    capacity = 4096 * KIB - 100
    filled = segments = 0
    while segments < 200:
        while sum(pool) <= 2 * capacity:
            pool.append(rng.randrange(600 * KIB, 1024 * KIB))
        chosen = choose(pool, capacity)
        filled += sum(pool[position] for position in chosen)
        pool = [size for position, size in enumerate(pool) if position not in chosen]
        segments += 1
    waste = 1 - filled / (segments * capacity)
    print(f"waste {waste:.4f}")
    assert waste < 0.03
