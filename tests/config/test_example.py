"""bitbacker.toml.example holds every key there is, and works as it is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bitbacker.config import Config, make_config, read_config
from bitbacker.config.convert import schema_fields
from bitbacker.config.read import (
    TABLES,
    NotifierKeys,
    RemoteKeys,
    RepositoryKeys,
    RetentionKeys,
    SourceKeys,
    TopKeys,
    config_of,
)
from bitbacker.config.schema import CheckSpec
from bitbacker.config.table import Table, parse_toml
from bitbacker_plugins.files import FilesConfig
from bitbacker_plugins.gear import GearConfig
from bitbacker_plugins.keep import KeepConfig
from bitbacker_plugins.log import LogConfig

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "bitbacker.toml.example"

SECTIONS: dict[tuple[str, ...], list[type[Any]]] = {
    (): [TopKeys],
    ("remotes", "demo"): [RemoteKeys],
    ("repository",): [RepositoryKeys],
    ("repository", "chunker"): [GearConfig],
    ("sources", "checkout"): [SourceKeys, FilesConfig],
    ("retention",): [RetentionKeys, KeepConfig],
    ("check",): [CheckSpec],
    ("notifiers", "log"): [NotifierKeys, LogConfig],
}


def uncommented() -> str:
    """The example with every key in use: a line that starts with `#` and a key is one."""
    return re.sub(r"^#(?=[a-z_]+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE)


@pytest.fixture(params=["as it is", "with every key in use"])
def config(request: pytest.FixtureRequest) -> Config:
    text = EXAMPLE.read_text() if request.param == "as it is" else uncommented()
    return config_of(parse_toml(text, str(EXAMPLE)))


def section(document: Table, path: tuple[str, ...]) -> Table:
    for key in path:
        document = document.table(key)
    return document


@pytest.mark.parametrize("path", SECTIONS, ids=".".join)
def test_every_key_is_in_the_example(path: tuple[str, ...]) -> None:
    document = parse_toml(uncommented(), str(EXAMPLE))
    expected = {field.key for schema in SECTIONS[path] for field in schema_fields(schema)}
    assert expected - set(section(document, path)) == set()


def test_every_table_is_in_the_example() -> None:
    document = parse_toml(EXAMPLE.read_text(), str(EXAMPLE))
    assert set(TABLES) - set(document) == set()
    assert {name for path in SECTIONS for name in path[:1]} == set(TABLES)


def test_some_keys_are_commented_out() -> None:
    """The control: without the uncommenting, keys would be missing."""
    assert uncommented().count("\n#") < EXAMPLE.read_text().count("\n#")


def test_it_reads_without_error(config: Config) -> None:
    assert [remote.name for remote in config.remotes] == ["demo"]
    assert [source.name for source in config.sources] == ["checkout"]


def test_its_plugins_take_what_it_says(config: Config) -> None:
    source = config.sources[0]
    assert source.retention is not None
    made = [
        make_config(FilesConfig, source.plugin.options),
        make_config(KeepConfig, source.retention.plugin.options),
        make_config(GearConfig, config.repository.chunker.options),
        make_config(LogConfig, config.notifiers[0].plugin.options),
    ]
    assert [len(fields(one)) > 0 for one in made] == [True] * 4


def test_it_backs_up_the_directory_in_which_it_lies() -> None:
    config = read_config(str(EXAMPLE))
    options = make_config(FilesConfig, config.sources[0].plugin.options)
    assert options.paths == (str(ROOT),)
    assert {".git", ".venv", ".demo"} <= set(options.exclude)


def test_it_writes_below_demo_only() -> None:
    config = read_config(str(EXAMPLE))
    remote = config.remotes[0]
    assert remote.url == (ROOT / ".demo" / "repository").as_uri()
    assert remote.create
    assert remote.password is not None
    assert remote.password.arguments == (str(ROOT / ".demo" / "password"),)
    assert make_config(LogConfig, config.notifiers[0].plugin.options).file == str(ROOT / ".demo" / "log")


def test_what_it_says_of_chunks_and_hosts_is_the_default() -> None:
    """Its values are those that hold without them, where a comment does not say otherwise."""
    config = read_config(str(EXAMPLE))
    assert make_config(GearConfig, config.repository.chunker.options) == GearConfig()
    assert config.repository.compression_level == RepositoryKeys().compression_level
