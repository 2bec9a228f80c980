"""Ordered exclude rules: the last one that matches a name decides.

A rule is taken apart once into the directories it speaks of and the names it speaks of there.  In a
directory that no rule with a path speaks of, only the floating rules are asked, all names at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitbacker.errors import ConfigError
from bitbacker.spi import Located
from bitbacker_plugins.files.config import FilesConfig, where
from bitbacker_plugins.files.patterns import PatternError, literal, translate
from bitbacker_plugins.files.places import components

_NEVER = "(?!)"
_ANY_DEPTH = "(?:.*/)?"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: where it stands, what it says, and what it matches.

    `parents` are prefixes that end in a slash ("" is the root), `parent_pattern` matches such
    prefixes; a rule with neither floats: it is asked in every directory.
    """

    text: Located
    negated: bool
    directories_only: bool
    name_literal: str | None
    name_pattern: re.Pattern[str]
    parents: frozenset[str]
    parent_pattern: re.Pattern[str] | None

    @property
    def floats(self) -> bool:
        """Whether it speaks of names in any directory."""
        return not self.parents and self.parent_pattern is None

    def matches(self, name: str, *, is_directory: bool) -> bool:
        """Whether it speaks of this name, in a directory that it speaks of."""
        if self.directories_only and not is_directory:
            return False
        return self.name_pattern.fullmatch(name) is not None


class Matcher:
    """The rules that matter in one directory."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._last_first = tuple(reversed(rules))
        excluding = [rule for rule in rules if not rule.negated]
        self._literals = frozenset(rule.name_literal for rule in excluding if rule.name_literal is not None)
        wild = [rule.name_pattern.pattern for rule in excluding if rule.name_literal is None]
        # All names are searched at once, joined by NUL; the literal NUL in front makes that fast.
        self._wild = re.compile(rf"\0({'|'.join(wild)})(?=\0)") if wild else None

    def candidates(self, names: Sequence[str]) -> set[str]:
        """The names that some excluding rule matches; `deciding` has the last word on each."""
        found = set(self._literals.intersection(names)) if self._literals else set()
        if self._wild is not None:
            found.update(self._wild.findall("\0" + "\0".join(names) + "\0"))
        return found

    def deciding(self, name: str, *, is_directory: bool) -> Rule | None:
        """The last rule that matches this name, which decides; None when none does."""
        for rule in self._last_first:
            if rule.matches(name, is_directory=is_directory):
                return rule
        return None


class Rules:
    """All rules of a source."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._by_parent: dict[str, list[int]] = {}
        self._searched: list[int] = []
        for index, rule in enumerate(self._rules):
            for parent in rule.parents:
                self._by_parent.setdefault(parent, []).append(index)
            if rule.parent_pattern is not None:
                self._searched.append(index)
        searched = [rule.parent_pattern.pattern for rule in self._rules if rule.parent_pattern is not None]
        self._any_parent = re.compile("|".join(searched) or _NEVER, re.DOTALL)
        self._floating = tuple(index for index, rule in enumerate(self._rules) if rule.floats)
        self._matchers: dict[tuple[int, ...], Matcher | None] = {(): None}

    def matcher(self, path: bytes) -> Matcher | None:
        """What to ask about the names in this directory; None when no rule can exclude one."""
        if not self._rules:
            return None
        prefix = os.fsdecode(path) + "/" if path else ""
        special = list(self._by_parent.get(prefix, ()))
        if self._searched and self._any_parent.fullmatch(prefix):
            special += [index for index in self._searched if self._speaks_of(index, prefix)]
        key = tuple(sorted((*self._floating, *special))) if special else self._floating
        try:
            return self._matchers[key]
        except KeyError:
            chosen = [self._rules[index] for index in key]
            matcher = None if all(rule.negated for rule in chosen) else Matcher(chosen)
            self._matchers[key] = matcher
            return matcher

    def _speaks_of(self, index: int, prefix: str) -> bool:
        pattern = self._rules[index].parent_pattern
        return pattern is not None and pattern.fullmatch(prefix) is not None


def read_rules(config: FilesConfig) -> Rules:
    """The rules of the files first, then those of the configuration.  Raises `ConfigError`."""
    bases = tuple(_prefix(path) for path in config.paths)
    lines = [line for path in config.exclude_file for line in _lines(path)]
    return Rules([compile_rule(text, bases) for text in (*lines, *config.exclude)])


def _prefix(path: str) -> str:
    return "".join(os.fsdecode(name) + "/" for name in components(path))


def _lines(path: Located) -> Iterable[Located]:
    """The lines of a rule file that are rules."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ConfigError(f"{where(path)}the rules in {path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(text.split("\n"), 1):
        rule = line.removesuffix("\r")
        if rule.strip(" ") and not rule.startswith("#"):
            yield Located(rule, str(path), number)


def compile_rule(text: Located, bases: Sequence[str]) -> Rule:
    """Take one rule apart; `bases` are the prefixes of the paths of the source.

    Raises `ConfigError` for a rule that could never match anything.
    """
    try:
        return _compile(text, bases)
    except PatternError as error:
        raise ConfigError(f"{where(text)}the rule {str(text)!r} {error}") from error


def _compile(text: Located, bases: Sequence[str]) -> Rule:
    pattern = _without_trailing_spaces(str(text))
    negated = pattern.startswith("!")
    pattern = pattern[negated:]
    directories_only = pattern.endswith("/")
    anchored = pattern.startswith("/")
    segments = [segment for segment in pattern.split("/") if segment]
    if not segments:
        raise PatternError("names nothing")
    if not {".", ".."}.isdisjoint(segments):
        raise PatternError("can never match: '.' and '..' are no names")
    name_segment = segments.pop()
    parents, parent_pattern = frozenset[str](), None
    # Behind leading stars nothing is left of where a rule begins: it floats.
    if anchored + len(segments) and not (segments and set(segments) == {"**"}):
        parents, parent_pattern = _parents(segments, ("",) if anchored else bases, below=name_segment == "**")
    return Rule(
        text=text,
        negated=negated,
        directories_only=directories_only,
        name_literal=literal(name_segment),
        name_pattern=re.compile(translate(name_segment)),
        parents=parents,
        parent_pattern=parent_pattern,
    )


def _parents(
    segments: Sequence[str], starts: Sequence[str], *, below: bool
) -> tuple[frozenset[str], re.Pattern[str] | None]:
    """The directories that a rule with a slash speaks of."""
    plain = [name for segment in segments if (name := literal(segment)) is not None]
    if not below and len(plain) == len(segments):
        return frozenset(start + "".join(name + "/" for name in plain) for start in starts), None
    floats = bool(segments) and segments[0] == "**"
    head = "" if floats else "|".join(re.escape(start) for start in starts)
    middle = "".join(_ANY_DEPTH if segment == "**" else translate(segment) + "/" for segment in segments)
    return frozenset(), re.compile(f"(?:{head}){middle}{_ANY_DEPTH if below else ''}", re.DOTALL)


def _without_trailing_spaces(pattern: str) -> str:
    """gitignore drops spaces at the end unless a backslash stands before them."""
    stripped = pattern.rstrip(" ")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 and stripped != pattern else stripped
