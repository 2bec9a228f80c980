"""The transport `sftp`: what a URL names, and what options may say."""

from __future__ import annotations

import pytest

from bitbacker.errors import ConfigError
from bitbacker.spi import Located
from bitbacker_plugins.sftp import SftpTransport
from bitbacker_plugins.sftp.config import SftpConfig
from bitbacker_plugins.sftp.place import Place, place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("sftp://host/srv/backup", Place("host", "/srv/backup")),
        ("sftp://me@host/srv/backup/", Place("host", "/srv/backup", "me")),
        ("sftp://me@host:2222//srv//backup", Place("host", "/srv/backup", "me", 2222)),
        ("sftp://host/~/backup", Place("host", "backup")),
        ("sftp://host/~/a//b/", Place("host", "a/b")),
        ("sftp://host/~", Place("host", ".")),
        ("sftp://host/~someone/backup", Place("host", "/~someone/backup")),
        ("sftp://[::1]/srv", Place("::1", "/srv")),
        ("sftp://me@[2001:db8::1]:22/srv", Place("2001:db8::1", "/srv", "me", 22)),
        ("sftp://[fe80::1%25eth0]/srv", Place("fe80::1%eth0", "/srv")),
        ("sftp://127.0.0.1/srv", Place("127.0.0.1", "/srv")),
        ("sftp://DOM%5Cme@host/srv", Place("host", "/srv", "DOM\\me")),
        ("sftp://host/my%20disk", Place("host", "/my disk")),
        ("sftp://host/my disk", Place("host", "/my disk")),
        ("sftp://host/a%23b%3F50%25", Place("host", "/a#b?50%")),
        ("sftp://host/%E4", Place("host", "/\udce4")),
    ],
)
def test_a_url_names_a_place(url: str, place: Place) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "sftp://",
        "sftp://host",
        "sftp://host/",
        "sftp://host//",
        "sftp:///srv/backup",
        "sftp://@host/srv",
        "sftp://host:/srv",
        "sftp://host:port/srv",
        "sftp://::1/srv",
        "sftp://[::1/srv",
        "sftp://me@you@host/srv",
        "sftp:host/srv",
        "host:/srv",
        "ssh://host/srv",
        "",
        "sftp://host/a%00b",
    ],
)
def test_a_url_that_names_no_place_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match="sftp://user@host/srv/backup"):
        place_of(url)


@pytest.mark.parametrize("url", ["sftp://host/what?", "sftp://host/a#b", "sftp://host/100%"])
def test_a_url_with_a_sign_that_is_not_encoded_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match="%3F"):
        place_of(url)


@pytest.mark.parametrize("url", ["sftp://host:0/srv", "sftp://host:65536/srv"])
def test_a_port_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="port"):
        place_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "sftp://-oProxyCommand=evil/srv",
        "sftp://-oProxyCommand=evil@host/srv",
        "sftp://a%0AProxyCommand%20evil/srv",
        "sftp://me%0AProxyCommand%20evil@host/srv",
        "sftp://h*st/srv",
        "sftp://$(evil)/srv",
        "sftp://me;evil@host/srv",
        "sftp://`evil`@host/srv",
    ],
)
def test_a_name_that_a_shell_or_a_configuration_would_obey_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        place_of(url)


@pytest.mark.parametrize("url", ["sftp://me:hunter2@host/srv", "sftp://me:@host/srv"])
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="password") as caught:
        place_of(url)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_an_error_says_where_the_url_stands() -> None:
    with pytest.raises(ConfigError, match=r"^bitbacker\.toml:7: "):
        SftpTransport(Located("sftp://host", "bitbacker.toml", 7), SftpConfig())


@pytest.mark.parametrize("options", [{"connections": 0}, {"connections": 65}, {"timeout_s": 0.0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SftpConfig(**options)  # type: ignore[arg-type]  # the wrong types are right otherwise
