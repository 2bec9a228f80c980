"""Experiments 19 to 24: sizes, names and bytes of objects, and what a transport is asked for."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bitbacker.errors import StorageError
from bitbacker_plugins.memory import MemoryTransport
from lab import Lab
from leak_lab.ciphertext import common, p_of_even, p_of_random, repeats
from leak_lab.desk import OurDesk, keeping_bytes
from leak_lab.laboratory import Finding, Laboratory
from leak_lab.life import lived, made
from leak_lab.plain_store import PlainDesk, plain_keeping_bytes
from leak_lab.recording import RecordingTransport, View
from leak_lab.statistics_of_views import P_MIN
from leak_lab.trees import plant

CLASSES = frozenset({4 * 1024, 64 * 1024, 256 * 1024, 4 * 1024 * 1024})
HEAD_OF_OBJECT_BYTES = 64


def plain_life(folder: Path, rng: random.Random) -> View:
    """The control's life: some backups."""
    desk = PlainDesk(folder, keep_bytes=True)
    for number in range(4):
        plant(desk.source, {f"{number}/{name}": rng.randbytes(120_000) for name in range(4)})
        desk.back_up()
    view = desk.transport.view()
    desk.close()
    return view


def lives(laboratory: Laboratory, live: Callable[[Path, random.Random], View]) -> list[View]:
    return [live(laboratory.new_folder(), random.Random()) for _ in range(max(1, laboratory.runs // 5))]


def p_twice(measure: Callable[[], float]) -> float:
    """One test in a hundred is off by chance, so a low result is measured again on new data."""
    p = measure()
    return p if p > P_MIN else measure()


def unlikely(p: float, what: str) -> Finding:
    return Finding(leak=p <= P_MIN, text=f"{what} {'not ' if p <= P_MIN else ''}random", p=p)


@pytest.mark.experiment(19)
def test_every_object_has_one_of_four_sizes(laboratory: Laboratory) -> None:
    def sizes(views: Sequence[View]) -> Finding:
        found = {event.size_bytes for view in views for event in view.events if event.operation == "put"}
        found |= {info.size_bytes for view in views for info in view.listing}
        return Finding(leak=not found <= CLASSES, text=f"{len(found)} sizes, {len(found - CLASSES)} others")

    ours, control = lives(laboratory, lived), lives(laboratory, plain_life)
    laboratory.record("sizes of objects", sizes(ours), sizes(control), runs=len(ours))


def random_part(name: str) -> str:
    """What of a name is not the place in the repository: the digits, of segments and the like."""
    return name.partition("/")[2]


def counted_names(views: Sequence[View]) -> list[bytes]:
    """The names of segments, or at the control of everything, in order."""
    puts = dict.fromkeys(event.name for view in views for event in view.events if event.operation == "put")
    return [bytes.fromhex(random_part(name)) for name in puts if len(random_part(name)) == 32]


def p_of_names(views: Sequence[View]) -> float:
    digits = np.frombuffer(b"".join(counted_names(views)), np.uint8)
    return min(1.0, 2 * min(p_of_even(digits >> 4, 16), p_of_even(digits & 15, 16)))


@pytest.mark.experiment(20)
def test_names_of_segments_are_uniform(laboratory: Laboratory) -> None:
    def many(live: Callable[[Path, random.Random], View]) -> float:
        return p_twice(lambda: p_of_names(lives(laboratory, live)))

    def numbered(folder: Path, rng: random.Random) -> View:
        """A store whose names count."""
        view = plain_life(folder, rng)
        for number, event in enumerate(view.events):
            event.name = f"segments/{number:032x}"
        return view

    laboratory.record("names are uniform", unlikely(many(lived), "names"), unlikely(many(numbered), "names"))


@pytest.mark.experiment(20)
def test_no_two_runs_share_a_name(laboratory: Laboratory) -> None:
    def shared(live: Callable[[Path, random.Random], View]) -> Finding:
        seed = secrets.randbits(32)
        seen = [set(counted_names([live(laboratory.new_folder(), random.Random(seed))])) for _ in range(2)]
        return Finding(
            leak=bool(seen[0] & seen[1]), text=f"{len(seen[0] & seen[1])} of {len(seen[0])} shared"
        )

    laboratory.record("names of two runs of one tree", shared(lived), shared(plain_life), runs=2)


@pytest.mark.experiment(21)
def test_bytes_look_random_from_the_first_on(laboratory: Laboratory) -> None:
    def p_of_bytes(live: Callable[[Path, random.Random], View]) -> float:
        objects = [data for view in lives(laboratory, live) for data in view.stored]
        starts = b"".join(data[:HEAD_OF_OBJECT_BYTES] for data in objects)
        first = np.frombuffer(b"".join(data[:1] for data in objects), np.uint8)
        starts_p = p_of_even(np.frombuffer(starts, np.uint8) >> 4, 16)
        each = [len(objects) * p_of_random(data) for data in objects]
        return min(1.0, 3 * min(starts_p, p_of_even(first >> 6, 4), *each))

    ours = p_twice(partial(p_of_bytes, lived))
    control = p_twice(partial(p_of_bytes, plain_life))
    laboratory.record("bytes from offset 0 on", unlikely(ours, "bytes"), unlikely(control, "bytes"))


@pytest.mark.experiment(21)
def test_no_block_repeats_in_a_repository(laboratory: Laboratory) -> None:
    def repeated(live: Callable[[Path, random.Random], View]) -> Finding:
        counts = [repeats(view.stored) for view in lives(laboratory, live)]
        return Finding(leak=any(counts), text=f"{sum(counts)} repeats")

    def in_blocks(folder: Path, rng: random.Random) -> View:
        """A store that encrypts block by block: equal blocks stay equal."""
        view = plain_life(folder, rng)
        for event in view.events:
            event.data += event.data[:16]
        return view

    laboratory.record("no block of 16 bytes repeats", repeated(lived), repeated(in_blocks))


def stored_twice(laboratory: Laboratory, make: Callable[[Path], OurDesk | PlainDesk]) -> Finding:
    """The same tree, backed up into two repositories and twice into the second one."""
    files = {f"{number}": random.Random(number).randbytes(300_000) for number in range(3)}
    views = []
    for _ in range(2):
        desk = make(laboratory.new_folder())
        plant(desk.source, files)
        desk.back_up()
        views.append(desk.transport.view())
        desk.close()
    count = common(views[0].stored, views[1].stored)
    return Finding(leak=count > 0, text=f"{count} windows in common")


@pytest.mark.experiment(22)
def test_two_repositories_of_one_tree_and_one_key_have_nothing_in_common(laboratory: Laboratory) -> None:
    content = Lab(laboratory.new_folder()).content

    def with_one_key(folder: Path) -> OurDesk:
        lab = Lab(folder / "machines", content)
        lab.begin()
        return OurDesk(folder, keep_bytes=True, lab=lab)

    ours, control = stored_twice(laboratory, with_one_key), stored_twice(laboratory, plain_keeping_bytes)
    laboratory.record("one tree, one key, two repositories", ours, control, runs=2)


@pytest.mark.experiment(22)
def test_two_sessions_of_one_tree_have_nothing_in_common(laboratory: Laboratory) -> None:
    def sessions(make: Callable[[Path], OurDesk | PlainDesk]) -> Finding:
        desk = make(laboratory.new_folder())
        plant(desk.source, {"file": random.Random(1).randbytes(100_000)})
        counts = []
        for _ in range(2):
            before = len(desk.transport.events)
            desk.back_up()
            counts.append([event.data for event in desk.transport.events[before:]])
        desk.close()
        count = common(*counts)
        return Finding(leak=count > 0, text=f"{count} windows in common")

    ours, control = sessions(keeping_bytes), sessions(plain_keeping_bytes)
    laboratory.record("one tree, two sessions", ours, control, runs=2)


@pytest.mark.experiment(23)
def test_two_repositories_of_one_password_cannot_be_linked(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_twice(random_bytes: Callable[[], Callable[[int], bytes]]) -> Finding:
        views = []
        for _ in range(2):
            lab = Lab(laboratory.new_folder())
            transport = RecordingTransport(lab.transport, keep_bytes=True)
            with monkeypatch.context() as patch:
                patch.setattr(secrets, "token_bytes", random_bytes())
                made(transport, laboratory.new_folder(), "one password for everything")
            views.append(transport.view())
            MemoryTransport.drop(lab.url)
        count = common(views[0].stored, views[1].stored)
        return Finding(leak=count > 0, text=f"{count} windows in common")

    real = secrets.token_bytes
    ours, control = made_twice(lambda: real), made_twice(lambda: random.Random(0).randbytes)
    laboratory.record("two repositories of one password", ours, control, runs=2)


@pytest.mark.experiment(24)
def test_a_transport_is_asked_for_four_things_only(laboratory: Laboratory) -> None:
    def asked(views: Sequence[View]) -> Finding:
        foreign = sorted({name for view in views for name in view.foreign})
        done = {event.operation for view in views for event in view.events}
        assert done == {"put", "get", "list", "delete"}
        return Finding(leak=bool(foreign), text=f"asked for {', '.join(foreign) or 'nothing else'}")

    def renaming(folder: Path, rng: random.Random) -> View:
        """A client that tries to rename and to read a range."""
        view = lived(folder, rng)
        transport = RecordingTransport(Lab(folder / "lab").transport)
        for name in ("rename", "get_range"):
            with pytest.raises(StorageError, match=name):
                getattr(transport, name)("segments/" + "0" * 32)
        return View(view.events, view.listing, transport.view().foreign)

    ours, control = lives(laboratory, lived), lives(laboratory, renaming)
    laboratory.record("put, get, list, delete and nothing else", asked(ours), asked(control), runs=len(ours))
