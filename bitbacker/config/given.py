"""How a secret is named: in a table of the file, by the environment, or on the command line."""

from __future__ import annotations

import os
import shlex
from typing import Any

from bitbacker.config.secrets import WAYS, SecretSource
from bitbacker.config.table import Table
from bitbacker.errors import SecretError, UsageError
from bitbacker.spi import Located

PASSWORD_VARIABLE = "BITBACKER_PASSWORD"  # noqa: S105  # the name of the variable

_EXAMPLE = "write for example {key} = {{ command = [...] }} or {key} = {{ file = ... }}"


def source_in_table(table: Table, key: str) -> SecretSource:
    """Read `{ command = [...] }` and the like.  Raises `SecretError`, which never quotes the value."""
    purpose = f"{key!r} in {table.name}"
    place = table.place(key)
    nowhere = SecretSource("", (), purpose, place)
    example = _EXAMPLE.format(key=key)
    # No variable holds the value before it is known to be a table.
    if not isinstance(table[key], Table):
        raise nowhere.error("a secret does not belong in the file; the file says where it is", example)
    value: Table = table[key]
    unknown = [way for way in value if way not in WAYS]
    if unknown:
        raise nowhere.error(f"unknown kind of secret {unknown[0]!r}; known are {', '.join(WAYS)}", example)
    if len(value) != 1:
        raise nowhere.error(f"exactly one of {', '.join(WAYS)} is needed, not {len(value)}", example)
    way = next(iter(value))
    arguments = _arguments(way, value[way])
    if arguments is None:
        raise nowhere.error(f"{way!r} must be {_expected(way)}", example)
    return SecretSource(way, arguments, purpose, place)


def password_from_outside(password_file: str = "", password_command: str = "") -> SecretSource | None:
    """The repository password that the command line or the environment names; None when neither does.

    Raises `UsageError` when it is named twice.
    """
    given = []
    if password_file:
        given.append(
            SecretSource("file", (os.path.expanduser(password_file),), "password", "--password-file")
        )
    if password_command:
        given.append(SecretSource("command", _words(password_command), "password", "--password-command"))
    if PASSWORD_VARIABLE in os.environ:
        given.append(SecretSource("env", (PASSWORD_VARIABLE,), "password"))
    if len(given) > 1:
        names = " and ".join(source.place or f"the variable {PASSWORD_VARIABLE}" for source in given)
        raise UsageError(f"the password is given twice: by {names}", hint="keep one of them")
    return given[0] if given else None


def _words(command: str) -> tuple[str, ...]:
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        # What the shell parser complains about could be part of a secret.
        raise SecretError(
            "--password-command: this is not a command", hint="quote it as for a shell"
        ) from None
    return tuple(words)


def _arguments(way: str, value: Any) -> tuple[str, ...] | None:
    """What the way needs, or None when it is of the wrong type."""
    if way == "command":
        fits = isinstance(value, tuple) and value and all(isinstance(word, str) for word in value)
        return tuple(map(str, value)) if fits else None
    if way == "prompt":
        return () if value is True else None
    if not isinstance(value, Located) or not value or (way == "keyring" and "/" not in value):
        return None
    return (beside(value),) if way == "file" else (str(value),)


def _expected(way: str) -> str:
    return {
        "command": "an array of strings, the program first",
        "prompt": "true",
        "keyring": 'a string "service/user"',
    }.get(way, "a string")


def beside(text: str) -> str:
    """A path as the user meant it: `~` expanded, relative to the file in which it stands."""
    directory = os.path.dirname(text.file) if isinstance(text, Located) else ""
    return os.path.abspath(os.path.join(directory, os.path.expanduser(text)))
