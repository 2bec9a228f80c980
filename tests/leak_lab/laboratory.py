"""Runs worlds at desks, judges what the storage saw, and keeps the results for the report."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from leak_lab.desk import Desk, MakeDesk, OurDesk
from leak_lab.plain_store import PlainDesk
from leak_lab.recording import View
from leak_lab.shape import Shape, difference, shape
from leak_lab.statistics_of_views import P_MIN, p_of_categories

DISTRIBUTION_RUNS_MIN = 12
CONTROL_RUNS_MAX = 2

World = Callable[[Desk, random.Random], None]
"""Prepares a source and runs sessions at a desk.

In one run every world gets random numbers of the same seed, so that worlds differ in the secret only;
each run has a new seed, and the client's own random numbers are nobody's business.
"""

Views = Mapping[str, Sequence[View]]
Look = Callable[[View], Hashable]


@dataclass(frozen=True, slots=True)
class Finding:
    """What an experiment found: whether the worlds can be told apart, and how that shows."""

    leak: bool
    text: str
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the report."""

    number: int
    title: str
    runs: int
    ours: Finding
    control: Finding


def variants(world: Callable[[Any, Desk, random.Random], None], *values: Any) -> dict[str, World]:
    """One world for each value, which it gets as its first argument."""
    return {f"{value}": partial(world, value) for value in values}


def look_at_shape(view: View) -> Shape:
    """What most experiments compare: the whole sequence of operations with sizes."""
    return shape(view.events)


def same_shapes(views: Views, look: Look = look_at_shape) -> Finding:
    """Run by run, every world must look exactly like the first one."""
    first, *others = views
    kinds = {look(view) for world in views.values() for view in world}
    for other in others:
        for run, (one, two) in enumerate(zip(views[first], views[other], strict=True)):
            left, right = look(one), look(two)
            if left != right:
                return Finding(leak=True, text=f"{first} / {other}, run {run}: {_difference(left, right)}")
    return Finding(leak=False, text="identical" if len(kinds) == 1 else f"identical, {len(kinds)} shapes")


def same_distribution(views: Views, look: Look = look_at_shape) -> Finding:
    """Where choices are random: the worlds look alike up to chance; the worst pair counts."""
    pairs = [*itertools.combinations(views, 2)]
    worst = 1.0
    for one, two in pairs:
        worst = min(worst, p_of_categories([*map(look, views[one])], [*map(look, views[two])]))
    p = min(1.0, worst * len(pairs))
    return Finding(leak=p <= P_MIN, text="equal in distribution" if p > P_MIN else "tells apart", p=p)


def _difference(left: Hashable, right: Hashable) -> str:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return difference(left, right)
    return f"{left} against {right}"


@dataclass
class Laboratory:
    """What a test gets as the fixture `laboratory`; `number` is that of its mark `experiment`."""

    number: int
    folder: Path
    runs: int
    results: list[Result]
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))

    @property
    def full(self) -> bool:
        """Whether there is time for what statistics need."""
        return self.runs >= 20

    def new_folder(self) -> Path:
        """A folder that is not there yet; its path is as long as that of any other."""
        return self.folder / f"{next(self._numbers)}"

    def run(self, world: World, make: MakeDesk, seed: int) -> View:
        """One world once."""
        desk = make(self.new_folder())
        try:
            world(desk, random.Random(seed))
            return desk.transport.view()
        finally:
            desk.close()

    def observe(self, worlds: Mapping[str, World], make: MakeDesk, runs: int | None = None) -> Views:
        """Every world in every run."""
        views: dict[str, list[View]] = {name: [] for name in worlds}
        for _ in range(runs or self.runs):
            seed = secrets.randbits(32)
            for name, world in worlds.items():
                views[name].append(self.run(world, make, seed))
        return views

    def compare(
        self,
        title: str,
        worlds: Mapping[str, World],
        *,
        ours: MakeDesk = OurDesk,
        control: MakeDesk = PlainDesk,
        look: Look = look_at_shape,
        judge: Callable[[Views, Look], Finding] = same_shapes,
    ) -> None:
        """The usual experiment: no difference with us, but one at the control.

        The control must be quiet about one world seen twice, so that what it shows is the secret.
        """
        runs = max(self.runs, DISTRIBUTION_RUNS_MIN) if judge is same_distribution else self.runs
        mine = judge(self.observe(worlds, ours, runs), look)
        control_runs = runs if judge is same_distribution else min(runs, CONTROL_RUNS_MAX)
        leaky = judge(self.observe(worlds, control, control_runs), look)
        first = next(iter(worlds.values()))
        quiet = judge(self.observe({"once": first, "twice": first}, control, control_runs), look)
        assert not quiet.leak, f"the control shows more than the secret: {quiet.text}"
        self.record(title, mine, leaky, runs=runs)

    def record(self, title: str, ours: Finding, control: Finding, *, runs: int | None = None) -> None:
        """Keep a result for the report, then fail when we leak or when the control does not."""
        self.results.append(Result(self.number, title, runs or self.runs, ours, control))
        name = f"experiment {self.number}, {title}"
        print(f"{name}: ours {ours}, control {control}")
        assert not ours.leak, f"{name}: {ours.text} (p = {ours.p})"
        assert control.leak, f"{name}: the control's leak was not seen: {control.text}"
