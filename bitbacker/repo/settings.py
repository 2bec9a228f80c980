"""What the floors above hand to a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bitbacker.format.keyslots import PluginChoice
from bitbacker.spi import Chunker, Cipher


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """Where this machine keeps what is disposable (`cache`) and what is not (`state`)."""

    cache: Path
    state: Path


@dataclass(frozen=True, slots=True)
class RepositoryOptions:
    """What is decided when a repository is made and never changes.

    `single_writer` is for a storage that cannot decide between two writers.
    """

    cipher: PluginChoice
    chunker: PluginChoice
    single_writer: bool = False


class PluginMaker(Protocol):
    """Makes the plugins that a repository names.  Raises `PluginError`."""

    def cipher(self, choice: PluginChoice) -> Cipher:
        """The cipher of this name with these parameters."""

    def chunker(self, choice: PluginChoice, key: bytes) -> Chunker:
        """The chunker of this name with these parameters."""
