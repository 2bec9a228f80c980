"""Which lines of the files of ssh_config count for a host: `Include`, `Host`, `Match`, and the first value.

paramiko's reader is not used: it knows no `Include`, takes a criterion of `Match` that it does not know
for fulfilled, reads a comment behind a value as part of it, and runs the command of `Match exec`.

No command is run here.  A block that rests on one, or on something else that is not known here, is
passed over as long as nothing in it would count, and is an error otherwise: the settings may say where
the backup goes, so they are not guessed.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bitbacker.errors import ConfigError

_NESTING_MAX = 16
_HONOURED = frozenset({
    "canonicaldomains",
    "canonicalizehostname",
    "canonicalizemaxdots",
    "globalknownhostsfile",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "tag",
    "user",
    "userknownhostsfile",
})  # fmt: skip
_LINE = re.compile(r"\s*(?P<keyword>[^\s=#]+)(?:\s*=\s*|\s+|$)(?P<rest>.*?)\s*", re.DOTALL)
_CHARACTER = re.compile(r"\\([\"'\\ ])|(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Files:
    """One file with those that it includes; relative names of these are taken from `directory`."""

    path: str
    directory: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    where: str
    keyword: str
    rest: str

    @property
    def words(self) -> Sequence[str]:
        try:
            found = words(self.rest)
        except ValueError as error:
            raise ConfigError(f"{self.where}: {error}") from error
        if not found:
            raise ConfigError(f"{self.where}: there is nothing behind {self.keyword!r}")
        return found


@dataclass(frozen=True, slots=True)
class _Block:
    """Whether lines count; with a `doubt`, nobody can say without doing what is not done here."""

    active: bool = True
    doubt: str = ""


@dataclass(slots=True)
class HostSettings:
    """What the files say of one host, filled line by line; keywords are in small letters.

    `original` is the host as the user names it, `host` the one that `Host` lines are compared with.
    """

    original: str
    host: str
    local_user: str
    values: dict[str, Sequence[str]] = field(default_factory=dict)
    final: bool = False
    final_wanted: bool = False

    def read(self, files: Iterable[Files]) -> None:
        """Take what the files say and was not said before.  Raises `ConfigError`, `ValueError`."""
        for each in files:
            self._read(each.path, each, _Block(), 0)

    def first(self, keyword: str) -> str | None:
        """The value of a setting that has only one."""
        return self.values[keyword][0] if keyword in self.values else None

    def _read(self, path: str, files: Files, outer: _Block, nesting: int) -> None:
        if nesting > _NESTING_MAX:
            raise ConfigError(f"{path!r} is included too deeply")
        block = outer
        for line in _lines(path, required=files.required and not nesting):
            if line.keyword == "host":
                block = _inside(outer, _Block(_fits(line.words, self.host)))
            elif line.keyword == "match":
                block = _inside(outer, self._match(line))
            elif not block.active:
                continue
            elif line.keyword == "include":
                for included in _included(line.words, files.directory):
                    self._read(included, files, block, nesting + 1)
            elif line.keyword in _HONOURED:
                self._take(line, block)

    def _take(self, line: _Line, block: _Block) -> None:
        keyword = line.keyword
        if self._decided(keyword):
            return
        if block.doubt:
            raise ConfigError(
                f"{line.where}: whether this line counts for {self.original!r} depends on {block.doubt!r}, "
                "which BitBacker does not decide",
                hint="name a file without it as 'ssh_config' of the remote, or say the same in the URL "
                "or in a Host block before it",
            )
        # The shell takes a command apart, and gets all of the line.
        found = [line.rest] if keyword == "proxycommand" and line.rest else line.words
        before = self.values.get(keyword, ())
        self.values[keyword] = [*before, *(word for word in found if word not in before)]

    def _decided(self, keyword: str) -> bool:
        """Whether a value was said before and no other one counts."""
        if keyword == "identityfile":
            return False
        jump = self.first("proxyjump")
        jumping = jump is not None and jump.lower() != "none"
        # Two names of one thing: the way to the server.
        rival = (keyword == "proxycommand" and jumping) or (
            keyword == "proxyjump" and "proxycommand" in self.values
        )
        return rival or keyword in self.values

    def _match(self, line: _Line) -> _Block:
        """Whether the criteria of a Match line are met; the order in which they stand does not matter."""
        rest = list(line.words)
        active, doubt = True, ""
        while rest:
            name, _, argument = rest.pop(0).partition("=")
            criterion = name.removeprefix("!").lower()
            if criterion not in {"all", "canonical", "final"} and not argument:
                if not rest:
                    raise ConfigError(f"{line.where}: there is nothing behind {name!r}")
                argument = rest.pop(0)
            met = self._met(criterion, argument)
            if met is None:
                doubt = f"Match {criterion}"
            elif met == name.startswith("!"):
                active = False
        return _Block(active, doubt)

    def _met(self, criterion: str, argument: str) -> bool | None:
        """None when it cannot be said."""
        if criterion == "all":
            return True
        if criterion in {"canonical", "final"}:
            self.final_wanted |= criterion == "final"
            return self.final
        if criterion in {"host", "originalhost"}:
            host = (self.first("hostname") or "%h") if criterion == "host" else self.original
            compared = expanded(host, {"h": self.host}) if criterion == "host" else host
            return _fits(argument.lower().split(","), compared.lower())
        known = {
            "user": self.first("user") or self.local_user,
            "localuser": self.local_user,
            "tagged": self.first("tag") or "",
        }
        return _fits(argument.split(","), known[criterion]) if criterion in known else None


def words(text: str) -> Sequence[str]:
    """The words of a line, which quotes hold together and a comment ends.  Raises `ValueError`."""
    found: list[str] = []
    word: str | None = None
    quote = ""
    for escaped, plain in _CHARACTER.findall(text):
        if escaped:
            word = (word or "") + (f"\\{escaped}" if quote and escaped == " " else escaped)
        elif quote:
            quote, word = ("", word) if plain == quote else (quote, f"{word}{plain}")
        elif plain in "\"'":
            quote, word = plain, word or ""
        elif plain in " \t":
            found += [] if word is None else [word]
            word = None
        elif plain == "#" and word is None:
            break
        else:
            word = (word or "") + plain
    if quote:
        raise ValueError("a quote is not closed")
    return [*found, *([] if word is None else [word])]


def expanded(text: str, tokens: Mapping[str, str]) -> str:
    """`text` with `%h` and its like put in.  Raises `ValueError` for one that is not among `tokens`."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in tokens and found[1] != "%":
            raise ValueError(f"{found[0]!r} has no meaning in {text!r}; write %% for a percent sign")
        return tokens.get(found[1], "%")

    return re.sub(r"%(.?)", value, text)


def _inside(outer: _Block, inner: _Block) -> _Block:
    return _Block(outer.active and inner.active, inner.doubt or outer.doubt)


def _fits(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns fits, and none that begins with `!` does."""
    fitting = [pattern for pattern in patterns if _pattern(pattern.removeprefix("!")).fullmatch(name)]
    return bool(fitting) and not any(pattern.startswith("!") for pattern in fitting)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _lines(path: str, *, required: bool) -> Sequence[_Line]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            numbered = [(number, _LINE.fullmatch(line)) for number, line in enumerate(file, 1)]
    except OSError as error:
        # ssh takes a directory, which a pattern of Include may well find, for an empty file.
        if not required and isinstance(error, FileNotFoundError | IsADirectoryError):
            return []
        raise ConfigError(f"cannot read {path!r}: {error.strerror}") from error
    return [_Line(f"{path}:{n}", found["keyword"].lower(), found["rest"]) for n, found in numbered if found]


def _included(patterns: Iterable[str], directory: str) -> Sequence[str]:
    return [
        path
        for pattern in patterns
        for path in sorted(glob.glob(os.path.join(directory, os.path.expanduser(pattern))))
    ]
