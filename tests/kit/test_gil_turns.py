"""The control of `gil_turns`: it tells calls that leave the GIL from calls that hold it."""

from __future__ import annotations

import time

from gil_turns import turns_during


def test_a_sleep_gives_others_a_turn() -> None:
    assert turns_during(lambda: time.sleep(0.1)) >= 5


def test_a_search_gives_others_no_turn_but_at_its_borders() -> None:
    data = bytes(512 << 20)
    assert turns_during(lambda: data.count(b"ab")) <= 2
