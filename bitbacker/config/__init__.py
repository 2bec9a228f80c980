"""bitbacker.toml as frozen values; errors carry file and line.

`find_config` and `read_config` give a `Config`.  `make_config` turns the options of a plugin into an
instance of the plugin's own `Config` class.  `choose_remotes`, `password_source` and `resolve` lead
from what the user said to an open repository.  This is the only floor that reads the environment.
"""

from __future__ import annotations

from bitbacker.config.convert import SchemaField, make_config, schema_fields
from bitbacker.config.given import password_from_outside
from bitbacker.config.places import cache_directory, find_config, state_directory
from bitbacker.config.read import no_config, read_config
from bitbacker.config.remotes import choose_remote, choose_remotes, password_source, shown_url
from bitbacker.config.schema import (
    CheckSpec,
    Config,
    NotifierSpec,
    PluginSpec,
    Remote,
    RepositorySpec,
    RetentionSpec,
    SourceSpec,
)
from bitbacker.config.secrets import SecretSource, resolve
from bitbacker.config.show import Shown, show
from bitbacker.config.table import Table

__all__ = [
    "CheckSpec",
    "Config",
    "NotifierSpec",
    "PluginSpec",
    "Remote",
    "RepositorySpec",
    "RetentionSpec",
    "SchemaField",
    "SecretSource",
    "Shown",
    "SourceSpec",
    "Table",
    "cache_directory",
    "choose_remote",
    "choose_remotes",
    "find_config",
    "make_config",
    "no_config",
    "password_from_outside",
    "password_source",
    "read_config",
    "resolve",
    "schema_fields",
    "show",
    "shown_url",
    "state_directory",
]
