"""The rules by which a repository is changed, as a world small enough to search completely.

One chunk, segments that may hold it, writers whose snapshots need it, pruners that copy it elsewhere and
delete segments, or those that another one has condemned, forgetters; storages that keep what is to be
deleted; heads that anyone may trim once there is a newer one; writes of heads that the
network delivers late or twice.  `explore` visits every interleaving of their steps.

What must hold in every state: a snapshot that was acknowledged and not forgotten is in the newest head, and
every segment which that head lists as live is present.

The real code is held against the same rules by the tests of the repository; this model shows that the rules
themselves are right, and that none of them can go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

Numbers = frozenset[int]
NOTHING: Numbers = frozenset()
NONE = -1


class Rule(str, Enum):
    """What a client does so that nothing is lost."""

    EXCLUSIVE = "a head is created only if no head has its number"
    POST_CHECK = "a commit counts only if the newest head, read again, holds it"
    CONDEMNED = "nobody relies on a segment that the newest head condemns"
    PRESENCE = "a writer sees that its own segments are still there before it commits"
    COMMIT_FIRST = "a pruner deletes only after the head that condemns is committed"
    CARRY_CONDEMNED = "the head lists what is being deleted"
    STILL_NEWEST = "what a head condemns goes without another commit only while that head is the newest one"
    KEEP_CONDEMNED = "it lists that until it is gone, and a storage may keep it for a while"


class Kind(str, Enum):
    """What an actor is there for."""

    WRITER = "writer"
    PRUNER = "pruner"
    FORGETTER = "forgetter"


class Stage(str, Enum):
    """What an actor does next."""

    READ = "read the newest head"
    PLAN = "plan"
    PUT = "put the head"
    CHECK = "check the newest head"
    LOOK_AGAIN = "see that the head is still the newest one"
    DELETE = "delete"
    READ_AGAIN = "read the newest head to drop what is deleted from it"
    TIDY = "put the head without what is deleted"
    DONE = "done"


class Head(NamedTuple):
    """What a head says: segments that hold the chunk, segments being deleted, snapshots."""

    live: Numbers
    condemned: Numbers
    snapshots: Numbers


class Actor(NamedTuple):
    """One client: `base` is the head it has read, `plan` the head that it wants to put next."""

    kind: Kind
    tries: int
    stage: Stage = Stage.READ
    base: int = 0
    plan: Head | None = None
    segment: int = NONE
    """The segment that a writer uploaded."""
    victims: Numbers = NOTHING
    """What goes: the segments that a pruner deletes, the snapshot that a forgetter drops."""


class World(NamedTuple):
    """The storage, the network, every actor, and what has been promised to users."""

    actors: tuple[Actor, ...]
    heads: tuple[tuple[int, Head], ...] = ((0, Head(NOTHING, NOTHING, NOTHING)),)
    present: Numbers = NOTHING
    late: frozenset[tuple[int, Head]] = frozenset()
    acknowledged: Numbers = NOTHING
    forgotten: Numbers = NOTHING
    uploads: int = 0

    def head(self, number: int) -> Head | None:
        return next((head for own, head in self.heads if own == number), None)

    def create_head(self, number: int, head: Head, rules: Collection[Rule]) -> World | None:
        """The world with this head, or None when the storage refuses it."""
        heads = dict(self.heads)
        if number in heads and Rule.EXCLUSIVE in rules:
            return None
        return self._replace(heads=tuple(sorted({**heads, number: head}.items())))

    def upload(self) -> World:
        """The world with one more segment, whose number is the count of uploads before."""
        return self._replace(present=self.present | {self.uploads}, uploads=self.uploads + 1)


class Turn(NamedTuple):
    """One actor about to move."""

    world: World
    number: int
    rules: Collection[Rule]

    @property
    def actor(self) -> Actor:
        return self.world.actors[self.number]

    def then(self, actor: Actor, world: World | None = None) -> World:
        """The given world, or the present one, with this actor in its new state."""
        world = world or self.world
        before, after = world.actors[: self.number], world.actors[self.number + 1 :]
        return world._replace(actors=(*before, actor, *after))

    def start_again(self, *, lost: int = 1) -> World:
        """Back to reading, one attempt poorer."""
        actor = self.actor
        tries = actor.tries - lost
        return self.then(actor._replace(stage=Stage.READ, tries=tries, plan=None, victims=NOTHING))

    def put(self, stage: Stage) -> World:
        """Create the planned head and go on to `stage`, or start again when the number is taken."""
        actor = self.actor
        assert actor.plan is not None
        world = self.world.create_head(actor.base + 1, actor.plan, self.rules)
        if world is None:
            return self.start_again()
        return self.then(actor._replace(stage=stage, plan=None), world)


# Uploads that nothing forces stop here, or the world would have no end.
UPLOADS_OF_CHOICE = 5


def successors(world: World, rules: Collection[Rule]) -> Iterator[World]:
    """Every world that one step of anybody leads to."""
    for number, head in world.late:
        delivered = world._replace(late=world.late - {(number, head)})
        yield delivered.create_head(number, head, rules) or delivered
    if len(world.heads) > 1:
        yield world._replace(heads=world.heads[1:])
    for number, actor in enumerate(world.actors):
        if actor.tries and actor.stage is not Stage.DONE:
            yield from MOVES[actor.kind, actor.stage](Turn(world, number, rules))


def read(turn: Turn) -> Iterator[World]:
    newest, _ = turn.world.heads[-1]
    yield turn.then(turn.actor._replace(stage=Stage.PLAN, base=newest))


def plan_snapshot(turn: Turn) -> Iterator[World]:
    """Commit with a segment that can be relied on, or upload one; uploading is always allowed."""
    world, actor = turn.world, turn.actor
    base = world.head(actor.base)
    if base is None:
        yield turn.start_again(lost=0)
        return
    shunned = base.condemned if Rule.CONDEMNED in turn.rules else NOTHING
    there = actor.segment in world.present or Rule.PRESENCE not in turn.rules
    own = {actor.segment} - shunned - {NONE} if there else NOTHING
    relies = bool(own or base.live - shunned)
    if relies:
        plan = Head(base.live | own, base.condemned, base.snapshots | {turn.number})
        segment = actor.segment if own else NONE
        yield turn.then(actor._replace(stage=Stage.PUT, plan=plan, segment=segment))
    if not relies or (actor.segment == NONE and world.uploads < UPLOADS_OF_CHOICE):
        yield turn.then(actor._replace(segment=world.uploads), world.upload())


def put_snapshot(turn: Turn) -> Iterator[World]:
    """The write arrives, or arrives and will arrive again, or the writer gives up on it and it is late."""
    actor = turn.actor
    done = turn.put(Stage.CHECK)
    yield done
    if actor.tries > 1:
        assert actor.plan is not None
        on_its_way = turn.world.late | {(actor.base + 1, actor.plan)}
        yield done._replace(late=on_its_way)
        yield turn.start_again()._replace(late=on_its_way)


def check_snapshot(turn: Turn) -> Iterator[World]:
    number, head = turn.world.heads[-1]
    mine = number == turn.actor.base + 1 or turn.number in head.snapshots
    if mine or Rule.POST_CHECK not in turn.rules:
        acknowledged = turn.world.acknowledged | {turn.number}
        yield turn.then(turn.actor._replace(stage=Stage.DONE), turn.world._replace(acknowledged=acknowledged))
    else:
        yield turn.start_again()


def plan_forgetting(turn: Turn) -> Iterator[World]:
    base = turn.world.head(turn.actor.base)
    known = base.snapshots & turn.world.acknowledged if base else NOTHING
    if base is None or not known:
        yield turn.start_again()
    for snapshot in known:
        assert base is not None
        plan = base._replace(snapshots=base.snapshots - {snapshot})
        yield turn.then(turn.actor._replace(stage=Stage.PUT, plan=plan, victims=frozenset({snapshot})))


def put_forgetting(turn: Turn) -> Iterator[World]:
    """From the moment that the head is sent, the snapshot is no longer promised."""
    forgotten = turn.world.forgotten | turn.actor.victims
    yield turn.put(Stage.DONE)._replace(forgotten=forgotten)


def plan_pruning(turn: Turn) -> Iterator[World]:
    """Copy the chunk and condemn all other segments, or condemn those that no head lists or needs."""
    world = turn.world
    base = world.head(turn.actor.base)
    if base is None:
        yield turn.start_again(lost=0)
        return
    if base.snapshots and base.live and world.uploads <= UPLOADS_OF_CHOICE:
        yield _condemn(turn, world.upload(), base, copy=frozenset({world.uploads}), victims=world.present)
    if left := world.present & base.condemned:
        yield turn.then(turn.actor._replace(stage=Stage.LOOK_AGAIN, victims=left))
    unlisted = world.present - base.live if base.snapshots else world.present
    if unlisted:
        yield _condemn(turn, world, base, copy=NOTHING, victims=unlisted)


def _condemn(turn: Turn, world: World, base: Head, *, copy: Numbers, victims: Numbers) -> World:
    condemned = base.condemned | victims if Rule.CARRY_CONDEMNED in turn.rules else NOTHING
    plan = Head(base.live - victims | copy, condemned, base.snapshots)
    return turn.then(turn.actor._replace(stage=Stage.PUT, plan=plan, victims=victims), world)


def put_pruning(turn: Turn) -> Iterator[World]:
    if Rule.COMMIT_FIRST not in turn.rules and turn.actor.victims & turn.world.present:
        yield from _delete_one(turn)
    else:
        yield turn.put(Stage.CHECK)


def check_pruning(turn: Turn) -> Iterator[World]:
    number, head = turn.world.heads[-1]
    mine = number == turn.actor.base + 1 or turn.actor.victims <= head.condemned
    if mine or Rule.POST_CHECK not in turn.rules:
        yield turn.then(turn.actor._replace(stage=Stage.DELETE))
    else:
        yield turn.start_again()


def look_again(turn: Turn) -> Iterator[World]:
    """What was read may be a stray head, whose number had been used and trimmed."""
    number, _ = turn.world.heads[-1]
    if number == turn.actor.base or Rule.STILL_NEWEST not in turn.rules:
        yield turn.then(turn.actor._replace(stage=Stage.DELETE))
    else:
        yield turn.start_again()


def delete(turn: Turn) -> Iterator[World]:
    """Delete one more, or find that the storage keeps the rest."""
    yield turn.then(turn.actor._replace(stage=Stage.READ_AGAIN))
    if turn.actor.victims & turn.world.present:
        yield from _delete_one(turn)


def _delete_one(turn: Turn) -> Iterator[World]:
    """Whichever goes first: between two deletions anything may happen."""
    for victim in turn.actor.victims & turn.world.present:
        yield turn.world._replace(present=turn.world.present - {victim})


def read_again(turn: Turn) -> Iterator[World]:
    number, head = turn.world.heads[-1]
    there = turn.world.present if Rule.KEEP_CONDEMNED in turn.rules else NOTHING
    plan = head._replace(condemned=head.condemned - (turn.actor.victims - there))
    yield turn.then(turn.actor._replace(stage=Stage.TIDY, base=number, plan=plan))


def tidy(turn: Turn) -> Iterator[World]:
    """A lost race costs an attempt here too, but what was deleted stays known."""
    actor = turn.actor
    assert actor.plan is not None
    world = turn.world.create_head(actor.base + 1, actor.plan, turn.rules)
    if world is None:
        yield turn.then(actor._replace(stage=Stage.READ_AGAIN, plan=None, tries=actor.tries - 1))
    else:
        yield turn.then(actor._replace(stage=Stage.DONE, plan=None, victims=NOTHING), world)


MOVES: dict[tuple[Kind, Stage], Callable[[Turn], Iterator[World]]] = {
    (Kind.WRITER, Stage.READ): read,
    (Kind.WRITER, Stage.PLAN): plan_snapshot,
    (Kind.WRITER, Stage.PUT): put_snapshot,
    (Kind.WRITER, Stage.CHECK): check_snapshot,
    (Kind.FORGETTER, Stage.READ): read,
    (Kind.FORGETTER, Stage.PLAN): plan_forgetting,
    (Kind.FORGETTER, Stage.PUT): put_forgetting,
    (Kind.PRUNER, Stage.READ): read,
    (Kind.PRUNER, Stage.PLAN): plan_pruning,
    (Kind.PRUNER, Stage.PUT): put_pruning,
    (Kind.PRUNER, Stage.CHECK): check_pruning,
    (Kind.PRUNER, Stage.LOOK_AGAIN): look_again,
    (Kind.PRUNER, Stage.DELETE): delete,
    (Kind.PRUNER, Stage.READ_AGAIN): read_again,
    (Kind.PRUNER, Stage.TIDY): tidy,
}


def violation(world: World) -> str:
    """What the world has lost, in words; empty when all promises are kept."""
    _, head = world.heads[-1]
    promised = world.acknowledged - world.forgotten
    if lost := promised - head.snapshots:
        return f"the acknowledged snapshots {sorted(lost)} are not in the newest head"
    if promised and not head.live & world.present:
        return "no segment is left that holds the chunk of an acknowledged snapshot"
    if head.snapshots and (gone := head.live - world.present):
        return f"the newest head lists the segments {sorted(gone)}, which are gone"
    return ""


class Outcome(NamedTuple):
    """What a search found: how many worlds it saw, and the shortest way to a loss if there is one."""

    states: int
    loss: str
    story: tuple[str, ...]


class TooManyStates(Exception):
    """The search was not complete when it met its limit, so it proves nothing."""


def explore(
    kinds: Sequence[Kind], rules: Collection[Rule], *, tries: int = 2, limit: int = 1_000_000
) -> Outcome:
    """Search breadth first from the empty repository until every world is seen or one has lost something."""
    start = World(tuple(Actor(kind, tries) for kind in kinds))
    came_from: dict[World, World | None] = {start: None}
    todo = deque([start])
    while todo:
        world = todo.popleft()
        if loss := violation(world):
            return Outcome(len(came_from), loss, tuple(_story(world, came_from)))
        for after in successors(world, rules):
            if after not in came_from:
                came_from[after] = world
                todo.append(after)
        if len(came_from) > limit:
            raise TooManyStates(f"more than {limit} states")
    return Outcome(len(came_from), "", ())


def _story(world: World, came_from: dict[World, World | None]) -> list[str]:
    """The steps that led to the world, the first one first."""
    steps = []
    before = came_from[world]
    while before is not None:
        steps.append(_step(before, world))
        world, before = before, came_from[before]
    return steps[::-1]


def _step(before: World, after: World) -> str:
    for number, (was, now) in enumerate(zip(before.actors, after.actors, strict=True)):
        if was != now:
            return f"{was.kind.value} {number}: {was.stage.value}"
    if before.late != after.late:
        return "the network delivers a late head"
    if before.present != after.present:
        return f"a pruner deletes {sorted(before.present - after.present)}"
    return "somebody trims the oldest head"
