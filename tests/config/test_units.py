"""Sizes and durations as people write them."""

from __future__ import annotations

import pytest

from bitbacker.config.units import duration_s, duration_text, size_bytes, size_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512 KiB", 512 * 1024),
        ("10GiB", 10 * 1024**3),
        ("1.5 GB", 1_500_000_000),
        ("3kB", 3000),
        ("3KB", 3000),
        ("7 B", 7),
        (" 2 TiB ", 2 * 1024**4),
    ],
)
def test_a_size_is_in_bytes(text: str, expected: int) -> None:
    assert size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "512", "512 K", "-1 KiB", "1 kib", "KiB", "1 KiB 2", "1e3 B"])
def test_a_size_without_a_clear_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="512 KiB"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1, "1 B"), (1000, "1000 B"), (1025, "1025 B"), (256 * 1024, "256 KiB"), (3 << 40, "3 TiB")],
)
def test_a_size_is_shown_in_the_largest_unit_that_divides_it(size: int, text: str) -> None:
    assert size_text(size) == text
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("12h", 43200), ("7d", 604800), ("1d12h", 129600), ("1w 1d", 691200), ("250ms", 0.25)],
)
def test_a_duration_is_in_seconds(text: str, expected: float) -> None:
    assert duration_s(text) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-1d", "1y", "1d foo", "foo 1d"])
def test_a_duration_without_a_clear_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="7d"):
        duration_s(text)


@pytest.mark.parametrize("text", ["7d", "12h", "90m", "45s", "21d", "0.25s"])
def test_a_duration_is_shown_as_it_was_written(text: str) -> None:
    shown = duration_text(duration_s(text))
    assert duration_s(shown) == duration_s(text)
    assert shown == text
