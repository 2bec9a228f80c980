"""Experiments 1 to 3, 5 and 6: what files are called, when and whose they are, and how they are arranged."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from leak_lab.desk import Desk
from leak_lab.laboratory import Laboratory, variants
from leak_lab.trees import TIME_NS, plant, set_times

FILES = 200


def some_files(rng: random.Random, count: int = FILES) -> dict[str, bytes]:
    """Small files of random bytes, 100 KiB in all, which is under the floor."""
    return {f"{number:04}": rng.randbytes(100 * 1024 // count) for number in range(count)}


@pytest.mark.experiment(1)
def test_times_of_files_are_hidden(laboratory: Laboratory) -> None:
    def all_alike(desk: Desk, rng: random.Random) -> None:
        plant(desk.source, some_files(rng))
        desk.back_up()

    def all_different(desk: Desk, rng: random.Random) -> None:
        plant(desk.source, some_files(rng))
        for path in desk.source.iterdir():
            time_ns = rng.randrange(2**60)
            os.utime(path, ns=(time_ns, time_ns))
        os.utime(desk.source, ns=(TIME_NS, TIME_NS))
        desk.back_up()

    laboratory.compare("times of files", {"alike": all_alike, "different": all_different})


@pytest.mark.experiment(1)
def test_how_many_files_were_touched_is_hidden(laboratory: Laboratory) -> None:
    def touched(count: int, desk: Desk, rng: random.Random) -> None:
        plant(desk.source, some_files(rng))
        desk.back_up()
        for path in sorted(desk.source.iterdir())[:count]:
            time_ns = rng.randrange(2**60)
            os.utime(path, ns=(time_ns, time_ns))
        os.utime(desk.source, ns=(TIME_NS, TIME_NS))
        desk.back_up()

    laboratory.compare("one file touched, or many", variants(touched, 1, FILES))


def made_name(style: str, number: int, rng: random.Random) -> str:
    """A name that no other number has."""
    if style == "short":
        return chr(0x4E00 + number)
    letters = "abcdefghijklmnop" if style == "long" else "ÄÖÜ€😀ßçñ漢"
    return f"{number:03}" + "".join(rng.choices(letters, k=197 if style == "long" else 40))


@pytest.mark.experiment(2)
@pytest.mark.parametrize("kind", ["files", "directories"])
def test_names_are_hidden(laboratory: Laboratory, kind: str) -> None:
    def named(style: str, desk: Desk, rng: random.Random) -> None:
        inside = "/f" if kind == "directories" else ""
        contents = some_files(rng, 60).values()
        plant(desk.source, {made_name(style, at, rng) + inside: data for at, data in enumerate(contents)})
        desk.back_up()

    laboratory.compare(f"names of {kind}", variants(named, "short", "long", "unicode"))


def decorate(path: Path, rng: random.Random) -> None:
    """A mode, an owner and attributes that nobody else has, as far as this system allows."""
    path.chmod(0o600 | rng.randrange(0o200))
    if os.geteuid() == 0:
        os.chown(path, rng.randrange(1000, 60_000), rng.randrange(1000, 60_000))
    try:
        os.setxattr(path, "user.secret", rng.randbytes(100))
    except OSError as error:
        print(f"attributes do not differ here: {error}")


@pytest.mark.experiment(3)
def test_modes_owners_attributes_and_links_are_hidden(laboratory: Laboratory) -> None:
    def decorated(style: str, desk: Desk, rng: random.Random) -> None:
        plant(desk.source, some_files(rng, 60))
        for number in range(60):
            target = rng.randbytes(100).hex() if style == "rich" else "0000"
            (desk.source / f"link{number}").symlink_to(target)
        if style == "rich":
            for number in range(60):
                decorate(desk.source / f"{number:04}", rng)
        set_times(desk.source)
        desk.back_up()

    title = "modes, owners, attributes and targets of links"
    laboratory.compare(title, variants(decorated, "plain", "rich"))


@pytest.mark.experiment(5)
def test_the_shape_of_directories_is_hidden(laboratory: Laboratory) -> None:
    def arranged(style: str, desk: Desk, rng: random.Random) -> None:
        count = 150
        folders = {"flat": "", "wide": "{0:04}/", "deep": "d/" * count}
        files = some_files(rng, count)
        top = folders[style]
        named = {top.format(number) + name: data for number, (name, data) in enumerate(files.items())}
        if style == "deep":
            named |= {"d/" * number + "f": b"" for number in range(count)}
        plant(desk.source, named)
        desk.back_up()

    laboratory.compare("depth and shape of directories", variants(arranged, "flat", "wide", "deep"))


@pytest.mark.experiment(6)
def test_the_number_of_files_is_hidden(laboratory: Laboratory) -> None:
    def numbered(count: int, desk: Desk, rng: random.Random) -> None:
        plant(desk.source, some_files(rng, count))
        desk.back_up()

    laboratory.compare("how many files", variants(numbered, 1, 10, 800))
