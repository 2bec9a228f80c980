"""Every value with its origin, for `bitbacker config show`: secrets as stars."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from typing import Any, get_args

from bitbacker.config.convert import SchemaField, schema_fields
from bitbacker.config.places import (
    CACHE_VARIABLE,
    CONFIG_VARIABLE,
    STATE_VARIABLE,
    cache_directory,
    state_directory,
)
from bitbacker.config.read import NotifierKeys, RemoteKeys, RepositoryKeys, RetentionKeys, SourceKeys, TopKeys
from bitbacker.config.remotes import REMOTE_VARIABLE, shown_url
from bitbacker.config.schema import CheckSpec, Config
from bitbacker.config.secrets import WAYS, SecretSource
from bitbacker.config.sessions import given_up
from bitbacker.config.table import Table, dotted
from bitbacker.config.units import duration_text, size_text
from bitbacker.spi import Secret

STARS = "***"
CHOICES = ("cipher", "chunker")
COMMAND_LINE = "command line"
DEFAULT = "default"

_SOUNDS_SECRET = re.compile("pass(word|phrase)|secret|token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shown:
    """One value: its key path, its text as TOML, and where it comes from.

    `origin` is `file:line`, `environment NAME`, `command line` or `default`.  `gives_up` is not empty for
    settings that trade what the storage learns for volume.
    """

    key: str
    value: str
    origin: str
    gives_up: str = ""


def show(
    config: Config,
    *,
    config_option: str = "",
    remote_option: str = "",
    password: SecretSource | None = None,
    schemas: Mapping[str, type[Any]] | None = None,
) -> Iterator[Shown]:
    """Every value that holds.

    The options are what the command line said; `password` comes from `password_from_outside`.
    `schemas` are the `Config` classes of the plugins by the name of their table, such as
    `[sources.home]`; with them the defaults of plugins are shown, too.
    """
    yield from _outside(config, config_option, remote_option, password)
    yield from _choices(config)
    trades = {f"repository.{key}": text for key, text in given_up(config.repository).items()}
    for table, owner in _sections(config.document):
        plugin = (schemas or {}).get(table.name)
        fields = [field for schema in (owner, plugin) if schema for field in schema_fields(schema)]
        for shown in _section(table, fields):
            yield replace(shown, gives_up=trades.get(shown.key, ""))


def _outside(
    config: Config, config_option: str, remote_option: str, password: SecretSource | None
) -> Iterator[Shown]:
    if config.file:
        yield Shown("config", _toml(config.file), _origin(config_option, CONFIG_VARIABLE))
    remote = remote_option or os.environ.get(REMOTE_VARIABLE, "")
    if remote:
        yield Shown("remote", _toml(shown_url(remote)), _origin(remote_option, REMOTE_VARIABLE))
    if password is not None:
        origin = _origin(password.place, password.arguments[0])
        yield Shown("password", STARS, origin)
    yield Shown("cache_dir", _toml(str(cache_directory())), _origin("", CACHE_VARIABLE))
    yield Shown("state_dir", _toml(str(state_directory())), _origin("", STATE_VARIABLE))


def _choices(config: Config) -> Iterator[Shown]:
    """The plugins of a new repository that are named by a string, or by nobody."""
    table = config.document.table("repository")
    for key, plugin in zip(CHOICES, (config.repository.cipher, config.repository.chunker), strict=True):
        if not isinstance(table.get(key), Table):
            origin = table.place(key) if key in table else DEFAULT
            yield Shown(f"repository.{key}", _toml(plugin.name), origin)


def _origin(option: str, variable: str) -> str:
    if option:
        return COMMAND_LINE
    return f"environment {variable}" if os.environ.get(variable) else DEFAULT


def _sections(document: Table) -> Iterator[tuple[Table, type[Any] | None]]:
    """The tables that have a schema of their own, in the order of the example file."""
    yield document.only(["plugins"]), TopKeys
    yield from ((table, RemoteKeys) for table in _below(document, "remotes"))
    repository = document.table("repository")
    yield repository.without(CHOICES), RepositoryKeys
    yield from ((repository[key], None) for key in CHOICES if isinstance(repository.get(key), Table))
    for source in _below(document, "sources"):
        yield source.without(["retention"]), SourceKeys
        if "retention" in source:
            yield source.table("retention"), RetentionKeys
    if "retention" in document:
        yield document.table("retention"), RetentionKeys
    yield document.table("check"), CheckSpec
    yield from ((table, NotifierKeys) for table in _below(document, "notifiers"))


def _below(document: Table, key: str) -> Iterator[Table]:
    tables = document.table(key)
    return (tables.table(name) for name in tables)


def _section(table: Table, fields: Sequence[SchemaField]) -> Iterator[Shown]:
    """What the file says, then the defaults of what it does not say."""
    known = {field.key: field for field in fields}
    for key, value in table.items():
        yield from _written(table, key, value, known.get(key))
    for key, field in known.items():
        default = _default(field)
        if key not in table and default is not MISSING:
            yield Shown(dotted((*table.path, key)), _default_text(default, field), DEFAULT)


def _written(table: Table, key: str, value: Any, field: SchemaField | None) -> Iterator[Shown]:
    if _is_secret(key, value, field):
        yield Shown(dotted((*table.path, key)), STARS, table.place(key))
    elif isinstance(value, Table):
        for below, inner in value.items():
            yield from _written(value, below, inner, None)
    else:
        text = _toml(shown_url(value) if key == "url" else value)
        yield Shown(dotted((*table.path, key)), text, table.place(key))


def _is_secret(key: str, value: Any, field: SchemaField | None) -> bool:
    """By its schema; by its form; and by its name, should somebody have written one out."""
    if field is not None and {Secret, SecretSource} & {field.hint, *get_args(field.hint)}:
        return True
    if isinstance(value, Table):
        return len(value) == 1 and next(iter(value)) in WAYS
    return isinstance(value, str) and bool(_SOUNDS_SECRET.search(key))


def _default(field: SchemaField) -> Any:
    factory = field.field.default_factory
    return field.field.default if factory is MISSING else factory()


def _default_text(value: Any, field: SchemaField) -> str:
    if field.field.name.endswith("_s"):
        return _toml("never" if value is None else duration_text(value))
    if field.field.name.endswith("_bytes") and value:
        return _toml(size_text(value))
    return "" if value is None else _toml(value)


def _toml(value: Any) -> str:
    """A value as it would be written in the file."""
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, Table):
        texts = {key: STARS if _is_secret(key, each, None) else _toml(each) for key, each in value.items()}
        return "{ " + ", ".join(f"{key} = {text}" for key, text in texts.items()) + " }"
    if isinstance(value, (str, bool, int, float)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
