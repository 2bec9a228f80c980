"""`--json`: every line is an object of a documented type, whatever the names of files are."""

from __future__ import annotations

import base64
import json
import os
import re
from collections import defaultdict
from typing import Any

import pytest

from cli.command import Home
from cli.reference import TOP

PAGE = (TOP / "docs/reference/json.md").read_text()
Fields = dict[str, set[str]]
BASE64 = "_base64"
SOMETIMES = {"link_target", "recovery_code"}


def documented(*sections: str) -> Fields:
    """The fields of each message type under these headings."""
    found: Fields = defaultdict(set)
    for section in sections:
        text = re.split(r"^## ", PAGE.partition(f"\n## {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        for kind, field in re.findall(r"^\| (\w+) \| (\w+) \|", text, re.MULTILINE):
            found[kind].add(field)
    found.pop("message_type", None)
    assert found, sections
    return found


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def assert_documented(section: str, messages: list[dict[str, Any]]) -> None:
    """Every message has the fields of its type, all of them and no others."""
    assert messages
    known = {**documented("Progress"), **documented(section)}
    for message in messages:
        got = {name for name in message if not name.endswith(BASE64)} - {"message_type"}
        assert got - SOMETIMES == known[message["message_type"]] - SOMETIMES


def test_every_command_writes_what_is_documented(home: Home) -> None:
    (home.data / b"caf\xe9 \x1b[31m".decode("utf-8", "surrogateescape")).write_text("latin-1\n")
    scenes: list[tuple[str, list[str]]] = [
        ("init", ["init"]),
        ("backup", ["backup", "data"]),
        ("snapshots", ["snapshots"]),
        ("ls", ["ls", "latest"]),
        ("restore", ["restore", "latest", "--target", "out", "--dry-run"]),
        ("restore", ["restore", "latest", "--target", "out"]),
        ("forget", ["forget", "--keep-last", "1", "--dry-run"]),
        ("forget", ["forget", "latest", "--yes"]),
        ("prune", ["prune", "--yes"]),
        ("check", ["check"]),
        ("stats", ["stats"]),
        ("witness", ["witness"]),
        ("leaks", ["leaks", "--plot", "leaks.png"]),
        ("key", ["key", "add", "--recovery-code"]),
        ("key", ["key", "list"]),
        ("key", ["key", "remove", "1", "--yes"]),
        ("plugins", ["plugins"]),
    ]
    for section, arguments in scenes:
        done = home.inside(*arguments, "--json")
        assert (done.code, done.err) == (0, ""), arguments
        assert_documented(section, lines(done.out))
        if section == "ls":
            assert_paths_are_exact(home, lines(done.out))


def assert_paths_are_exact(home: Home, messages: list[dict[str, Any]]) -> None:
    """`path_base64` where it is there, else `path`: together they are what the disk has."""
    told = {
        base64.b64decode(message["path_base64"]) if "path_base64" in message else message["path"].encode()
        for message in messages
        if message["kind"] == "file"
    }
    there = {
        os.path.join(directory, name)
        for directory, _, files in os.walk(os.fsencode(home.data))
        for name in files
        if not os.path.islink(os.path.join(directory, name))
    }
    assert {b"/" + path for path in told} == there
    assert any("path_base64" in message for message in messages)


def test_a_configuration_in_json(home: Home) -> None:
    (home.top / "bitbacker.toml").write_text(
        '[remotes.here]\nurl = "here"\npassword = { env = "BITBACKER_PASSWORD" }\ncreate = true\n'
        '[sources.home]\npaths = ["data"]\n'
    )
    for section, arguments in (
        ("config", ["config", "check"]),
        ("config", ["config", "show"]),
        ("explain", ["explain", "data/big"]),
        ("run", ["run"]),
    ):
        done = home.inside(*arguments, "-r", "here", "--json")
        assert (done.code, done.err) == (0, ""), arguments
        assert_documented(section, lines(done.out))


@pytest.mark.parametrize(
    "arguments", [["--json", "snapshots"], ["snapshots", "--json"], ["snapshot", "--json"]], ids=" ".join
)
def test_an_error_is_an_object_on_standard_error(home: Home, arguments: list[str]) -> None:
    done = home.inside(*arguments)
    assert done.out == ""
    (message,) = lines(done.err)
    assert set(message) - {"message_type"} == documented("Errors and warnings")["error"]
    assert (message["message_type"], message["exit_code"]) == ("error", done.code)


def test_an_undocumented_field_is_found() -> None:
    with pytest.raises(AssertionError):
        assert_documented("stats", [{"message_type": "stats", "snapshots": 1}])
