"""Every value with its origin, and no secret among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bitbacker.config import Shown, no_config, password_from_outside, show
from bitbacker.config.read import config_of
from bitbacker.config.table import parse_toml
from bitbacker.spi import Secret, secret

TEXT = """\
plugins = ["./a.py"]
[remotes.offsite]
url = "sftp://me:hunter2@host/srv"
password = { command = ["echo", "hunter2"] }
login = { env = "LOGIN" }
[repository]
chunker = { name = "fixed", size_bytes = 7 }
[sources.home]
paths = ["/a", "/b"]
api_token = "hunter2"
[sources.home.retention]
keep_last = 3
[retention]
keep_daily = 7
[check]
every = "1d"
[notifiers."m.ail"]
plugin = "mail"
"""


@dataclass(frozen=True, slots=True)
class MailConfig:
    to: str
    port: int = 25
    timeout_s: float = 90.0
    login: Secret | None = secret()  # noqa: RUF009  # it makes a field


def shown(text: str = TEXT) -> dict[str, Shown]:
    config = config_of(parse_toml(text, "b.toml"))
    rows = list(show(config, schemas={'[notifiers."m.ail"]': MailConfig}))
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row for row in rows}


@pytest.mark.parametrize(
    ("key", "value", "origin"),
    [
        ("plugins", '["./a.py"]', "b.toml:1"),
        ("remotes.offsite.url", '"sftp://me:***@host/srv"', "b.toml:3"),
        ("remotes.offsite.password", "***", "b.toml:4"),
        ("remotes.offsite.login", "***", "b.toml:5"),
        ("remotes.offsite.create", "false", "default"),
        ("repository.cipher", '"aes-256-gcm"', "default"),
        ("repository.chunker.name", '"fixed"', "b.toml:7"),
        ("repository.chunker.size_bytes", "7", "b.toml:7"),
        ("repository.compression_level", "3", "default"),
        ("repository.padding", '"padme"', "default"),
        ("repository.floor", '"256 KiB"', "default"),
        ("repository.strict", "false", "default"),
        ("sources.home.paths", '["/a", "/b"]', "b.toml:9"),
        ("sources.home.api_token", "***", "b.toml:10"),
        ("sources.home.plugin", '"files"', "default"),
        ("sources.home.retention.keep_last", "3", "b.toml:12"),
        ("retention.keep_daily", "7", "b.toml:14"),
        ("retention.prune", "true", "default"),
        ("retention.strict", "false", "default"),
        ("check.every", '"1d"', "b.toml:16"),
        ("check.read_data_every", '"never"', "default"),
        ('notifiers."m.ail".plugin', '"mail"', "b.toml:18"),
        ('notifiers."m.ail".port', "25", "default"),
        ('notifiers."m.ail".timeout_s', '"90s"', "default"),
    ],
)
def test_a_value_has_its_origin(key: str, value: str, origin: str) -> None:
    row = shown()[key]
    assert (row.key, row.value, row.origin) == (key, value, origin)


def given_up(lines: str) -> dict[str, str]:
    rows = shown(f"[repository]\n{lines}").items()
    return {key.removeprefix("repository."): row.gives_up for key, row in rows if row.gives_up}


def test_the_settings_of_sessions_say_what_they_give_up() -> None:
    assert set(given_up("")) == {"padding", "floor", "strict"}


@pytest.mark.parametrize(
    ("lines", "key", "text"),
    [
        ("", "padding", "stores up to 3.1 % more"),
        ('padding = "none"', "padding", "can tell 'nothing changed' from 'a little changed'"),
        ("", "floor", "stores 256 KiB and a head, 225 MiB in a month"),
        ("floor = 0", "floor", "stores 256 KiB and a head, 225 MiB in a month"),
        ('floor = "1 MiB"', "floor", "stores 1 MiB and a head, 765 MiB in a month"),
        ("floor = 1_048_577", "floor", "stores 1280 KiB and a head, 945 MiB in a month"),
        ('padding = "none"\nfloor = "1 MiB"', "floor", "does not count"),
        ("", "strict", "shows roughly how much changed"),
        ("strict = true", "strict", "fetches the list, about 5.7 bytes a file, and the index"),
    ],
)
def test_what_is_given_up_depends_on_the_setting(lines: str, key: str, text: str) -> None:
    assert text in given_up(lines)[key]


def test_no_secret_is_shown() -> None:
    assert [row for row in shown().values() if "hunter2" in row.value] == []
    assert "hunter2" in TEXT


def test_without_a_file_the_defaults_are_shown() -> None:
    rows = {row.key: row.origin for row in show(no_config())}
    assert set(rows.values()) == {"default"}
    assert {"check.every", "repository.cipher", "repository.chunker", "cache_dir", "state_dir"} <= set(rows)


def test_options_and_variables_are_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(parse_toml("", "b.toml"))
    monkeypatch.setenv("BITBACKER_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("BITBACKER_REMOTE", "disk")
    monkeypatch.setenv("BITBACKER_CONFIG", "b.toml")
    monkeypatch.setenv("BITBACKER_PASSWORD", "hunter2")
    rows = list(show(config, password=password_from_outside()))
    assert rows[:4] == [
        Shown("config", '"b.toml"', "environment BITBACKER_CONFIG"),
        Shown("remote", '"disk"', "environment BITBACKER_REMOTE"),
        Shown("password", "***", "environment BITBACKER_PASSWORD"),
        Shown("cache_dir", f'"{tmp_path}"', "environment BITBACKER_CACHE_DIR"),
    ]


def test_the_command_line_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(parse_toml("", "b.toml"))
    monkeypatch.setenv("BITBACKER_REMOTE", "disk")
    password = password_from_outside(password_file="secret")
    rows = list(show(config, config_option="b.toml", remote_option="/srv", password=password))
    assert rows[:3] == [
        Shown("config", '"b.toml"', "command line"),
        Shown("remote", '"/srv"', "command line"),
        Shown("password", "***", "command line"),
    ]
