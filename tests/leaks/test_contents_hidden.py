"""Experiments 4, 7, 9 and 10: sizes of files, kinds of content, and where chunks end."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from functools import partial

import pytest

from leak_lab.desk import Desk, MakeDesk, OurDesk
from leak_lab.laboratory import Finding, Laboratory, variants
from leak_lab.plain_store import PlainDesk
from leak_lab.recording import View
from leak_lab.shape import shape
from leak_lab.trees import plant

KIB = 1024
MIB = 1024**2


@pytest.mark.experiment(4)
def test_sizes_of_files_are_hidden(laboratory: Laboratory) -> None:
    def divided(count: int, desk: Desk, rng: random.Random) -> None:
        """1,000 KiB in so many files, and 100 KiB beside them, so that no world is near the next bucket."""
        files = {f"{number:04}": rng.randbytes(1000 * KIB // count) for number in range(count)}
        plant(desk.source, files | {"ballast": rng.randbytes(100 * KIB)})
        desk.back_up()

    laboratory.compare("1,000 KiB in 1, 10 or 1,000 files", variants(divided, 1, 10, 1000))


@pytest.mark.experiment(4)
def test_sizes_of_large_files_are_hidden(laboratory: Laboratory) -> None:
    def divided(count: int, desk: Desk, rng: random.Random) -> None:
        files = {f"{number:04}": rng.randbytes(6000 * KIB // count) for number in range(count)}
        plant(desk.source, files)
        desk.back_up()

    laboratory.compare("6,000 KiB in 1, 6 or 100 files", variants(divided, 1, 6, 100))


def zeros(rng: random.Random) -> bytes:
    del rng
    return bytes(8 * MIB)


def ones(rng: random.Random) -> bytes:
    del rng
    return b"\xff" * (5 * MIB)


def noise(rng: random.Random) -> bytes:
    return rng.randbytes(100 * KIB)


def repeated(rng: random.Random) -> bytes:
    return rng.randbytes(20 * KIB) * 100


def two_symbols(rng: random.Random) -> bytes:
    return bytes(rng.choices(b"ab", k=400 * KIB))


def two_symbols_in_runs(rng: random.Random) -> bytes:
    return b"".join(symbol * rng.randrange(1, 3000) for symbol in [b"\0", b"\1"] * 500)


def filled(content: Callable[[random.Random], bytes], desk: Desk, rng: random.Random) -> None:
    plant(desk.source, {"file": content(rng)})
    desk.back_up()


@pytest.mark.experiment(7)
def test_what_compresses_or_repeats_is_hidden(laboratory: Laboratory) -> None:
    worlds = {content.__name__: partial(filled, content) for content in (noise, zeros, repeated)}
    laboratory.compare("noise, zeros, repeated data", worlds)


@pytest.mark.experiment(10)
def test_runs_and_small_alphabets_are_hidden(laboratory: Laboratory) -> None:
    contents = (noise, ones, two_symbols, two_symbols_in_runs)
    worlds = {content.__name__: partial(filled, content) for content in contents}
    laboratory.compare("noise, constant runs, two symbols", worlds)


def insertions(make: MakeDesk, laboratory: Laboratory, rng: random.Random) -> dict[int, View]:
    """What is seen when one byte is inserted into a file of 50 MiB at each of these offsets."""
    content = rng.randbytes(50 * MIB)
    offsets = [0, 50 * MIB - 1, *(rng.randrange(50 * MIB) for _ in range(10))]
    views = {}
    for offset in offsets:
        desk = make(laboratory.new_folder())
        plant(desk.source, {"file": content})
        desk.back_up()
        plant(desk.source, {"file": content[:offset] + b"!" + content[offset:]})
        desk.back_up()
        views[offset] = desk.transport.view()
        desk.close()
    return views


def by_volume(views: list[View], bucket_bytes: int) -> Finding:
    """Whether sessions that uploaded as much look different; a volume is allowed to be seen."""
    shapes: dict[int, set[Hashable]] = {}
    for view in views:
        shapes.setdefault(view.put_bytes // bucket_bytes, set()).add(shape(view.events))
    most = max(len(found) for found in shapes.values())
    text = f"{most} shapes of one volume, {len(shapes)} volumes among {len(views)} offsets"
    return Finding(leak=most > 1, text=text)


@pytest.mark.experiment(9)
def test_where_a_byte_was_inserted_is_hidden(laboratory: Laboratory) -> None:
    ours: list[View] = []
    control: list[View] = []
    for _ in range(max(1, laboratory.runs // 10)):
        rng = random.Random()
        ours += insertions(OurDesk, laboratory, rng).values()
        control += insertions(PlainDesk, laboratory, rng).values()
    laboratory.record(
        "offset of a byte inserted into 50 MiB",
        by_volume(ours, 256 * KIB),
        by_volume(control, 256 * KIB),
        runs=len(ours),
    )
