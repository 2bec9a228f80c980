"""Making a repository."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.app.access import Access, Prompt, Wiring
from bitbacker.config import shown_url


@dataclass(frozen=True, slots=True)
class Initialised:
    """What was made: where, its identity on this machine, and its plugins.

    `warning` is what must be told to whoever will write to it, empty when there is nothing.
    """

    url: str
    id: str
    cipher: str
    chunker: str
    single_writer: bool
    warning: str


def init(
    access: Access, prompt: Prompt | None, label: str = "", *, single_writer: bool = False
) -> Initialised:
    """Make the repository that the user means; `single_writer` on a storage that cannot decide between two.

    Raises `RepositoryPresent`, `NotExclusive`, `StorageError`, `PluginError`, `ConfigError`, `SecretError`.
    """
    wiring = Wiring(access, prompt)
    connection = wiring.create(wiring.remote, label, single_writer=single_writer)
    try:
        constants = connection.repository.constants
        return Initialised(
            shown_url(wiring.remote.url),
            connection.repository.id,
            constants.cipher.name,
            constants.chunker.name,
            constants.single_writer,
            connection.warning,
        )
    finally:
        connection.close()
