"""Tells whether a long call leaves the GIL: whether other threads have a turn while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def turns_during(work: Callable[[], object]) -> int:
    """How often another thread had a turn while `work` ran, tried every half millisecond."""
    turns: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            turns.append(time.perf_counter())
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        begin = time.perf_counter()
        work()
        end = time.perf_counter()
    finally:
        stop.set()
        ticker.join()
    return sum(begin < turn < end for turn in turns)
