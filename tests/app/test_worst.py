"""Which exit code of several says most."""

from __future__ import annotations

import pytest

from bitbacker.app.run import worst


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 3], 3),
        ([3, 11], 11),
        ([17, 3], 17),
        ([1, 17], 1),
        ([20, 1], 20),
        ([12, 20], 12),
        ([18, 13, 20], 13),
    ],
)
def test_the_worst_of_these_is(codes: list[int], expected: int) -> None:
    assert worst(codes) == expected
