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
from leak_lab.shape import shape, without_read_numbers
from leak_lab.trees import plant

KIB = 1024
MIB = 1024**2


@pytest.mark.experiment(4)
def test_sizes_of_files_are_hidden(laboratory: Laboratory) -> None:
    def divided(count: int, desk: Desk, rng: random.Random) -> None:
        files = {f"{number:04}": rng.randbytes(1000 * KIB // count) for number in range(count)}
        plant(desk.source, files)
        desk.back_up()

    laboratory.compare("1,000 KiB in 1, 10 or 1,000 files", variants(divided, 1, 10, 1000))


@pytest.mark.experiment(4)
def test_sizes_of_large_files_are_hidden(laboratory: Laboratory) -> None:
    def divided(count: int, desk: Desk, rng: random.Random) -> None:
        files = {f"{number:04}": rng.randbytes(5520 * KIB // count) for number in range(count)}
        plant(desk.source, files)
        desk.back_up()

    laboratory.compare("5,520 KiB in 1, 6 or 100 files", variants(divided, 1, 6, 100))


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


def insertions(make: MakeDesk, laboratory: Laboratory) -> list[View]:
    """What is seen when one byte is inserted into a large file, at offsets that differ from view to view."""
    rng = random.Random()
    size = 50 * MIB if laboratory.full else 8 * MIB
    content = rng.randbytes(size)
    views = []
    for offset in [0, size - 1, *(rng.randrange(size) for _ in range(10))]:
        desk = make(laboratory.new_folder())
        plant(desk.source, {"file": content})
        desk.back_up()
        plant(desk.source, {"file": content[:offset] + b"!" + content[offset:]})
        desk.back_up()
        views.append(desk.transport.view())
        desk.close()
    return views


def by_volume(views: list[View]) -> Finding:
    """Whether what uploaded as much looks different; the volume of each session is allowed to be seen."""
    shapes: dict[tuple[int, ...], set[Hashable]] = {}
    for view in views:
        volumes = tuple(volume // (256 * KIB) for volume in view.volumes_bytes)
        shapes.setdefault(volumes, set()).add(without_read_numbers(shape(view.events)))
    most = max(len(found) for found in shapes.values())
    text = f"{most} shapes of one volume, {len(shapes)} volumes among {len(views)} offsets"
    return Finding(leak=most > 1, text=text)


@pytest.mark.experiment(9)
def test_where_a_byte_was_inserted_is_hidden(laboratory: Laboratory) -> None:
    times = 2 if laboratory.full else 1
    ours = [view for _ in range(times) for view in insertions(OurDesk, laboratory)]
    control = [view for _ in range(times) for view in insertions(PlainDesk, laboratory)]
    laboratory.record(
        f"offset of a byte inserted into {50 if laboratory.full else 8} MiB",
        by_volume(ours),
        by_volume(control),
        runs=len(ours),
    )
