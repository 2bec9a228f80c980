"""Where the configuration, the cache and the state lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bitbacker.config import cache_directory, find_config, state_directory
from bitbacker.config.places import config_paths
from bitbacker.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is configured."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "xdg" / name.lower()))


def put(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return str(path)


def test_the_order_is_option_variable_directory_user_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = put(tmp_path / "xdg" / "config" / "bitbacker" / "bitbacker.toml")
    assert find_config() == user
    put(tmp_path / "here" / "bitbacker.toml")
    assert find_config() == "bitbacker.toml"
    variable = put(tmp_path / "variable.toml")
    monkeypatch.setenv("BITBACKER_CONFIG", variable)
    assert find_config() == variable
    option = put(tmp_path / "option.toml")
    assert find_config(option) == option
    assert config_paths() == ("bitbacker.toml", user, "/etc/bitbacker/bitbacker.toml")


@pytest.mark.skipif(
    Path("/etc/bitbacker/bitbacker.toml").exists(), reason="this machine has a configuration of its own"
)
def test_no_configuration_is_no_error() -> None:
    assert find_config() == ""


def test_a_named_configuration_that_does_not_exist_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError) as by_option:
        find_config("absent.toml")
    monkeypatch.setenv("BITBACKER_CONFIG", "gone.toml")
    with pytest.raises(ConfigError) as by_variable:
        find_config()
    assert str(by_option.value) == "absent.toml: there is no such file; --config names it"
    assert str(by_variable.value) == "gone.toml: there is no such file; BITBACKER_CONFIG names it"


def test_a_file_in_the_directory_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    """It could name commands and plugins, and it was not named by the user."""
    here = tmp_path / "here" / "bitbacker.toml"
    put(here)
    here.chmod(0o666)
    with pytest.raises(ConfigError, match="other users own this file or may write to it"):
        find_config()
    assert find_config(str(here)) == str(here)
    here.chmod(0o664)
    assert find_config() == "bitbacker.toml"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_in_the_directory_is_refused(tmp_path: Path) -> None:
    here = tmp_path / "here" / "bitbacker.toml"
    put(here)
    os.chown(here, 12345, 12345)
    with pytest.raises(ConfigError, match="other users own this file or may write to it"):
        find_config()
    assert find_config(str(here)) == str(here)


def test_cache_and_state_follow_the_conventions_of_the_system(tmp_path: Path) -> None:
    assert cache_directory() == tmp_path / "xdg" / "cache" / "bitbacker"
    assert state_directory() == tmp_path / "xdg" / "state" / "bitbacker"


def test_variables_move_cache_and_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITBACKER_CACHE_DIR", "~/c")
    monkeypatch.setenv("BITBACKER_STATE_DIR", "s")
    assert cache_directory() == tmp_path / "home" / "c"
    assert state_directory() == tmp_path / "here" / "s"


def test_nothing_is_made(tmp_path: Path) -> None:
    cache_directory(), state_directory(), find_config()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]
