"""Tells whether a long call leaves the GIL: whether another thread has turns while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise

TRIES = 3
TICK_S = 0.0005


def held_share(work: Callable[[], object]) -> float:
    """The longest time, as a share of the whole, that `work` leaves no turn to another thread.

    The best of a few tries, because a busy machine may keep the other thread waiting, too.
    """
    return min(_held_share_once(work) for _ in range(TRIES))


def _held_share_once(work: Callable[[], object]) -> float:
    turns: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            turns.append(time.perf_counter())
            time.sleep(TICK_S)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        begin = time.perf_counter()
        work()
        end = time.perf_counter()
    finally:
        stop.set()
        ticker.join()
    within = [turn for turn in turns if begin < turn < end]
    return max(later - earlier for earlier, later in pairwise([begin, *within, end])) / (end - begin)
