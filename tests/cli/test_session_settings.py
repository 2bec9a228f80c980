"""`padding`, `floor` and `strict` of the configuration, and --strict, reach the storage."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from cli.command import Home

KIB = 1024
MIB = KIB * KIB
SOURCE = '[sources.home]\npaths = ["data"]\nhost = "box"\n[check]\nevery = "never"\n'


def configure(home: Home, *lines: str) -> None:
    (home.top / "bitbacker.toml").write_text("\n".join(("[repository]", *lines, SOURCE)))


def segments(home: Home) -> dict[str, int]:
    """Sizes of the stored segments by name."""
    folder = home.repository / "segments"
    return {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def stored_by(home: Home, *arguments: str) -> list[int]:
    """The sizes of the segments that a command stores, sorted."""
    before = segments(home)
    done = home.inside(*arguments)
    assert (done.code, done.err) == (0, "")
    return sorted(size for name, size in segments(home).items() if name not in before)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), [256 * KIB]),
        (('floor = "1 MiB"',), [256 * KIB] * 4),
        (("floor = 300_000",), [256 * KIB] * 2),
        (('padding = "none"', 'floor = "1 MiB"'), [256 * KIB]),
    ],
    ids=repr,
)
def test_a_backup_of_little_stores_what_is_configured(
    home: Home, lines: tuple[str, ...], expected: list[int]
) -> None:
    configure(home, *lines)
    assert stored_by(home, "init", "-q") == []
    heads = len(list((home.repository / "heads").rglob("*")))
    assert stored_by(home, "backup", "-q", "data") == expected
    assert stored_by(home, "run", "-q") == expected
    assert len(list((home.repository / "heads").rglob("*"))) == heads + 2


def test_without_padding_nothing_and_a_little_are_told_apart(backed_up: Home) -> None:
    def stored() -> tuple[list[int], list[int]]:
        nothing = stored_by(backed_up, "backup", "-q", "data")
        (backed_up.data / "new").write_bytes(secrets.token_bytes(400 * KIB))
        return nothing, stored_by(backed_up, "backup", "-q", "data")

    configure(backed_up, 'floor = "1 MiB"')
    nothing, little = stored()
    assert nothing == little
    configure(backed_up, 'floor = "1 MiB"', 'padding = "none"')
    nothing, little = stored()
    assert nothing != little


def segments_read(home: Home, *arguments: str) -> int:
    """How many segments a command reads, as the trace of this machine has it."""

    def so_far() -> int:
        found: list[dict[str, Any]] = [
            json.loads(line) for line in home.inside("leaks", "--json").out.splitlines()
        ]
        return sum(
            message["read_segments"]
            for message in found
            if message["message_type"] == "access" and message["command"] == arguments[0]
        )

    before = so_far()
    done = home.inside(*arguments)
    assert (done.code, done.err) == (0, "")
    return so_far() - before


ATTEMPTS = 8


def ancestors(path: Path) -> list[int]:
    """When the directories above were changed, which a snapshot holds too, and which belong to everybody."""
    return [above.stat().st_ctime_ns for above in path.parents]


COMMANDS = (("backup", "-q", "--no-cache", "--source", "home"), ("run", "-q", "--no-cache"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_strict_backup_without_a_cache_reads_the_same_whatever_changed(
    backed_up: Home, command: tuple[str, ...]
) -> None:
    for number in range(ATTEMPTS):
        configure(backed_up)
        assert backed_up.inside("backup", "-q", "--source", "home").code == 0
        before = ancestors(backed_up.data)
        cheap = segments_read(backed_up, *command)
        by_option = segments_read(backed_up, *command, "--strict")
        configure(backed_up, "strict = true")
        (backed_up.data / f"new{number}").write_bytes(secrets.token_bytes(100 * KIB))
        by_setting = segments_read(backed_up, *command)
        if before == ancestors(backed_up.data):
            assert 0 == cheap
            assert 0 < by_option == by_setting
            return
    pytest.fail(f"somebody else wrote to a directory above, {ATTEMPTS} times")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [("padding", '"none"', "to 256 KiB how much a session needs"), ("strict", "true", "5.7 bytes a file")],
)
def test_config_show_says_what_a_setting_gives_up(home: Home, key: str, value: str, told: str) -> None:
    configure(home)
    assert told not in home.inside("config", "show").out
    configure(home, f"{key} = {value}")
    assert told in home.inside("config", "show").out
    shown = [json.loads(text) for text in home.inside("config", "show", "--json").out.splitlines()]
    assert [one["key"] for one in shown if told in one["gives_up"]] == [f"repository.{key}"]
