"""TOML tables whose keys, array elements and strings know where they stand."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bitbacker.config.positions import Lines, scan
from bitbacker.config.positions import Path as KeyPath
from bitbacker.errors import ConfigError
from bitbacker.spi import Located

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


@dataclass(frozen=True, slots=True, eq=False)
class Table(Mapping[str, Any]):
    """A table as it was written: strings are `Located`, arrays are tuples, tables are `Table`s.

    `known` are keys that belong to the table but are read by somebody else; they matter for guesses.
    Values are not in the `repr`, because somebody may have written a secret among them.
    """

    name: str
    entries: Mapping[str, Any] = field(default_factory=dict, repr=False)
    path: KeyPath = ()
    file: str = ""
    lines: Lines = field(default_factory=dict, repr=False)
    known: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Any:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def only(self, keys: Collection[str]) -> Table:
        """The same table without any other keys."""
        return replace(self, entries={key: value for key, value in self.items() if key in keys})

    def without(self, keys: Collection[str]) -> Table:
        """The same table without these keys, which it remembers as `known`."""
        rest = {key: value for key, value in self.items() if key not in keys}
        return replace(self, entries=rest, known=(*self.known, *keys))

    def table(self, key: str) -> Table:
        """A subtable, empty when it is absent."""
        value = self.get(key)
        if value is None:
            return self.empty(key)
        if not isinstance(value, Table):
            raise self.error(f"{key!r} in {self.name} must be a table", key)
        return value

    def empty(self, key: str) -> Table:
        """A table without keys in the place of `key`."""
        path = (*self.path, key)
        return replace(self, name=table_name(path), entries={}, path=path, known=())

    def place(self, *below: str | int) -> str:
        """`file:line` of the table, or of a key or array element below it; empty without a file."""
        if not self.file:
            return ""
        path = (*self.path, *below)
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines.get(path, 1)}"

    def error(self, message: str, *below: str | int, hint: str | None = None) -> ConfigError:
        """An error that starts with the place."""
        place = self.place(*below)
        return ConfigError(f"{place}: {message}" if place else message, hint=hint)

    def refuse_unknown(self, keys: Collection[str]) -> None:
        """Raise `ConfigError` for the first key that is not among `keys`."""
        for key in self:
            if key not in keys:
                close = get_close_matches(key, [*keys, *self.known], n=1)
                guess = f"; did you mean {close[0]!r}?" if close else ""
                raise self.error(f"unknown key {key!r} in {self.name}{guess}", key)


def read_toml(path: str) -> Table:
    """The root table of a file.  Raises `ConfigError` with the line where the file is not TOML."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8") from error
    return parse_toml(text, path)


def parse_toml(text: str, file: str) -> Table:
    """The root table of a document; `file` is what it is called in messages."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The parser's own exception could quote a line that holds a secret.
        raise _syntax_error(str(error), text, file) from None
    table: Table = _located(values, (), file, scan(text))
    return table


def table_name(path: KeyPath) -> str:
    """A table as its header would be written: `[sources.home]`."""
    if not path:
        return "the top level"
    return f"[{dotted(path)}]"


def dotted(path: KeyPath) -> str:
    """A key path as it would be written: `sources.home.paths`."""
    return ".".join(key if _BARE.fullmatch(key) else f'"{key}"' for key in map(str, path))


def _located(value: Any, path: KeyPath, file: str, lines: Lines) -> Any:
    if isinstance(value, dict):
        entries = {key: _located(below, (*path, key), file, lines) for key, below in value.items()}
        return Table(table_name(path), entries, path, file, lines)
    if isinstance(value, list):
        return tuple(_located(below, (*path, index), file, lines) for index, below in enumerate(value))
    return Located(value, file, lines[path]) if isinstance(value, str) else value


def _syntax_error(message: str, text: str, file: str) -> ConfigError:
    found = _AT_LINE.search(message)
    line = int(found[1]) if found else text.count("\n") + 1
    reason = _AT_LINE.sub("", message).removesuffix(" (at end of document)")
    return ConfigError(f"{file}:{line}: {reason[:1].lower()}{reason[1:]}", hint="the file must be valid TOML")
