"""docs/configuration.md names every key and variable, with the defaults that hold."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest

from bitbacker.config import given, places, remotes
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
from bitbacker.config.secrets import WAYS
from bitbacker.config.table import parse_toml
from bitbacker.config.units import duration_text, size_text
from bitbacker_plugins.keep import KeepConfig
from bitbacker_plugins.log import LogConfig

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()

CHAPTERS: dict[str, list[type[Any]]] = {
    "## plugins": [TopKeys],
    "## [remotes.NAME]": [RemoteKeys],
    "## [repository]": [RepositoryKeys],
    "## [sources.NAME]": [SourceKeys],
    "## [retention]": [RetentionKeys, KeepConfig],
    "## [check]": [CheckSpec],
    "## [notifiers.NAME]": [NotifierKeys, LogConfig],
}
IN_WORDS = {"remotes": "all", "password": "a prompt", "host": "this machine's name"}


def chapter(heading: str) -> str:
    return TEXT.split(f"{heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> dict[str, str]:
    """The documented defaults by key."""
    found = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|([^|]*)\|", chapter(heading), re.MULTILINE)
    return {key: default.strip(" `") for keys, default in found for key in re.findall(r"\w+", keys)}


@pytest.mark.parametrize("heading", [heading for heading in CHAPTERS if heading != "## plugins"])
def test_every_key_is_documented_with_its_default(heading: str) -> None:
    fields = [field for schema in CHAPTERS[heading] for field in schema_fields(schema)]
    assert {field.key: written(field.key, field.field) for field in fields}.items() <= rows(heading).items()


def written(key: str, field: Any) -> str:
    """A default as the document writes it."""
    if key in IN_WORDS or field.default is MISSING:
        return IN_WORDS.get(key, "")
    if field.name.endswith("_s"):
        return json.dumps(duration_text(field.default) if field.default else "never")
    if field.name.endswith("_bytes"):
        return json.dumps(size_text(field.default))
    return json.dumps(field.default)


def test_every_chapter_of_the_file_is_documented() -> None:
    headings = {re.sub(r"[^a-z]", "", heading.removesuffix(".NAME]")) for heading in CHAPTERS}
    assert headings == {*TABLES, "plugins"}


def test_every_kind_of_secret_is_documented() -> None:
    assert re.findall(r"^\| `\{ (\w+) = ", chapter("## Secrets"), re.MULTILINE) == list(WAYS)


def test_every_variable_is_documented() -> None:
    names = {places.CONFIG_VARIABLE, places.CACHE_VARIABLE, places.STATE_VARIABLE}
    names |= {given.PASSWORD_VARIABLE, remotes.REMOTE_VARIABLE}
    assert set(re.findall(r"^\| `(\w+)`", chapter("## Environment"), re.MULTILINE)) == names


def test_the_examples_are_valid() -> None:
    examples = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert examples != []
    for example in examples:
        config_of(parse_toml(example, "example"))
