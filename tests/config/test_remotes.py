"""Which remotes a command means, and how they open."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.config import (
    Config,
    SecretSource,
    choose_remote,
    choose_remotes,
    no_config,
    password_source,
    shown_url,
)
from bitbacker.config.read import config_of
from bitbacker.config.table import parse_toml
from bitbacker.errors import UsageError

TEXT = """
[remotes.offsite]
url = "sftp://me:hunter2@host/srv"
password = { env = "OFFSITE" }
[remotes.disk]
url = "file:///srv/backup"
label = "x"
"""


@pytest.fixture
def config() -> Config:
    return config_of(parse_toml(TEXT, "b.toml"))


def refusal(config: Config, *given: str) -> str:
    with pytest.raises(UsageError) as caught:
        choose_remotes(config, given)
    return str(caught.value)


def test_without_a_name_all_remotes_are_meant(config: Config) -> None:
    assert [remote.name for remote in choose_remotes(config)] == ["offsite", "disk"]


def test_names_choose_in_their_order(config: Config) -> None:
    assert [remote.name for remote in choose_remotes(config, ["disk", "offsite"])] == ["disk", "offsite"]


def test_a_remote_that_is_named_twice_is_meant_once(config: Config) -> None:
    assert [remote.name for remote in choose_remotes(config, ["disk", "disk"])] == ["disk"]


def test_the_environment_chooses_and_the_command_line_overrides_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITBACKER_REMOTE", "disk")
    assert [remote.name for remote in choose_remotes(config)] == ["disk"]
    assert [remote.name for remote in choose_remotes(config, ["offsite"])] == ["offsite"]


@pytest.mark.parametrize("url", ["sftp://other/srv", "file:///elsewhere", "memory://x"])
def test_a_url_needs_no_configuration(url: str) -> None:
    remote = choose_remote(no_config(), url)
    assert (remote.name, remote.url, remote.password, dict(remote.options)) == ("", url, None, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("./repo", "{here}/repo"),
        ("../x", "{above}/x"),
        ("/srv/a b", "/srv/a%20b"),
        ("/srv/c?#", "/srv/c%3F%23"),
    ],
)
def test_a_path_is_a_file_url(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = choose_remote(no_config(), text).url
    assert url == "file://" + expected.format(here=tmp_path, above=tmp_path.parent)


def test_the_url_of_a_remote_in_the_file_is_that_remote(config: Config) -> None:
    assert choose_remote(config, "/srv/backup").name == "disk"
    assert choose_remote(config, "file:///srv/backup").name == "disk"


def test_a_name_that_is_not_there_is_guessed(config: Config) -> None:
    assert refusal(config, "dsik") == "no remote is called 'dsik'; did you mean 'disk'?"


def test_no_remote_at_all_is_an_error() -> None:
    assert refusal(no_config()) == "no remote is named"


def test_a_command_for_one_remote_asks_which(config: Config) -> None:
    with pytest.raises(UsageError, match="there are several remotes: offsite, disk"):
        choose_remote(config)


def test_a_password_comes_from_outside_then_from_the_file_then_from_a_prompt(config: Config) -> None:
    offsite, disk = config.remotes
    outside = SecretSource("env", ("BITBACKER_PASSWORD",), "password")
    assert password_source(offsite, outside) is outside
    assert password_source(offsite).arguments == ("OFFSITE",)
    assert (password_source(disk).way, password_source(disk).purpose) == ("prompt", "password of disk")


def test_a_password_in_a_url_is_not_shown() -> None:
    assert shown_url("sftp://me:hunter2@host/srv") == "sftp://me:***@host/srv"
    assert shown_url("sftp://me@host:22/a:b@c") == "sftp://me@host:22/a:b@c"
    asked = password_source(choose_remote(no_config(), "sftp://me:hunter2@host/srv"))
    assert asked.purpose == "password of sftp://me:***@host/srv"
