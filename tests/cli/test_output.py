"""Text for people: sizes, times, escaped names, aligned columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.cli.escape import escaped, escaped_path
from bitbacker.cli.options import Globals
from bitbacker.cli.output import aligned, duration, json_path, json_time, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.000 KiB"), (1536 * 1024, "1.500 MiB"), (2**60, "1024.000 PiB")],
)
def test_a_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")]
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_767_225_599_123_456_789, "2025-12-31T23:59:59.123456789Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_time_in_json(time_ns: int, text: str) -> None:
    assert json_time(time_ns) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"plain \xc3\xa4.txt", "plain ä.txt"),
        (b"a\x1b[31mb", r"a\x1b[31mb"),
        (b"a\nb\tc\rd", r"a\nb\tc\rd"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("\u202egpj.exe".encode(), r"\u202egpj.exe"),
        (b"\xc2\x9b", r"\x9b"),
    ],
)
def test_a_name_is_escaped(path: bytes, text: str) -> None:
    assert escaped_path(path) == text


@given(st.binary())
def test_no_name_reaches_a_terminal_raw(path: bytes) -> None:
    shown = escaped_path(path)
    shown.encode()
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in shown)


def test_escaping_twice_changes_nothing_more() -> None:
    once = escaped("a\x1b\udcff")
    assert escaped(once) == once


@given(st.binary())
def test_a_path_in_json_is_exact(path: bytes) -> None:
    import base64

    fields = json_path(path)
    exact = base64.b64decode(fields["path_base64"]) if "path_base64" in fields else fields["path"].encode()
    assert exact == path


def test_columns_are_aligned() -> None:
    assert aligned([["A", "N"], ["long", "7"], ["b\n", "42"]], right=(1,)) == [
        "A      N",
        "long   7",
        "b\\n   42",
    ]


def test_options_behind_the_command_overrule_those_before_it() -> None:
    before = Globals().overlaid({"remote": "a", "verbose": 1, "json": True})
    assert before.overlaid({"remote": "b", "verbose": 1, "json": False}) == Globals(
        remote="b", verbose=2, json=True
    )
