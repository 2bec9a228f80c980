"""Experiments 1 to 3, 5 and 6: what files are called, when and whose they are, and how they are arranged."""

from __future__ import annotations

import os
import random

import pytest

from leak_lab.desk import Desk
from leak_lab.laboratory import Laboratory, variants
from leak_lab.trees import TIME_NS, plant

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
