"""Small types that every plugin kind shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Buffer = bytes | bytearray | memoryview
"""Anything whose bytes can be read without a copy."""

SECRET = "bitbacker.secret"  # noqa: S105  # the metadata key, not a secret
PATH = "bitbacker.path"


class Located(str):
    """A string from a configuration file that remembers where it stood.

    `file` is the path as the user named it, `line` counts from 1; 0 when there is no line.
    """

    __slots__ = ("file", "line")
    file: str
    line: int

    def __new__(cls, text: str, file: str = "", line: int = 0) -> Located:
        self = super().__new__(cls, text)
        self.file = file
        self.line = line
        return self


class Secret:
    """A value that never shows itself: `repr`, `str` and `format` give stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("a secret is never serialised")


def secret(**kwargs: Any) -> Any:
    """A dataclass field of type `Secret | None`: configured by a secret source, shown as stars."""
    kwargs.setdefault("default", None)
    return field(metadata={SECRET: True}, **kwargs)


def path(**kwargs: Any) -> Any:
    """A dataclass field that holds a path, or a tuple of paths, in the local file system.

    The configuration makes it absolute: `~` is expanded, and a relative path is taken from the
    directory of the file in which it stands.
    """
    return field(metadata={PATH: True}, **kwargs)


@dataclass(frozen=True, slots=True)
class NoConfig:
    """The schema of a plugin that has nothing to configure."""
