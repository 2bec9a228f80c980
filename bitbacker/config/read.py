"""From a TOML document to `Config`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, TypeVar

from bitbacker.config.convert import KEY, make_config, schema_fields
from bitbacker.config.remotes import normal_url
from bitbacker.config.schema import (
    COMPRESSION_LEVELS,
    CheckSpec,
    Config,
    NotifierSpec,
    PluginSpec,
    Remote,
    RepositorySpec,
    RetentionSpec,
    SourceSpec,
)
from bitbacker.config.secrets import SecretSource
from bitbacker.config.table import Table, parse_toml, read_toml
from bitbacker.spi import Located, path

TABLES = ("remotes", "repository", "sources", "retention", "check", "notifiers")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopKeys:
    """Keys above the first table."""

    plugins: tuple[Located, ...] = path(default=())


@dataclass(frozen=True, slots=True)
class RemoteKeys:
    """Keys of a remote that do not belong to its transport."""

    url: Located
    password: SecretSource | None = None
    create: bool = False
    single_writer: bool = False


@dataclass(frozen=True, slots=True)
class SourceKeys:
    """Keys of a source that do not belong to its plugin; its retention is a table beside them."""

    plugin: str = "files"
    tags: tuple[str, ...] = ()
    host: str = ""
    remotes: tuple[Located, ...] = ()


@dataclass(frozen=True, slots=True)
class RetentionKeys:
    """Keys of a retention that do not belong to its plugin."""

    plugin: str = "keep"
    prune: bool = True
    strict: bool = False


@dataclass(frozen=True, slots=True)
class NotifierKeys:
    """Keys of a notifier that do not belong to its plugin."""

    plugin: str


@dataclass(frozen=True, slots=True)
class RepositoryKeys:
    """Keys of the repository beside its plugins."""

    compression_level: int = 3
    padding: Literal["padme", "none"] = "padme"
    floor_bytes: int = field(default=256 * 1024, metadata={KEY: "floor"})
    strict: bool = False

    def __post_init__(self) -> None:
        if self.compression_level not in COMPRESSION_LEVELS:
            raise ValueError("'compression_level' must be from 1 to 22")
        if self.floor_bytes < 0:
            raise ValueError("'floor' must be 0 or more")


def read_config(path: str) -> Config:
    """Read and check a file.  Raises `ConfigError` with file and line."""
    return config_of(read_toml(path))


def no_config() -> Config:
    """What holds where there is no file: defaults, no remote, no source."""
    return config_of(parse_toml("", ""))


def config_of(document: Table) -> Config:
    """Check a document that has been parsed."""
    document.refuse_unknown([*_keys(TopKeys), *TABLES])
    top = make_config(TopKeys, document.only(_keys(TopKeys)))
    remotes = tuple(_remote(name, table) for name, table in _named(document, "remotes"))
    names = [remote.name for remote in remotes]
    retention = _retention(document["retention"]) if "retention" in document else None
    return Config(
        file=document.file,
        plugins=top.plugins,
        remotes=remotes,
        repository=_repository(document.table("repository")),
        sources=tuple(_source(name, table, names, retention) for name, table in _named(document, "sources")),
        check=make_config(CheckSpec, document.table("check")),
        notifiers=tuple(_notifier(name, table) for name, table in _named(document, "notifiers")),
        document=document,
    )


def _remote(name: str, table: Table) -> Remote:
    keys, options = _split(RemoteKeys, table)
    url = normal_url(keys.url)
    return Remote(name, url, keys.password, keys.create, keys.single_writer, options)


def _source(name: str, table: Table, remotes: list[str], general: RetentionSpec | None) -> SourceSpec:
    own = _retention(table.table("retention")) if "retention" in table else None
    keys, options = _split(SourceKeys, table, "retention")
    for index, remote in enumerate(keys.remotes):
        if remote not in remotes:
            close = get_close_matches(remote, remotes, n=1)
            guess = f"; did you mean {close[0]!r}?" if close else ""
            raise table.error(
                f"{table.name} names an unknown remote {str(remote)!r}{guess}", "remotes", index
            )
    plugin = PluginSpec(keys.plugin, options)
    targets: Iterable[str] = keys.remotes or remotes
    return SourceSpec(name, plugin, keys.tags, keys.host, tuple(dict.fromkeys(targets)), own or general)


def _retention(table: Table) -> RetentionSpec:
    keys, options = _split(RetentionKeys, table)
    return RetentionSpec(PluginSpec(keys.plugin, options), keys.prune, keys.strict)


def _notifier(name: str, table: Table) -> NotifierSpec:
    keys, options = _split(NotifierKeys, table)
    return NotifierSpec(name, PluginSpec(keys.plugin, options))


def _repository(table: Table) -> RepositorySpec:
    table.refuse_unknown([*_keys(RepositoryKeys), "cipher", "chunker"])
    keys = make_config(RepositoryKeys, table.only(_keys(RepositoryKeys)))
    cipher, chunker = _choice(table, "cipher", "aes-256-gcm"), _choice(table, "chunker", "gear")
    return RepositorySpec(
        cipher, chunker, keys.compression_level, keys.padding, keys.floor_bytes, keys.strict
    )


def _choice(table: Table, key: str, default: str) -> PluginSpec:
    """A plugin by its name alone, or by a table that holds the name and the plugin's own keys."""
    value = table.get(key, default)
    if isinstance(value, str):
        return PluginSpec(value, table.empty(key))
    if not isinstance(value, Table) or not isinstance(value.get("name"), str):
        raise table.error(f"{key!r} in {table.name} must be a name, or a table with a 'name'", key)
    return PluginSpec(value["name"], value.without(["name"]))


def _named(document: Table, key: str) -> Iterator[tuple[str, Table]]:
    """The tables `[key.NAME]`, in the order of the file."""
    tables = document.table(key)
    for name in tables:
        if not _NAME.fullmatch(name):
            message = f"{name!r} is no name: letters, digits, dots, dashes and underscores, please"
            raise tables.error(message, name)
        yield name, tables.table(name)


def _split(schema: type[T], table: Table, *beside: str) -> tuple[T, Table]:
    """The framework's own keys of a table, and the rest, which belongs to a plugin."""
    keys = _keys(schema)
    return make_config(schema, table.only(keys)), table.without([*keys, *beside])


def _keys(schema: type[object]) -> list[str]:
    return [field.key for field in schema_fields(schema)]
