"""Where secrets come from.  The file says where, never what.

Whatever goes wrong here, neither the message nor a local variable of a frame that raises holds the
secret, and what a command wrote to stderr is not shown, because it may.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitbacker.errors import SecretError
from bitbacker.spi import Secret

COMMAND_TIMEOUT_S = 300

Prompt = Callable[[str], str]
"""Asks the user; called with what is asked for, in words."""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """How to get one secret: `way` is a key of `WAYS`, `purpose` says what it is for.

    `place` is `file:line`, or where else it was given.  A command's words may hold a secret, too.
    """

    way: str
    arguments: tuple[str, ...] = field(repr=False)
    purpose: str = "secret"
    place: str = ""

    def error(self, message: str, hint: str | None = None) -> SecretError:
        """An error about this secret."""
        place = f"{self.place}: " if self.place else ""
        return SecretError(f"{place}{self.purpose}: {message}", hint=hint)


def resolve(source: SecretSource, prompt: Prompt | None = None) -> Secret:
    """Get the secret.  Raises `SecretError`, also when it is empty."""
    value = WAYS[source.way](source, prompt)
    if not value:
        raise source.error(f"the {source.way} gave nothing, or no UTF-8")
    return Secret(value)


def _from_command(source: SecretSource, _: Prompt | None) -> str:
    program = source.arguments[0]
    try:
        done = subprocess.run(  # running what the administrator names is what this is for
            source.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise source.error(f"the command {program!r} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        # The exception holds what was printed so far.
        raise source.error(f"the command {program!r} did not end in {COMMAND_TIMEOUT_S} s") from None
    if done.returncode:
        status = done.returncode
        del done
        raise source.error(f"the command {program!r} failed with exit status {status}")
    return _line(done.stdout)


def _from_file(source: SecretSource, _: Prompt | None) -> str:
    path = source.arguments[0]
    try:
        return _line(Path(path).read_bytes())
    except OSError as error:
        raise source.error(f"the file {path} cannot be read: {error.strerror}") from error


def _from_env(source: SecretSource, _: Prompt | None) -> str:
    name = source.arguments[0]
    if name not in os.environ:
        raise source.error(f"the environment has no variable {name}")
    return os.environ[name]


def _from_keyring(source: SecretSource, _: Prompt | None) -> str:
    service, _slash, user = source.arguments[0].rpartition("/")
    try:
        keyring: Any = importlib.import_module("keyring")
    except ImportError as error:
        raise source.error("the Python package keyring is not installed", "pip install keyring") from error
    try:
        value: str | None = keyring.get_password(service, user)
    except Exception as error:
        raise source.error(f"the keyring failed: {type(error).__name__}") from error
    if value is None:
        raise source.error(
            f"the keyring has nothing for user {user!r} of service {service!r}",
            f"store it with: keyring set {service} {user}",
        )
    return value


def _from_systemd(source: SecretSource, _: Prompt | None) -> str:
    name = source.arguments[0]
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise source.error(
            "this process was given no systemd credentials",
            f"put LoadCredentialEncrypted={name} into the unit that starts BitBacker",
        )
    try:
        return _line((Path(directory) / name).read_bytes())
    except OSError as error:
        raise source.error(f"there is no systemd credential {name!r}: {error.strerror}") from error


def _from_prompt(source: SecretSource, prompt: Prompt | None) -> str:
    if prompt is None:
        raise source.error("it is asked for at a terminal, and there is none")
    return prompt(source.purpose)


def _line(raw: bytes) -> str:
    """The text without one newline at its end; empty when it is not UTF-8."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    return re.sub(r"\r?\n\Z", "", text)


WAYS: Mapping[str, Callable[[SecretSource, Prompt | None], str]] = {
    "command": _from_command,
    "file": _from_file,
    "env": _from_env,
    "keyring": _from_keyring,
    "systemd": _from_systemd,
    "prompt": _from_prompt,
}
