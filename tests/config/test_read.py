"""What the file says becomes values; what is wrong with it is said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.config import CheckSpec, Config, no_config, read_config
from bitbacker.errors import ConfigError
from bitbacker.spi import Located

A_DURATION = "a number of seconds or a duration such as '90s', '12h' or '7d'"
WHAT_NAMES_ARE = "letters, digits, dots, dashes and underscores, please"

WHOLE = """\
plugins = ["./mine.py"]

[remotes.offsite]
url = "sftp://backup@host/srv"
password = { env = "OFFSITE" }
compression = "none"

[remotes.disk]
url = "./repo"
create = true

[repository]
cipher = "chacha20-poly1305"
chunker = { name = "fixed", size_bytes = "1 MiB" }
compression_level = 19

[sources.home]
paths = ["/home"]
tags = ["daily"]

[sources.db]
plugin = "stdin"
host = "db1"
remotes = ["disk"]
name = "dump.sql"
[sources.db.retention]
plugin = "mine"
prune = false
number = 3

[retention]
keep_daily = 7
strict = true

[check]
every = "1d"
read_data_every = "never"

[notifiers.log]
plugin = "log"
"""


def written(directory: Path, text: str) -> str:
    path = directory / "bitbacker.toml"
    path.write_text(text)
    return str(path)


def read(directory: Path, text: str) -> Config:
    return read_config(written(directory, text))


def complaint(directory: Path, text: str) -> str:
    """What is said about a file, without the directory."""
    with pytest.raises(ConfigError) as caught:
        read(directory, text)
    return str(caught.value).replace(f"{directory}/", "")


def test_remotes_have_a_url_a_password_source_and_options_of_their_transport(tmp_path: Path) -> None:
    offsite, disk = read(tmp_path, WHOLE).remotes
    assert (offsite.name, offsite.url, offsite.create) == ("offsite", "sftp://backup@host/srv", False)
    assert offsite.password is not None
    assert (offsite.password.way, offsite.password.arguments) == ("env", ("OFFSITE",))
    assert dict(offsite.options) == {"compression": "none"}
    assert (disk.name, disk.password, disk.create, dict(disk.options)) == ("disk", None, True, {})


def test_a_path_as_url_is_relative_to_the_file(tmp_path: Path) -> None:
    disk = read(tmp_path, WHOLE).remotes[1]
    assert disk.url == (tmp_path / "repo").as_uri()


def test_single_file_plugins_are_relative_to_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, WHOLE)
    assert config.plugins == (str(tmp_path / "mine.py"),)
    assert config.plugins[0].line == 1


def test_a_repository_has_plugins_by_name_or_by_table(tmp_path: Path) -> None:
    repository = read(tmp_path, WHOLE).repository
    assert (repository.cipher.name, dict(repository.cipher.options)) == ("chacha20-poly1305", {})
    assert (repository.chunker.name, dict(repository.chunker.options)) == ("fixed", {"size_bytes": "1 MiB"})
    assert repository.compression_level == 19


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", ("padme", 256 * 1024, False)),
        ('padding = "none"', ("none", 256 * 1024, False)),
        ('floor = "1 MiB"', ("padme", 1024 * 1024, False)),
        ("floor = 0", ("padme", 0, False)),
        ('padding = "padme"\nfloor = 300_000\nstrict = true', ("padme", 300_000, True)),
    ],
)
def test_a_repository_says_what_its_sessions_show(
    tmp_path: Path, lines: str, expected: tuple[str, int, bool]
) -> None:
    repository = read(tmp_path, f"[repository]\n{lines}").repository
    assert (repository.padding, repository.floor_bytes, repository.strict) == expected


def test_a_source_goes_to_all_remotes_unless_it_names_some(tmp_path: Path) -> None:
    home, database = read(tmp_path, WHOLE).sources
    assert home.remotes == ("offsite", "disk")
    assert database.remotes == ("disk",)


def test_a_source_has_the_keys_of_the_framework_and_those_of_its_plugin(tmp_path: Path) -> None:
    home, database = read(tmp_path, WHOLE).sources
    assert (home.plugin.name, home.tags, home.host) == ("files", ("daily",), "")
    assert dict(home.plugin.options) == {"paths": ("/home",)}
    assert (database.plugin.name, database.host) == ("stdin", "db1")
    assert dict(database.plugin.options) == {"name": "dump.sql"}


def test_retention_of_a_source_replaces_the_general_one(tmp_path: Path) -> None:
    home, database = read(tmp_path, WHOLE).sources
    assert home.retention is not None
    assert database.retention is not None
    assert (home.retention.plugin.name, home.retention.prune, home.retention.strict) == ("keep", True, True)
    assert dict(home.retention.plugin.options) == {"keep_daily": 7}
    assert (database.retention.plugin.name, database.retention.prune) == ("mine", False)
    assert not database.retention.strict
    assert dict(database.retention.plugin.options) == {"number": 3}


def test_checks_have_their_frequencies(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE).check == CheckSpec(every_s=86400.0, read_data_every_s=None)


def test_notifiers_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "".join(f'[notifiers.{name}]\nplugin = "log"\n' for name in ("z", "a", "m"))
    assert [notifier.name for notifier in read(tmp_path, text).notifiers] == ["z", "a", "m"]


def test_strings_know_their_line(tmp_path: Path) -> None:
    path = read(tmp_path, WHOLE).sources[0].plugin.options["paths"][0]
    assert isinstance(path, Located)
    assert (path.file, path.line) == (str(tmp_path / "bitbacker.toml"), 18)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    config = read(tmp_path, "")
    assert (config.remotes, config.sources, config.notifiers, config.plugins) == ((), (), (), ())
    assert config.check == CheckSpec(every_s=604800.0, read_data_every_s=None)
    assert (config.repository.cipher.name, config.repository.chunker.name) == ("aes-256-gcm", "gear")
    assert config.repository.compression_level == 3


def test_no_file_is_all_defaults() -> None:
    config = no_config()
    assert (config.file, config.remotes, config.sources) == ("", (), ())


def test_without_retention_nothing_says_what_to_forget(tmp_path: Path) -> None:
    assert read(tmp_path, '[sources.a]\npaths = ["/a"]').sources[0].retention is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "\n[source.home]\n",
            "bitbacker.toml:2: unknown key 'source' in the top level; did you mean 'sources'?",
        ),
        ("[check]\nevry = '1d'", "bitbacker.toml:2: unknown key 'evry' in [check]; did you mean 'every'?"),
        ("[check]\nxyz = 1", "bitbacker.toml:2: unknown key 'xyz' in [check]"),
        ("[check]\nevery = 'soon'", f"bitbacker.toml:2: 'every' in [check] must be {A_DURATION}"),
        ("[check]\nevery = true", "bitbacker.toml:2: 'every' in [check] must be a number"),
        ("check = 3", "bitbacker.toml:1: 'check' in the top level must be a table"),
        ("[remotes]\ndisk = 3", "bitbacker.toml:2: 'disk' in [remotes] must be a table"),
        ("[remotes.a]\n", "bitbacker.toml:1: [remotes.a] lacks 'url'"),
        ("[remotes.a]\nurl = 1", "bitbacker.toml:2: 'url' in [remotes.a] must be a string"),
        ("[remotes.a]\nurl = 'x'\ncreate = 1",
            "bitbacker.toml:3: 'create' in [remotes.a] must be true or false"),
        ("[remotes.'a b']\nurl = 'x'", f"bitbacker.toml:1: 'a b' is no name: {WHAT_NAMES_ARE}"),
        ("[notifiers.a]\n", "bitbacker.toml:1: [notifiers.a] lacks 'plugin'"),
        ("[repository]\ncompression_level = 23",
            "bitbacker.toml:2: [repository]: 'compression_level' must be from 1 to 22"),
        ("[repository]\npadding = false",
            "bitbacker.toml:2: 'padding' in [repository] must be one of 'padme', 'none'"),
        ("[repository]\nfloor = true",
            "bitbacker.toml:2: 'floor' in [repository] must be an integer"),
        ("[repository]\nfloor = -1",
            "bitbacker.toml:2: [repository]: 'floor' must be 0 or more"),
        ("[repository]\nfloor_bytes = 1",
            "bitbacker.toml:2: unknown key 'floor_bytes' in [repository]; did you mean 'floor'?"),
        ("[repository]\nstrict = 1",
            "bitbacker.toml:2: 'strict' in [repository] must be true or false"),
        ("[repository]\n\ncipher = 1",
            "bitbacker.toml:3: 'cipher' in [repository] must be a name, or a table with a 'name'"),
        ("[repository.chunker]\nsize = 1",
            "bitbacker.toml:1: 'chunker' in [repository] must be a name, or a table with a 'name'"),
        ("[sources.a]\ntags = 'x'", "bitbacker.toml:2: 'tags' in [sources.a] must be an array"),
        ("[sources.a]\ntags = [\n'x',\n3]", "bitbacker.toml:4: 'tags' in [sources.a] must be a string"),
        ("[remotes.disk]\nurl = '/a'\n[sources.a]\nremotes = [\n 'disk',\n 'dsik']",
            "bitbacker.toml:6: [sources.a] names an unknown remote 'dsik'; did you mean 'disk'?"),
        ("a = 1\na = 2", "bitbacker.toml:2: cannot overwrite a value"),
        ("\n\n[x", "bitbacker.toml:3: expected ']' at the end of a table declaration"),
        ("x = '\u00fc", "bitbacker.toml:1: expected \"'\""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert complaint(tmp_path, text) == expected


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bitbacker.toml"
    path.write_bytes(b'a = 1\nb = "\xff"\n')
    with pytest.raises(ConfigError, match=r"bitbacker\.toml:2: this is not UTF-8"):
        read_config(str(path))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config(str(tmp_path))
