"""Experiments 14 and 15: the command itself on a real directory, searched for words and for clocks."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.command import Home
from leak_lab.laboratory import Finding, Laboratory
from leak_lab.literals import disguises, found_in
from leak_lab.plain_store import PlainDesk
from leak_lab.trees import plant

HOST = "hostname-nobody-knows"
SOURCES = ("payroll-of-the-firm", "letters-to-a-friend")
TAG = "tag-before-the-merger"
FOLDER = "Verträge-2026-geheim"
FILE = "kündigung.entwurf.odt"
EXCLUDED = "never-look-in-here"
CONTENT = "the content of a file, word for word"
WORDS = (HOST, *SOURCES, TAG, FOLDER, FILE, f"{FOLDER}/{FILE}", EXCLUDED, CONTENT)

CONFIGURATION = """
[remotes.there]
url = "{repository}"
password = {{ env = "BITBACKER_PASSWORD" }}
create = true

[sources.{sources[0]}]
host = "{host}"
tags = ["{tag}"]
paths = ["data/{folder}"]
exclude = ["{excluded}"]

[sources.{sources[1]}]
host = "{host}"
paths = ["data"]
exclude = ["/data/{excluded}/*.txt"]
"""


def plant_words(top: Path) -> None:
    files = {f"{FOLDER}/{FILE}": CONTENT, f"{EXCLUDED}/{FILE}": CONTENT, f"{FOLDER}/{EXCLUDED}/x": "x"}
    plant(top, {name: text.encode() for name, text in files.items()})


def names_and_bytes(top: Path) -> Iterator[bytes]:
    for path in sorted(top.rglob("*")):
        yield os.fsencode(path.relative_to(top))
        if path.is_file():
            yield path.read_bytes()


def verdict(found: set[str]) -> Finding:
    return Finding(leak=bool(found), text=f"{len(found)} found" if found else "none found")


@pytest.mark.experiment(14)
def test_no_word_of_the_client_is_in_the_storage(laboratory: Laboratory) -> None:
    home = Home(laboratory.new_folder())
    plant_words(home.data)
    settings = home.top / "bitbacker.toml"
    repository = home.top / "repository"
    settings.write_text(
        CONFIGURATION.format(
            repository=repository, sources=SOURCES, host=HOST, tag=TAG, folder=FOLDER, excluded=EXCLUDED
        )
    )
    for _ in range(2):
        done = home.inside("run", "--config", str(settings), "--quiet")
        assert done.code == 0, done.err
    ours = found_in(WORDS, names_and_bytes(repository))
    assert len([*repository.rglob("*")]) > 6

    desk = PlainDesk(laboratory.new_folder(), keep_bytes=True)
    plant_words(desk.source)
    desk.back_up(host=HOST, sources=SOURCES, tag=TAG, exclude=EXCLUDED)
    control = found_in(
        WORDS, [part for event in desk.transport.events for part in (event.name.encode(), event.data)]
    )
    assert all(any(repr(word) in line for line in control) for word in WORDS if word != f"{FOLDER}/{FILE}")
    laboratory.record(
        "words in names and bytes, plain, coded or hashed", verdict(ours), verdict(control), runs=1
    )


@pytest.mark.parametrize("name", disguises("a-word"))
def test_a_disguised_word_is_found(name: str, rng: random.Random) -> None:
    planted = rng.randbytes(1000) + disguises("a-word")[name] + rng.randbytes(1000)
    assert f"'a-word' as {name}" in found_in(["a-word"], [planted])


WITH_ANOTHER_CLOCK = """
import sys, time
shift_ns = int(sys.argv[1])
real_time, real_time_ns = time.time, time.time_ns
time.time = lambda: real_time() + shift_ns / 10**9
time.time_ns = lambda: real_time_ns() + shift_ns
from bitbacker.cli.main import run
sys.exit(run(sys.argv[2:]))
"""
"""A machine whose clock is wrong, as far as Python asks for the time."""

YEAR_NS = 365 * 24 * 3600 * 10**9


@dataclass(frozen=True)
class Clock:
    """What a client thinks of the time."""

    years_ahead: int
    zone: str


def backed_up_at(clock: Clock, top: Path) -> Path:
    """A repository made by a client with this clock: two sessions; returns its directory."""
    home = Home(top)
    plant(home.data, {"file": random.Random(1).randbytes(50_000)})
    shift = str(clock.years_ahead * YEAR_NS)
    for arguments in (["init", "-q"], ["backup", "-q", "data"], ["backup", "-q", "data"]):
        done = subprocess.run(
            [sys.executable, "-c", WITH_ANOTHER_CLOCK, shift, *arguments],
            cwd=home.top,
            env=home.environment(TZ=clock.zone),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return home.repository


def visible_times(repository: Path, started_s: float) -> set[Path]:
    """Objects whose time is not that of the storage, which has run since `started_s`."""
    stored = [path for path in repository.rglob("*") if path.is_file()]
    return {path for path in stored if not started_s - 2 <= path.stat().st_mtime <= time.time() + 2}


def seen(repository: Path) -> list[tuple[str, int]]:
    """Kinds and sizes of objects; heads have their numbers, too."""
    rows = []
    for path in repository.rglob("*"):
        if path.is_file():
            kind, name = path.parent.name, path.name
            rows.append(
                (
                    f"{kind}/{name}" if kind == "heads" else kind.replace(repository.name, ""),
                    path.stat().st_size,
                )
            )
    return sorted(rows)


@pytest.mark.experiment(15)
def test_the_clock_of_the_client_is_hidden(laboratory: Laboratory) -> None:
    started_s = time.time()
    clocks = [Clock(-27, "America/New_York"), Clock(73, "Asia/Tokyo")]
    clocks += [Clock(0, "UTC")] if laboratory.full else []
    repositories = [backed_up_at(clock, laboratory.new_folder()) for clock in clocks]
    wrong = {path for repository in repositories for path in visible_times(repository, started_s)}
    alike = len({str(seen(repository)) for repository in repositories}) == 1
    ours = Finding(leak=bool(wrong) or not alike, text=f"{len(wrong)} foreign times")

    # The control keeps the client's time with each object, as a program that copies files would.
    for clock, repository in zip(clocks, repositories, strict=True):
        time_s = time.time() + clock.years_ahead * YEAR_NS / 10**9
        for path in repository.rglob("*"):
            os.utime(path, (time_s, time_s))
    told = {path for repository in repositories for path in visible_times(repository, started_s)}
    control = Finding(leak=bool(told), text=f"{len(told)} foreign times")
    laboratory.record("the client's clock and time zone", ours, control, runs=len(clocks))
