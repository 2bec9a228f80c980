"""What `bitbacker.toml` says, as frozen values.

`options` of a part are the keys that belong to its plugin; `make_config(Plugin.Config, part.options)`
checks them once the plugin is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bitbacker.config.convert import KEY
from bitbacker.config.secrets import SecretSource
from bitbacker.config.table import Table
from bitbacker.spi import Located

DAY_S = 86400.0
COMPRESSION_LEVELS = range(1, 23)


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """A plugin by name, and the keys that belong to it."""

    name: str
    options: Table


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a repository lies.  `name` is empty for a URL from the command line.

    `create` makes the repository when there is none; `single_writer` is how it is made, for a storage that
    cannot decide between two writers.
    """

    name: str
    url: str
    password: SecretSource | None
    create: bool
    single_writer: bool
    options: Table


@dataclass(frozen=True, slots=True)
class RepositorySpec:
    """What a repository is made with, and what its sessions tell the storage.

    A repository that exists keeps the cipher and the chunker that it was made with.  `padding` and
    `floor_bytes` decide how volumes are rounded up; `strict` says whether what backups fetch is
    independent of what changed.
    """

    cipher: PluginSpec
    chunker: PluginSpec
    compression_level: int
    padding: Literal["padme", "none"]
    floor_bytes: int
    strict: bool


@dataclass(frozen=True, slots=True)
class RetentionSpec:
    """Which snapshots stay; `prune` says whether space is freed at once, `strict` by a strict prune."""

    plugin: PluginSpec
    prune: bool
    strict: bool


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What is backed up, and to which remotes, by name.  An empty `host` is this machine's name."""

    name: str
    plugin: PluginSpec
    tags: tuple[str, ...]
    host: str
    remotes: tuple[str, ...]
    retention: RetentionSpec | None


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """How often `run` checks; None is never."""

    every_s: float | None = field(default=7 * DAY_S, metadata={KEY: "every"})
    read_data_every_s: float | None = field(default=None, metadata={KEY: "read_data_every"})


@dataclass(frozen=True, slots=True)
class NotifierSpec:
    """Who is told."""

    name: str
    plugin: PluginSpec


@dataclass(frozen=True, slots=True)
class Config:
    """A whole file; `file` is empty when there is none.  `plugins` are absolute paths."""

    file: str
    plugins: tuple[Located, ...]
    remotes: tuple[Remote, ...]
    repository: RepositorySpec
    sources: tuple[SourceSpec, ...]
    check: CheckSpec
    notifiers: tuple[NotifierSpec, ...]
    document: Table = field(repr=False)
