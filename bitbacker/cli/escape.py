"""Names from a file system or a repository never steer the terminal that shows them."""

from __future__ import annotations

import os
import re

_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # what turns the direction or ends a line
    "\ud800-\udfff]"  # bytes that are not UTF-8, and lone surrogates
)

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
# How Python spells the bytes 0x80 to 0xff in a file name that is not UTF-8.
_FIRST_BYTE, _LAST_BYTE = "\udc80", "\udcff"


def escaped(text: str) -> str:
    r"""The text with control characters and undecodable bytes as `\x1b`, `\xff` or `\u202e`."""
    return _UNPRINTABLE.sub(_escape, text)


def escaped_path(path: bytes) -> str:
    """A path from a repository, for a person to read."""
    return escaped(os.fsdecode(path))


def problem_text(path: bytes, text: str) -> str:
    """What is wrong with an entry, for a person to read."""
    return f"{escaped_path(path)}: {escaped(text)}" if path else escaped(text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    if _FIRST_BYTE <= character <= _LAST_BYTE:
        return f"\\x{ord(character) - ord(_FIRST_BYTE) + 0x80:02x}"
    return f"\\x{ord(character):02x}" if character <= "\xff" else f"\\u{ord(character):04x}"
