"""The scanner finds the same keys as tomllib, on the lines where they stand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.config.positions import Path, scan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCUMENT = '''\
# a comment with [a.header] and key = "value"
top = 1
"quoted key".inner = 'a # b'     # 3

[a.b]
x = """
several
lines \\""" and "quotes" """
y = { p = [1, "]", { q = 2 }], "r.s" = true } # 9
dotted . key = 1979-05-27 07:32:00

[[list]]
n = [
  "one",   # 14
  # a comment ]
  \'\'\'two
  \'\'\'\'\', [3, # two quotes, then three
  4],
]
[list.sub]
z = -inf
[[list]]
[[list.inner]]
deep = ""

[[list.inner]]
deep = """""\\"""""" # 27
'''

LINES = {
    ("top",): 2,
    ("quoted key",): 3,
    ("quoted key", "inner"): 3,
    ("a",): 5,
    ("a", "b"): 5,
    ("a", "b", "x"): 6,
    ("a", "b", "y"): 9,
    ("a", "b", "y", "p"): 9,
    ("a", "b", "y", "p", 0): 9,
    ("a", "b", "y", "p", 1): 9,
    ("a", "b", "y", "p", 2): 9,
    ("a", "b", "y", "p", 2, "q"): 9,
    ("a", "b", "y", "r.s"): 9,
    ("a", "b", "dotted"): 10,
    ("a", "b", "dotted", "key"): 10,
    ("list",): 12,
    ("list", 0): 12,
    ("list", 0, "n"): 13,
    ("list", 0, "n", 0): 14,
    ("list", 0, "n", 1): 16,
    ("list", 0, "n", 2): 17,
    ("list", 0, "n", 2, 0): 17,
    ("list", 0, "n", 2, 1): 18,
    ("list", 0, "sub"): 20,
    ("list", 0, "sub", "z"): 21,
    ("list", 1): 22,
    ("list", 1, "inner"): 23,
    ("list", 1, "inner", 0): 23,
    ("list", 1, "inner", 0, "deep"): 24,
    ("list", 1, "inner", 1): 26,
    ("list", 1, "inner", 1, "deep"): 27,
}


def test_every_key_and_element_has_its_line() -> None:
    assert scan(DOCUMENT) == LINES


def test_line_breaks_of_windows_count_once() -> None:
    assert scan(DOCUMENT.replace("\n", "\r\n")) == LINES


def test_the_document_of_this_test_holds_every_key_that_tomllib_finds() -> None:
    assert set(paths(tomllib.loads(DOCUMENT))) == set(LINES)


def test_a_table_without_a_header_of_its_own_is_where_it_is_first_mentioned() -> None:
    assert scan("[a.b.c]\n[a.d]\n[a]\n") == {
        ("a",): 3,
        ("a", "b"): 1,
        ("a", "b", "c"): 1,
        ("a", "d"): 2,
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", " \t"])
def test_an_empty_document_has_no_positions(text: str) -> None:
    assert scan(text) == {}


BARE = st.text("abcXYZ019_-", min_size=1, max_size=4)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALARS = st.sampled_from(
    ["0", "-1_000", "0xFF", "1.5e-3", "nan", "true", "1979-05-27", "07:32:00", "1979-05-27 07:32:00Z"]
)
GAPS = st.sampled_from(["", " ", "\t ", "  "])
BREAKS = st.sampled_from(["", " ", "\n", "\n\n  ", " # a ] , } \" ' comment\n", "\r\n"])


def basic(text: str) -> str:
    return '"' + "".join(escaped(each) for each in text) + '"'


def escaped(character: str) -> str:
    if character in '"\\' or ord(character) < 0x20 or ord(character) == 0x7F:
        return f"\\u{ord(character):04x}"
    return character


def multi_basic(text: str) -> str:
    # Quotes and line breaks stay as they are wherever three quotes do not end the string.
    body = "".join(each if each in '"\n' else escaped(each) for each in text)
    while '"""' in body:
        body = body.replace('"""', '""\\"')
    return f'"""{body}"""'


def literal(text: str) -> str:
    kept = "".join(each for each in text if each >= " " and each not in "'\x7f")
    return f"'{kept}'"


def multi_literal(text: str) -> str:
    kept = "".join(each for each in text if each >= " " and each != "\x7f")
    while "'''" in kept:
        kept = kept.replace("'''", "''")
    return f"'''\n{kept}'''"


STRINGS = st.one_of(*(ANYTHING.map(form) for form in (basic, multi_basic, literal, multi_literal)))
KEYS = st.one_of(BARE, ANYTHING.map(basic), ANYTHING.map(literal))


@st.composite
def dotted(draw: st.DrawFn) -> str:
    parts = draw(st.lists(KEYS, min_size=1, max_size=3))
    return f"{draw(GAPS)}.{draw(GAPS)}".join(parts)


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(values, max_size=4))
    text = "".join(f"{draw(BREAKS)}{item}{draw(BREAKS)}," for item in items)
    return f"[{text}{draw(BREAKS)}]"


@st.composite
def inline_tables(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    keys = draw(st.lists(dotted(), max_size=3))
    pairs = [f"{draw(GAPS)}{key}{draw(GAPS)}={draw(GAPS)}{draw(values)}" for key in keys]
    return "{" + ",".join(pairs) + draw(GAPS) + "}"


VALUES = st.recursive(
    st.one_of(SCALARS, STRINGS), lambda inner: st.one_of(arrays(inner), inline_tables(inner)), max_leaves=6
)


@st.composite
def statements(draw: st.DrawFn) -> str:
    gap, key = draw(GAPS), draw(dotted())
    form = draw(st.sampled_from(["pair", "pair", "pair", "table", "array"]))
    text = {
        "pair": f"{key}{gap}={gap}",
        "table": f"[{gap}{key}{gap}]",
        "array": f"[[{gap}{key}{gap}]]",
    }[form] + (draw(VALUES) if form == "pair" else "")
    comment = draw(st.sampled_from(["", " ", " # [x]", "#\t'"]))
    return gap + text + comment + draw(st.sampled_from(["\n", "\r\n", "\n\n"]))


def documents() -> st.SearchStrategy[list[str]]:
    """Statements one by one, each dropped where tomllib does not take it behind the ones before."""
    return st.lists(statements(), max_size=8).map(valid_part)


def valid_part(candidates: list[str]) -> list[str]:
    kept: list[str] = []
    for statement in candidates:
        try:
            tomllib.loads("".join([*kept, statement]))
        except tomllib.TOMLDecodeError:
            continue
        kept.append(statement)
    return kept


@given(documents())
def test_any_document_has_the_key_paths_that_tomllib_finds(document: list[str]) -> None:
    text = "".join(document)
    assert set(scan(text)) == set(paths(tomllib.loads(text)))


@given(documents())
def test_any_position_is_in_the_statement_that_brings_the_key(document: list[str]) -> None:
    """The oracle parses the document statement by statement; a header may also come after its subtables."""
    found = scan("".join(document))
    known: set[Path] = set()
    for index, statement in enumerate(document):
        text = "".join(document[: index + 1])
        end = text.count("\n")
        lines = range(end - statement.count("\n") + 1, end + 1)
        now = set(paths(tomllib.loads(text)))
        new = {path: found[path] for path in now - known}
        assert {path: line for path, line in new.items() if line < lines.start} == {}
        later = {keys(path) for path, line in new.items() if line not in lines}
        assert later <= headers(document[index + 1 :])
        known = now


def keys(path: Path) -> Path:
    """The path without array elements."""
    return tuple(part for part in path if isinstance(part, str))


def headers(statements: list[str]) -> set[Path]:
    """The tables that these headers name."""
    found: set[Path] = set()
    for statement in statements:
        if statement.strip().startswith("[") and not statement.strip().startswith("[["):
            found |= set(paths(tomllib.loads(statement)))
    return found


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Every key path and array element of what tomllib returned."""
    below: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(value, dict):
        below = iter(value.items())
    elif isinstance(value, list):
        below = iter(enumerate(value))
    for key, inner in below:
        yield (*above, key)
        yield from paths(inner, (*above, key))
