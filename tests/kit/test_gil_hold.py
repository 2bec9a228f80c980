"""The control of `gil_hold`: it tells calls that leave the GIL from calls that hold it."""

from __future__ import annotations

import time

from gil_hold import held_share


def test_a_sleep_leaves_the_gil() -> None:
    assert held_share(lambda: time.sleep(0.1)) < 0.5


def test_a_search_holds_the_gil() -> None:
    data = bytes(256 << 20)
    assert held_share(lambda: data.count(b"ab")) > 0.5
