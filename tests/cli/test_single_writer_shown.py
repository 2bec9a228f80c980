"""Every command that writes to a repository of a single writer says that nobody else may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command import Home, plant

WARNING = (
    "this repository is for a single writer: its storage cannot decide between two, "
    "so never let two machines write at once"
)
LINE = f"bitbacker: warning: {WARNING}\n"
UNDECIDED = """
from bitbacker.errors import NotExclusive
from bitbacker.spi import NoConfig, hookimpl
from bitbacker_plugins.local import LocalTransport


class Undecided(LocalTransport):
    def __init__(self, url, config):
        super().__init__(url.replace("undecided:", "file:", 1), config)

    def put(self, name, data, *, replace=False):
        if not replace:
            raise NotExclusive("the storage cannot decide which of two writers came first")
        super().put(name, data, replace=True)


@hookimpl
def bitbacker_transport(name):
    return Undecided if name == "undecided" else None
"""


def undecided(home: Home, *lines: str) -> None:
    """Keep the repository on a storage that can only overwrite."""
    (home.top / "undecided.py").write_text(UNDECIDED)
    url = home.repository.as_uri().replace("file:", "undecided:")
    text = (
        'plugins = ["./undecided.py"]',
        "[remotes.here]",
        f'url = "{url}"',
        *lines,
        '[sources.home]\npaths = ["data"]',
    )
    (home.top / "bitbacker.toml").write_text("\n".join(text))


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("single"))
    plant(made.data)
    assert made.inside("init", "--single-writer", "-q").err == LINE
    return made


@pytest.fixture
def single(_made: Home, tmp_path: Path) -> Home:
    return _made.copy(tmp_path / "single")


def test_every_command_that_writes_warns_once(single: Home) -> None:
    for arguments in (
        ["backup", "-q", "data"],
        ["backup", "data"],
        ["forget", "--keep-last", "1", "--yes", "--prune"],
        ["prune", "--yes"],
        ["key", "add", "--recovery-code"],
        ["key", "remove", "1", "--yes"],
    ):
        done = single.inside(*arguments)
        assert (done.code, done.err) == (0, LINE), arguments


def test_who_only_looks_is_not_warned(single: Home) -> None:
    assert single.inside("backup", "data").code == 0
    for arguments in (
        ["backup", "--dry-run", "data"],
        ["snapshots"],
        ["restore", "latest", "--target", "out"],
        ["forget", "--keep-last", "1", "--dry-run"],
        ["prune", "--dry-run"],
        ["key", "list"],
        ["check"],
    ):
        done = single.inside(*arguments)
        assert (done.code, done.err) == (0, ""), arguments


def test_a_warning_in_json_is_an_object_on_standard_error(single: Home) -> None:
    done = single.inside("backup", "data", "--json")
    assert [json.loads(line) for line in done.err.splitlines()] == [
        {"message_type": "warning", "message": WARNING}
    ]


def test_control_other_repositories_warn_of_nothing(backed_up: Home) -> None:
    for arguments in (["backup", "data"], ["prune", "--yes"], ["key", "add", "--recovery-code"]):
        assert backed_up.inside(*arguments).err == ""


def test_a_storage_that_cannot_decide_is_refused_with_the_way_out(home: Home) -> None:
    undecided(home)
    done = home.inside("init", "-r", "here")
    assert done.code == 20
    assert "init --single-writer" in done.err
    assert not home.repository.exists()
    assert home.inside("init", "-r", "here", "--single-writer").err == LINE
    assert home.inside("backup", "-r", "here", "-q", "data").code == 0


def test_run_makes_one_where_the_configuration_says_so(home: Home) -> None:
    undecided(home, "create = true", "single_writer = true")
    for command in (["run"], ["run"]):
        done = home.inside(*command, "-r", "here")
        assert (done.code, done.err) == (0, f"bitbacker: warning: here: {WARNING}\n")
    assert home.inside("run", "-r", "here", "--dry-run").err == ""


def test_run_without_that_is_refused(home: Home) -> None:
    undecided(home, "create = true")
    done = home.inside("run", "-r", "here")
    assert done.code == 20
    assert "init --single-writer" in done.err


def test_the_configuration_speaks_for_init_too(home: Home) -> None:
    undecided(home, "single_writer = true")
    done = home.inside("init", "-r", "here", "--json")
    assert json.loads(done.out)["single_writer"] is True
    assert json.loads(done.err)["message"] == WARNING


def test_one_that_exists_stays_what_it_was_made_as(single: Home, backed_up: Home) -> None:
    url = f'[remotes.here]\nurl = "{single.repository}"\nsingle_writer = false\n'
    (single.top / "bitbacker.toml").write_text(url)
    assert single.inside("backup", "-r", "here", "data").err == LINE
    url = f'[remotes.here]\nurl = "{backed_up.repository}"\nsingle_writer = true\n'
    (backed_up.top / "bitbacker.toml").write_text(url)
    assert backed_up.inside("backup", "-r", "here", "data").err == ""
