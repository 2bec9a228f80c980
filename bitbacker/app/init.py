"""Making a repository."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.app.access import Access, Prompt, Wiring
from bitbacker.config import shown_url


@dataclass(frozen=True, slots=True)
class Initialised:
    """What was made: where, its identity on this machine, and its plugins."""

    url: str
    id: str
    cipher: str
    chunker: str


def init(access: Access, prompt: Prompt | None, label: str = "") -> Initialised:
    """Make the repository that the user means.

    Raises `RepositoryPresent`, `StorageError`, `PluginError`, `ConfigError`, `SecretError`.
    """
    wiring = Wiring(access, prompt)
    connection = wiring.create(wiring.remote, label)
    try:
        constants = connection.repository.constants
        return Initialised(
            shown_url(wiring.remote.url),
            connection.repository.id,
            constants.cipher.name,
            constants.chunker.name,
        )
    finally:
        connection.close()
