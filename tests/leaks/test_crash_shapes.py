"""Experiment 18: a client that dies at any upload and goes on leaves nothing behind that tells more."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from bitbacker.testing.faults import Crash, CrashingTransport
from lab import back_up
from leak_lab.ciphertext import repeats
from leak_lab.desk import OurDesk
from leak_lab.laboratory import Finding, Laboratory
from leak_lab.plain_store import PlainDesk
from leak_lab.recording import View
from leak_lab.trees import plant

Mode = Literal["before", "after"]
Crashed = Callable[[Path, int, Mode], tuple[View, bool]]

CLASSES = frozenset({4 * 1024, 64 * 1024, 256 * 1024, 4 * 1024 * 1024})


def files() -> dict[str, bytes]:
    rng = random.Random(18)
    return {f"{number}": rng.randbytes(130_000) for number in range(3)}


def ours(folder: Path, at: int, mode: Mode) -> tuple[View, bool]:
    """What was seen of a backup that died at mutating operation `at`, and of the next; did it die?"""
    desk = OurDesk(folder, keep_bytes=True)
    plant(desk.source, files())
    dying = CrashingTransport(desk.transport, at, mode)
    with suppress(Crash):
        back_up(desk.lab.client(transport=dying), desk.source)
    desk.back_up()
    view = desk.transport.view()
    desk.close()
    return view, dying.crashed


def plain(folder: Path, at: int, mode: Mode) -> tuple[View, bool]:
    """The same of the control."""
    desk = PlainDesk(folder, keep_bytes=True)
    plant(desk.source, files())
    dying = CrashingTransport(desk.transport, at, mode)
    desk.restart(dying)
    with suppress(Crash):
        desk.back_up()
    desk.restart(desk.transport)
    desk.back_up()
    view = desk.transport.view()
    desk.close()
    return view, dying.crashed


def resumed(
    laboratory: Laboratory, crashed: Crashed, mode: Mode, step: int = 1
) -> tuple[list[View], Finding]:
    """Die at every operation, one after the other."""
    views: list[View] = []
    at = 1
    while True:
        view, died = crashed(laboratory.new_folder(), at, mode)
        if not died:
            break
        views.append(view)
        at += step
    sizes = {event.size_bytes for view in views for event in view.events if event.operation == "put"}
    repeated = sum(repeats(view.stored) for view in views)
    text = f"{len(sizes - CLASSES)} other sizes, {repeated} repeats, after {len(views)} crashes"
    return views, Finding(leak=bool(sizes - CLASSES or repeated), text=text)


@pytest.mark.experiment(18)
@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_crash_and_going_on_repeat_no_ciphertext(laboratory: Laboratory, mode: Mode) -> None:
    views, found = resumed(laboratory, ours, mode)
    assert len(views) >= 3
    _, control = resumed(laboratory, plain, mode, step=1 if laboratory.full else 5)
    laboratory.record(f"a crash {mode} each upload, and going on", found, control, runs=len(views))
