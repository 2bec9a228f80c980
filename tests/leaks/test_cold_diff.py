"""Experiments 25, 26 and 27: what a session fetches, with a cache and with nothing but the key."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

from bitbacker.format import names
from bitbacker.repo import tips
from bitbacker.repo.tables import TableReader
from leak_lab.desk import Desk, OurDesk
from leak_lab.laboratory import Finding, Laboratory, Views, World, same_shapes, variants
from leak_lab.paper_tree import FILES_PER_DIRECTORY, PaperDesk, PaperTree
from leak_lab.recording import Event, View
from leak_lab.shape import shape
from leak_lab.trees import plant

DOWN_MAX_BYTES = 70 * 1024
DESIGN_CHANGES = 1_900
SESSION = "a session begins"
FEW, MANY = 200, 10_000
"""Directories of the tree on paper: 20,000 files in the fast part, 1,000,000 in the laboratory."""


def last_session(view: View) -> tuple[Event, ...]:
    """From the first look at the heads after the last head but one was stored."""
    stored = [
        at
        for at, event in enumerate(view.events)
        if event.name.startswith("heads/") and event.operation == "put"
    ]
    # What follows the head of the session before, besides its own last look.
    return view.events[stored[-2] + 2 :]


def requests(view: View) -> Hashable:
    """The shape of the last session."""
    return shape(last_session(view))


def fetched_bytes(view: View) -> int:
    return sum(event.size_bytes for event in last_session(view) if event.operation == "get")


def session_of(directories: int) -> Callable[[int, Desk, random.Random], None]:
    """A first backup, then one by a machine that has nothing but the key, after so many changes."""

    def world(changes: int, desk: Desk, rng: random.Random) -> None:
        del rng
        assert isinstance(desk, PaperDesk)
        desk.back_up_paper(PaperTree(directories))
        result = desk.back_up_paper(PaperTree(directories, changes), "cold")
        assert changes == result.snapshot.stats.files_changed

    return world


class CrampedDesk(PaperDesk):
    """The leaky variant: a sketch so small that changes send the client up the ladder."""

    def back_up_paper(self, *arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tips, "PART_CELLS", 13)
            return super().back_up_paper(*arguments, **options)


@pytest.mark.experiment(25)
def test_a_cold_diff_asks_for_the_head_only_however_much_changed(laboratory: Laboratory) -> None:
    directories = MANY if laboratory.full else FEW
    worlds = variants(session_of(directories), 0, 1, DESIGN_CHANGES)
    runs = 2 if laboratory.full else 1
    views = laboratory.observe(worlds, PaperDesk, runs)
    if same_shapes(views, requests).leak:
        # One sketch in 500 does not decode at the design load; two in a row are no accident.
        views = laboratory.observe(worlds, PaperDesk, runs)
    every = [view for world in views.values() for view in world]
    fetched = {
        (event.operation, event.name.partition("/")[0]) for view in every for event in last_session(view)
    }
    assert fetched == {("list", "heads"), ("get", "heads"), ("put", "segments"), ("put", "heads")}
    down = max(map(fetched_bytes, every)) + names.KEYSLOTS_SIZE_BYTES
    print(f"{directories * 101} entries: {down} bytes fetched, keyslots included")
    assert down <= DOWN_MAX_BYTES
    control = laboratory.observe(variants(session_of(FEW), 0, DESIGN_CHANGES), CrampedDesk, 1)
    laboratory.record(
        f"cold diff of {directories * 101:,} entries, 0, 1 and 1,900 changes, {down:,} bytes down",
        same_shapes(views, requests),
        same_shapes(control, requests),
        runs=runs,
    )


def two_sessions(directories: int, *, strict: bool) -> World:
    """Two machines that have nothing but the key find nothing changed, and then half of everything.

    Both go on from one first backup, because chance says in which segments its tables lie.
    """

    def world(desk: Desk, rng: random.Random) -> None:
        del rng
        assert isinstance(desk, PaperDesk)
        desk.back_up_paper(PaperTree(directories))
        for changes in (0, directories * FILES_PER_DIRECTORY // 2):
            desk.transport.events.append(Event("list", SESSION))
            result = desk.back_up_paper(PaperTree(directories, changes), f"cold {changes}", strict=strict)
            assert changes == result.snapshot.stats.files_changed

    return world


def downloads_differ(view: View) -> Finding:
    """Whether the downloads of the two sessions behind the marks `SESSION` differ."""
    marks = [at for at, event in enumerate(view.events) if event.name == SESSION]
    sessions = view.events[marks[0] : marks[1]], view.events[marks[1] :]
    first, second = ([event for event in session if event.operation == "get"] for session in sessions)
    # The first reads the head of the base, the second that of the first.
    shapes = [sorted((event.name, event.size_bytes) for event in gets[1:]) for gets in (first, second)]
    assert first[0].name.startswith("heads/")
    text = f"{len(first)} and {len(second)} downloads, {sum(event.size_bytes for event in first):,} bytes"
    return Finding(leak=shapes[0] != shapes[1] or len(first) != len(second), text=text)


@pytest.mark.experiment(26)
def test_a_strict_cold_diff_asks_the_same_however_much_changed(laboratory: Laboratory) -> None:
    directories = MANY if laboratory.full else FEW
    view = laboratory.run(two_sessions(directories, strict=True), PaperDesk, 0)
    control = laboratory.run(two_sessions(FEW, strict=False), PaperDesk, 0)
    laboratory.record(
        f"strict cold diff of {directories * 101:,} entries, 0 and {directories * 50:,} changes",
        downloads_differ(view),
        downloads_differ(control),
        runs=1,
    )


def unchanged_session(machine: str) -> World:
    """A second session of a machine, or of one that was never there, with nothing changed."""

    def world(desk: Desk, rng: random.Random) -> None:
        assert isinstance(desk, OurDesk)
        plant(desk.source, {f"{number}": rng.randbytes(5_000) for number in range(40)})
        desk.back_up()
        desk.back_up(machine=machine)

    return world


class ReadingDesk(OurDesk):
    """The leaky variant: who has no cache reads the tables of the last snapshot."""

    def back_up(self, *paths: Path, machine: str = "one", **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TableReader, "cached", lambda *_: True)
            return super().back_up(*paths, machine=machine, **options)


@pytest.mark.experiment(27)
def test_an_unchanged_session_is_one_read_and_the_floor_with_a_cache_or_without(
    laboratory: Laboratory,
) -> None:
    worlds = {"warm": unchanged_session("one"), "cold": unchanged_session("two")}
    views = laboratory.observe(worlds, OurDesk)
    small, head = names.SMALL_SEGMENT_SIZE_BYTES, names.HEAD_SIZE_BYTES
    for view in views["warm"]:
        steps = [(step.operation, step.kind, step.size_bytes) for step in shape(last_session(view))]
        assert steps[:3] == [("list", "heads/", 1), ("get", "heads/", head), ("put", "segments/", small)]
        assert steps[3:6] == [("list", "heads/", 1), ("put", "heads/", head), ("list", "heads/", 1)]
        assert [] == steps[6:]
    control: Views = laboratory.observe(worlds, ReadingDesk, 1)
    laboratory.record(
        "an unchanged session, warm and cold", same_shapes(views, requests), same_shapes(control, requests)
    )
    assert Finding(leak=False, text="identical") == same_shapes(views, requests)
