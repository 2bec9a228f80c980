"""Experiments 28 to 30: what is read, looked at and forgotten does not show."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from bitbacker.app.access import Connection
from bitbacker.app.ls import list_entries
from bitbacker.app.restore import RestoreRequest, plan, restore, unseen
from bitbacker.app.select import Filter, list_snapshots
from bitbacker.engine.observe import SilentObserver
from bitbacker.repo.check import check
from bitbacker.repo.forget import forget
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.spi import Abilities
from bitbacker.testing.faults import WrappedTransport
from compare_trees import differences
from leak_lab.desk import Desk, OurDesk
from leak_lab.laboratory import Laboratory, World, same_shapes
from leak_lab.plain_store import PlainDesk
from leak_lab.recording import View
from leak_lab.trees import plant

KIB = 1024
OBSERVER = SilentObserver()


class OneAtATime(WrappedTransport):
    """A storage that is asked one thing at a time, so that the order of threads is not in the view."""

    @property
    def abilities(self) -> Abilities:
        return replace(self.inner.abilities, concurrency=1)


class ReadingDesk(OurDesk):
    """Ours, with sources of several names, and readers that have no cache."""

    oblivious: ClassVar[bool] = True
    strict: ClassVar[bool] = True

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.transport.inner = OneAtATime(self.transport.inner)

    def reader(self) -> Connection:
        """A machine that was not there before."""
        return cast("Connection", SimpleNamespace(repository=self.client("reader")))

    def store(self, name: str, content: bytes) -> Path:
        """A session of a source of its own with one file."""
        plant(self.source / name, {"file": content, "letters/one": content[:100]})
        self.back_up(self.source / name, source=name)
        return self.source / name

    def restore(self, number: int, *paths: str) -> Path:
        """Restore of snapshot `number`; nothing else is in the view."""
        connection = self.reader()
        self.transport.events.clear()
        if self.oblivious:
            connection = _with_repository(connection)
        found = list_snapshots(connection, Filter())[number]
        request = RestoreRequest(self.folder / "target", [str(self.source / path) for path in paths])
        restore(connection, found, request, plan(connection, found, request), OBSERVER)
        return request.target

    def prune_without(self, number: int) -> None:
        """Forget snapshot `number` and prune."""
        client = self.client("pruner")
        forget(client, [client.catalog(client.newest()).snapshots[number].identity])
        # The ordinary prune copies nothing here, because what it copies depends on chance, too.
        options = PruneOptions(strict=self.strict, live_part_min=0)
        result = execute_prune(client, plan_prune(client, options), options)
        assert result.deleted_segments
        unrecorded = self.lab.client("reader", self.transport.inner)
        assert () == check(unrecorded, read_data=True).problems


def _with_repository(connection: Connection) -> Connection:
    """`unseen` makes a new `Connection`, which needs nothing but a repository here."""
    plain = Connection(cast("Any", None), cast("Any", None), connection.repository, cast("Any", None))
    return unseen(plain, OBSERVER)


class OrdinaryDesk(ReadingDesk):
    """The control: restores fetch what they need, prunes go where there is something to free."""

    oblivious = False
    strict = False


def reading(act: Callable[[ReadingDesk, random.Random], object], desk: Desk, rng: random.Random) -> None:
    """A world of a reading desk."""
    assert isinstance(desk, ReadingDesk)
    act(desk, rng)


def worlds_of(**acts: Callable[[ReadingDesk, random.Random], object]) -> dict[str, World]:
    return {name: partial(reading, act) for name, act in acts.items()}


def three_sessions(desk: ReadingDesk, rng: random.Random) -> None:
    for name in ("a", "b", "c"):
        desk.store(name, rng.randbytes(100 * KIB))


def restored(number: int, *paths: str) -> Callable[[ReadingDesk, random.Random], object]:
    def act(desk: ReadingDesk, rng: random.Random) -> None:
        three_sessions(desk, rng)
        target = desk.restore(number, *paths)
        if not paths:
            source = desk.source / "abc"[number]
            assert [] == differences(source, target / source.relative_to("/"))

    return act


@pytest.mark.experiment(28)
def test_which_snapshot_is_restored_is_hidden(laboratory: Laboratory) -> None:
    worlds = worlds_of(first=restored(0), second=restored(1), newest=restored(2))
    laboratory.compare("restore of one snapshot or another", worlds, ours=ReadingDesk, control=OrdinaryDesk)


@pytest.mark.experiment(28)
def test_which_files_are_restored_is_hidden(laboratory: Laboratory) -> None:
    worlds = worlds_of(
        everything=restored(1),
        directory=restored(1, "b/letters"),
        first_file=restored(0, "a/file"),
        other_file=restored(2, "c/file"),
    )
    laboratory.compare("restore of all, of some or of others", worlds, ours=ReadingDesk, control=OrdinaryDesk)


@pytest.mark.experiment(28)
def test_which_large_snapshot_is_restored_is_hidden(laboratory: Laboratory) -> None:
    def large(number: int) -> Callable[[ReadingDesk, random.Random], object]:
        def act(desk: ReadingDesk, rng: random.Random) -> None:
            for name, size in (("a", 300), ("b", 9000), ("c", 4900)):
                desk.store(name, rng.randbytes(size * KIB))
            desk.restore(number)

        return act

    # Sizes lie in the middle of a bucket.  Chance decides when a segment of which size is read;
    # both passes have the same order.
    worlds = worlds_of(small=large(0), large=large(1), middle=large(2))
    laboratory.compare(
        "restore of a small or a large snapshot",
        worlds,
        ours=ReadingDesk,
        control=OrdinaryDesk,
        look=look_at_passes,
    )


def look_at_passes(view: View) -> Hashable:
    """Everything but segments in order; of the segments how many there are, and whether passes are equal."""
    got = [event for event in view.events if event.name.startswith("segments/") and event.operation == "get"]
    half = len(got) // 2
    names = [event.name for event in got]
    others = tuple((event.operation, event.size_bytes) for event in view.events if event not in got)
    return others, tuple(sorted(event.size_bytes for event in got)), names[:half] == names[half:]


class LookingDesk(ReadingDesk):
    """Ours, looked at."""

    def look_around(self) -> None:
        for act in (self._check, self._list_snapshots, self._list_entries):
            act(self.reader())

    def _check(self, connection: Connection) -> None:
        assert () == check(connection.repository, read_data=False).problems

    def _list_snapshots(self, connection: Connection) -> None:
        list_snapshots(connection, Filter())

    def _list_entries(self, connection: Connection) -> None:
        for snapshot in list_snapshots(connection, Filter()):
            list(list_entries(connection, snapshot))


class PlainLookingDesk(PlainDesk):
    """The leaky program, looked at: its listings have the sizes that they have."""

    def look_around(self) -> None:
        for info in self.transport.list("snapshots/"):
            self.transport.get(info.name)


@pytest.mark.experiment(29)
def test_check_snapshots_and_ls_show_public_counts_only(laboratory: Laboratory) -> None:
    def world(names: Callable[[int], str], count: int, desk: Desk, rng: random.Random) -> None:
        for _ in range(3):
            plant(desk.source, {names(number): rng.randbytes(90 * KIB // count) for number in range(count)})
            desk.back_up()
        assert isinstance(desk, (LookingDesk, PlainLookingDesk))
        desk.look_around()

    worlds: dict[str, World] = {
        "one file": partial(world, str, 1),
        "many files": partial(world, str, 300),
        "long names": partial(world, lambda number: f"{number:0200}", 100),
        "deep": partial(world, lambda number: "/".join(f"{number:09}") + "/end", 30),
    }
    laboratory.compare(
        "check, snapshots and ls of different trees", worlds, ours=LookingDesk, control=PlainLookingDesk
    )


def look_by_age(view: View) -> tuple[tuple[str, str, int, int], ...]:
    """Every operation with the session that its segment came from.

    What chance orders is sorted: segments that are read or deleted in a row.
    """
    born: dict[str, int] = {}
    session = 0
    steps = []
    for event in view.events:
        if event.operation == "put":
            born[event.name] = session
            session += event.name.startswith("heads/")
        steps.append((event.operation, event.name.split("/")[0], born.get(event.name, -1), event.size_bytes))
    runs = groupby(steps, key=lambda step: step[:2])
    return tuple(step for kind, run in runs for step in (run if kind[0] == "put" else sorted(run)))


def forgotten(number: int, size_kib: int) -> Callable[[ReadingDesk, random.Random], object]:
    def act(desk: ReadingDesk, rng: random.Random) -> None:
        for name in ("a", "b", "c", "d"):
            desk.store(name, rng.randbytes(size_kib * KIB))
        desk.prune_without(number)

    return act


@pytest.mark.experiment(30)
def test_which_snapshot_was_forgotten_is_hidden(laboratory: Laboratory) -> None:
    worlds = worlds_of(oldest=forgotten(0, 100), other=forgotten(2, 100), newest=forgotten(3, 100))
    laboratory.compare(
        "strict prune after forgetting one or another",
        worlds,
        ours=ReadingDesk,
        control=OrdinaryDesk,
        look=look_by_age,
    )


def look_at_reads_and_deletes(view: View) -> Hashable:
    """The same without what is stored: chance decides how well blocks fill several large segments."""
    return tuple(step for step in look_by_age(view) if step[:2] != ("put", "segments"))


def look_at_most_deleted(view: View) -> Hashable:
    """From which session most was deleted."""
    puts = {event.name: event.size_bytes for event in view.events if event.operation == "put"}
    sessions = [name for name in puts if name.startswith("heads/")]
    born = dict(zip(puts, accumulate(name in sessions for name in puts), strict=True))
    gone = Counter[int]()
    for event in view.events:
        if event.operation == "delete" and event.name in puts:
            gone[born[event.name]] += puts[event.name]
    return gone.most_common(1)[0][0]


@pytest.mark.experiment(30)
def test_which_large_snapshot_was_forgotten_is_hidden(laboratory: Laboratory) -> None:
    worlds = worlds_of(oldest=forgotten(0, 4900), other=forgotten(2, 4900), newest=forgotten(3, 4900))
    ours = same_shapes(laboratory.observe(worlds, ReadingDesk), look_at_reads_and_deletes)
    control = same_shapes(laboratory.observe(worlds, OrdinaryDesk, 1), look_at_most_deleted)
    laboratory.record("strict prune after forgetting one or another large snapshot", ours, control)
