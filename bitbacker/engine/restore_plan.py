"""What a restore will do, worked out before anything is written.

    plan = plan_restore(repository, snapshot, [b"home/u"], Path("/target"), RestoreOptions())
    result = execute_restore(repository, plan, observer)

A plan holds arrays: about 150 bytes an entry, whatever the files are.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitbacker.engine.restore_content import Chunks, Order, judge, locate_chunks, order_chunks
from bitbacker.engine.restore_entries import Collector, Entries, pick
from bitbacker.engine.restore_owners import give_to_local_owners
from bitbacker.engine.restore_resume import find_complete
from bitbacker.engine.restore_selection import Selection
from bitbacker.engine.target_root import check_target
from bitbacker.errors import PathUnknown
from bitbacker.format.catalog import Snapshot
from bitbacker.format.entries import Directory
from bitbacker.repo.index import ChunkIndex
from bitbacker.repo.open import Repository
from bitbacker.repo.tree import SnapshotTree


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """`resume` continues a restore that was interrupted: what is whole there already is kept."""

    resume: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """An entry that cannot be restored, and why."""

    path: bytes
    text: str


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What will be restored.

    `files`, `directories`, `others` and `size_bytes` count what is to be made, `skipped` what is there
    already, `segments` what is to be fetched; `losses` cannot be restored.  The rest is for
    `execute_restore`: entries and chunks as columns, the order of the chunks in `order`, the segments
    that locations name in `identities`.  `sizes` and the masks have one item an entry; `link_to` leads
    from a further name of a file to its first.  `prunes` is the count of the head that was read.
    """

    target: Path
    resume: bool
    files: int
    directories: int
    others: int
    size_bytes: int
    skipped: int
    losses: tuple[Loss, ...]
    identities: list[bytes]
    entries: Entries
    chunks: Chunks
    order: Order
    sizes: npt.NDArray[np.int64]
    with_holes: npt.NDArray[np.bool_]
    without_content: npt.NDArray[np.bool_]
    settled: npt.NDArray[np.bool_]
    link_to: dict[int, int]
    prunes: int = 0
    segments: int = 0


def plan_restore(
    repository: Repository,
    snapshot: Snapshot,
    paths: Sequence[bytes],
    target: Path,
    options: RestoreOptions,
) -> RestorePlan:
    """Work out what restoring `paths` of a snapshot (everything when there are none) takes.

    Nothing is written.  Entries keep their whole path below `target`.  Raises `PathUnknown`,
    `TargetNotEmpty`, `TargetError`, and `DamageError` when the snapshot itself cannot be read.
    """
    # What the user means is settled now; from here on no symlink on the way to it is followed.
    target = target.resolve()
    check_target(target, resume=options.resume)
    selection = Selection(paths)
    losses: list[Loss] = []
    tree = SnapshotTree(repository.tables, snapshot.tables)
    entries = _collect(tree.directories(selection.paths), selection, losses)
    give_to_local_owners(entries.rows, snapshot)
    head = repository.newest()
    plan = _plan(entries, repository.index(head), losses, target, resume=options.resume)
    segments = repository.segments.round([*_segments_of(plan)])
    return replace(plan, prunes=head.prunes, segments=len(segments))


def _segments_of(plan: RestorePlan) -> set[bytes]:
    numbers = np.unique(plan.chunks.location["segment"][plan.order.chunks])
    return {plan.identities[number] for number in numbers.tolist()}


def _collect(directories: Iterable[Directory], selection: Selection, losses: list[Loss]) -> Entries:
    collector = Collector(lambda path, text: losses.append(Loss(path, text)))
    for directory in directories:
        positions = selection.positions(directory.path, directory.name_list)
        collector.add(directory if positions is None else pick(directory, positions))
    if selection.missing:
        shown = ", ".join("/" + path.decode("utf-8", "backslashreplace") for path in selection.missing)
        raise PathUnknown(f"the snapshot does not hold {shown}")
    return collector.entries()


def _plan(
    entries: Entries, index: ChunkIndex, losses: list[Loss], target: Path, *, resume: bool
) -> RestorePlan:
    kinds = entries.kinds
    regular, directories = kinds == stat.S_IFREG, kinds == stat.S_IFDIR
    link_to = _hard_links(entries)
    linked = np.zeros(len(entries), np.bool_)
    linked[list(link_to)] = True
    chunks = locate_chunks(entries, index)
    judgement = judge(entries, chunks, regular & ~linked)
    lost = _lost(entries, judgement.reasons, link_to, losses)
    complete = np.zeros(len(entries), np.bool_)
    if resume:
        complete = find_complete(target, entries, judgement.sizes, ~lost & ~linked & ~directories)
    settled = lost | complete
    wanted = regular & ~settled & ~linked
    order = order_chunks(chunks, wanted)
    others = ~settled & ~regular & ~directories & (kinds != stat.S_IFSOCK)
    return RestorePlan(
        target=target,
        resume=resume,
        files=int((regular & ~settled).sum()),
        directories=int(directories.sum()),
        others=int(others.sum()),
        size_bytes=int(chunks.stored[wanted].sum()),
        skipped=int(complete.sum()),
        losses=tuple(losses),
        identities=index.segments,
        entries=entries,
        chunks=chunks,
        order=order,
        sizes=judgement.sizes,
        with_holes=judgement.with_holes,
        without_content=wanted & (np.diff(entries.first_chunk) == 0),
        settled=settled,
        link_to=link_to,
    )


def _lost(
    entries: Entries, reasons: dict[int, str], link_to: dict[int, int], losses: list[Loss]
) -> npt.NDArray[np.bool_]:
    """Which entries cannot be restored; each is added to `losses`."""
    reasons = reasons | {
        entry: "it is another name of a file that is lost"
        for entry, first in link_to.items()
        if first in reasons
    }
    losses.extend(Loss(entries.path(entry), text) for entry, text in sorted(reasons.items()))
    lost = np.zeros(len(entries), np.bool_)
    lost[list(reasons)] = True
    return lost


def _hard_links(entries: Entries) -> dict[int, int]:
    """Entries that are another name of an earlier one, and that one.

    Size and time must agree too: a file that vanished during the walk may have left its inode to another.
    """
    rows, kinds = entries.rows, entries.kinds
    several = np.flatnonzero((rows["nlink"] > 1) & (rows["inode"] > 0) & (kinds != stat.S_IFDIR))
    names = ("filesystem", "inode", "size_bytes", "mtime_ns")
    columns = (*(rows[name][several] for name in names), kinds[several])
    first: dict[tuple[int, ...], int] = {}
    link_to: dict[int, int] = {}
    for entry, *identity in zip(several.tolist(), *(column.tolist() for column in columns), strict=True):
        earlier = first.setdefault(tuple(identity), entry)
        if earlier != entry:
            link_to[entry] = earlier
    return link_to
