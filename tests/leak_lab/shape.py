"""The shape of a view: operations, canonical names and sizes, without contents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leak_lab.recording import Event


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One operation; `number` is that of the object within its kind, by first appearance."""

    operation: str
    kind: str
    number: int
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.operation} {self.kind}{self.number} {self.size_bytes}"


Shape = tuple[Step, ...]


def shape(events: Iterable[Event]) -> Shape:
    """Names as (kind, number): a head's number counts from the first head seen, others as they appear."""
    numbers: dict[str, dict[str, int]] = {}
    first_head: list[int] = []
    steps = []
    for event in events:
        kind, slash, rest = event.name.partition("/")
        if not rest:
            steps.append(Step(event.operation, kind + slash, 0, event.size_bytes))
            continue
        if kind == "heads":
            first_head = first_head or [int(rest, 16)]
            number = first_head[0] - int(rest, 16)
        else:
            known = numbers.setdefault(kind, {})
            number = known.setdefault(rest, len(known))
        steps.append(Step(event.operation, kind + slash, number, event.size_bytes))
    return tuple(steps)


def multiset(steps: Shape) -> Shape:
    """The shape without order and without numbers, sorted."""
    return tuple(sorted(Step(step.operation, step.kind, 0, step.size_bytes) for step in steps))


def without_read_numbers(steps: Shape) -> Shape:
    """The shape without which segments were read: in an uploaded session chance says where a table lies."""
    return tuple(
        Step(step.operation, step.kind, -1, step.size_bytes)
        if (step.operation, step.kind) == ("get", "segments/")
        else step
        for step in steps
    )


def read_numbers(steps: Shape) -> tuple[int, ...]:
    """Which segments were read, in order."""
    return tuple(step.number for step in steps if (step.operation, step.kind) == ("get", "segments/"))


def difference(one: Shape, other: Shape) -> str:
    """The first place where two shapes part, for people."""
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return f"step {number}: {left} against {right}"
    return f"{len(one)} steps against {len(other)}"
