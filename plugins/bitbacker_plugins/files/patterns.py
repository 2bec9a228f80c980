"""gitignore patterns as regular expressions.

Recommended reading: gitignore(5), "PATTERN FORMAT".
"""

from __future__ import annotations

import re

_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x01-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t-\\r ",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_ANY_CHARACTER = r"[^/\0]"
_WILDCARDS = frozenset("*?[\\")
_ESCAPED = re.compile(r"\\.", re.DOTALL)


class PatternError(ValueError):
    """A pattern that git would silently never match."""


def literal(segment: str) -> str | None:
    """The one name that this segment matches, None when it has wildcards."""
    if not _WILDCARDS.isdisjoint(_ESCAPED.sub("", segment)):
        return None
    return _ESCAPED.sub(lambda escaped: escaped[0][1], segment)


def translate(segment: str) -> str:
    """The regular expression of one pattern segment (what stands between slashes).

    Raises `PatternError`.
    """
    parts: list[str] = []
    at = 0
    while at < len(segment):
        character = segment[at]
        at += 1
        if character == "*":
            while segment[at : at + 1] == "*":
                at += 1
            parts.append(_ANY_CHARACTER + "*")
        elif character == "?":
            parts.append(_ANY_CHARACTER)
        elif character == "[":
            bracket, at = _bracket(segment, at)
            parts.append(bracket)
        elif character == "\\":
            if at == len(segment):
                raise PatternError("ends in a lone backslash")
            parts.append(re.escape(segment[at]))
            at += 1
        else:
            parts.append(re.escape(character))
    return "".join(parts)


def _bracket(segment: str, at: int) -> tuple[str, int]:
    """Translate a bracket expression whose `[` stands before `at`; return it and the place behind it."""
    negated = segment[at : at + 1] in ("!", "^")
    at += negated
    items: list[str] = []
    first = True
    while first or segment[at : at + 1] != "]":
        if at >= len(segment):
            raise PatternError("a '[' is never closed")
        item, at = _bracket_item(segment, at)
        items.append(item)
        first = False
    inside = "".join(items)
    # An empty inside is a range that runs backwards: it matches nothing, its negation anything.
    if not inside:
        return (_ANY_CHARACTER if negated else r"(?!)"), at + 1
    return rf"(?![/\0])[{'^' if negated else ''}{inside}]", at + 1


def _bracket_item(segment: str, at: int) -> tuple[str, int]:
    if segment.startswith("[:", at):
        end = segment.find(":]", at + 2)
        name = segment[at + 2 : end]
        if end >= 0 and name in _POSIX_CLASSES:
            return _POSIX_CLASSES[name], end + 2
        if end >= 0 and name.isalpha():
            raise PatternError(f"there is no character class [:{name}:]")
    low, at = _bracket_character(segment, at)
    if segment[at : at + 1] == "-" and segment[at + 1 : at + 2] not in ("", "]"):
        high, at = _bracket_character(segment, at + 1)
        return (f"{re.escape(low)}-{re.escape(high)}" if low <= high else ""), at
    return re.escape(low), at


def _bracket_character(segment: str, at: int) -> tuple[str, int]:
    if segment[at] == "\\":
        at += 1
    if at >= len(segment):
        raise PatternError("a '[' is never closed")
    return segment[at], at + 1
