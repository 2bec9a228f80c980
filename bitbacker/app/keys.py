"""Passwords and recovery codes of a repository."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.app.access import Connection
from bitbacker.config import SecretSource, resolve
from bitbacker.crypto.slots import Unlocker, new_recovery_code
from bitbacker.repo import slots
from bitbacker.repo.slots import KeyInfo

__all__ = ["Added", "KeyInfo", "add_key", "list_keys", "remove_key"]


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What to add: a new password, from a file or typed in, or a recovery code that is made up."""

    label: str = ""
    new_password_file: str = ""
    recovery_code: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Added:
    """The number of a new key; `recovery_code` is the only copy of the code, empty for a password."""

    number: int
    recovery_code: str = ""


def list_keys(connection: Connection) -> tuple[KeyInfo, ...]:
    """The keys in use.  Raises `StorageError`, `DamageError`."""
    repository = connection.repository
    return slots.list_keys(repository.storage, connection.unlocker, repository.slot_memory)


def add_key(connection: Connection, options: KeyOptions) -> Added:
    """Let another secret open the repository.  Raises `RepositoryError` when there is no room."""
    code = new_recovery_code() if options.recovery_code else ""
    unlocker = Unlocker(code) if code else _new_password(connection, options)
    repository = connection.repository
    number = slots.add_key(
        repository.storage, connection.unlocker, unlocker, options.label, repository.slot_memory
    )
    return Added(number, code)


def remove_key(connection: Connection, number: int) -> None:
    """Forget a key.  Raises `RepositoryError` when it is the one in use, or does not exist."""
    repository = connection.repository
    slots.remove_key(repository.storage, connection.unlocker, number, repository.slot_memory)


def _new_password(connection: Connection, options: KeyOptions) -> Unlocker:
    if options.new_password_file:
        source = SecretSource("file", (options.new_password_file,), "new password", "--new-password-file")
        return Unlocker(resolve(source).reveal())
    return connection.wiring.typed_twice("password")
