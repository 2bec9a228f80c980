"""Where every key and every array element of a TOML document stands.

`tomllib` gives values without positions, so this scanner walks a document that `tomllib` has accepted
and notes lines.  It may therefore assume that the document is valid, and decodes nothing but keys.
Grammar: https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Mapping

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path = tuple[str | int, ...]
"""Keys from the root; an int counts the elements of an array or of an array of tables."""

Lines = Mapping[Path, int]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # Up to two quotes may precede the closing three.
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)


def scan(text: str) -> Lines:
    """The line, from 1, of every key path and array element of a valid document.

    A table that no header names has the line where it is first mentioned.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        # How many tables each array of tables has so far.
        self._counts: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self._blank()
        while self._at < len(self._text):
            if self._skip("[["):
                table = self._header(array=True)
            elif self._skip("["):
                table = self._header(array=False)
            else:
                self._pair(table)
            self._blank()

    def _header(self, *, array: bool) -> Path:
        line = self._line()
        self._blank_in_line()
        *parents, last = self._dotted()
        self._blank()
        self._skip("]]" if array else "]")
        path: Path = ()
        for part in parents:
            path = self._newest((*path, part))
            self.lines.setdefault(path, line)
        path = (*path, last)
        if array:
            self.lines.setdefault(path, line)
            self._counts[path] = self._counts.get(path, 0) + 1
            path = self._newest(path)
        self.lines[path] = line
        return path

    def _newest(self, path: Path) -> Path:
        """The path itself, or that of the last table when it is an array of tables."""
        count = self._counts.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._dotted():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._blank()
        self._skip("=")
        self._blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._skip("["):
            self._array(path)
        elif self._skip("{"):
            self._inline_table(path)
        elif not self._match(_STRING):
            self._match(_SCALAR)

    def _array(self, path: Path) -> None:
        self._blank()
        index = 0
        while not self._skip("]"):
            element = (*path, index)
            self.lines[element] = self._line()
            self._value(element)
            self._comma()
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._blank()
        while not self._skip("}"):
            self._pair(path)
            self._comma()

    def _dotted(self) -> list[str]:
        parts = [self._key()]
        self._blank_in_line()
        while self._skip("."):
            self._blank_in_line()
            parts.append(self._key())
            self._blank_in_line()
        return parts

    def _key(self) -> str:
        bare = self._match(_BARE_KEY)
        if bare:
            return bare
        quoted = self._match(_STRING)
        return str(tomllib.loads(f"key = {quoted}")["key"])

    def _line(self) -> int:
        return bisect_left(self._ends, self._at) + 1

    def _comma(self) -> None:
        self._blank()
        self._skip(",")
        self._blank()

    def _blank(self) -> None:
        self._match(_BLANK)

    def _blank_in_line(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in " \t":
            self._at += 1

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _skip(self, literal: str) -> bool:
        if not self._text.startswith(literal, self._at):
            return False
        self._at += len(literal)
        return True
