"""Carrying out a restore plan.

Directories are made first, closed to others; then what has no content, then content, block by block
as it comes, then further names of files; directories get their own attributes last, deepest first.
A failure with one entry is a problem and the restore goes on; what is interrupted can be resumed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bitbacker.engine.observe import Observer
from bitbacker.engine.restore_fetch import Ahead, Wanted, deliveries
from bitbacker.engine.restore_ledger import Ledger
from bitbacker.engine.restore_plan import RestorePlan
from bitbacker.engine.restore_resume import names_like_ours
from bitbacker.engine.restore_write import ContentWriter
from bitbacker.engine.target import Target, open_target
from bitbacker.engine.target_files import PendingFiles
from bitbacker.errors import BitBackerError, DamageError, FormatError
from bitbacker.repo.open import Repository

_BLOCKS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a restore did.

    `files` were restored with `bytes` of content; `skipped` were whole already; `problems` were told
    to the observer one by one.
    """

    files: int
    bytes: int
    skipped: int
    problems: int


def execute_restore(repository: Repository, plan: RestorePlan, observer: Observer) -> RestoreResult:
    """Restore what the plan says.

    Raises `TargetError` when the target takes no more, `StorageError` when the storage does not
    answer, and, after everything else has been restored, `DamageError` when entries are lost.
    """
    ledger = Ledger(plan, observer)
    ledger.begin()
    with (
        closing(open_target(plan.target, resume=plan.resume, note=observer.note)) as target,
        closing(PendingFiles(target)) as pending,
    ):
        content = ContentWriter(plan, target, pending, ledger)
        tree = _TreeMaker(plan, target, ledger)
        tree.make_directories()
        tree.make_symlinks_and_devices()
        for entry in np.flatnonzero(plan.without_content).tolist():
            ledger.attempt(entry, content.make_empty)
        source = deliveries(repository, _Wanted(plan))
        with closing(Ahead(source, _BLOCKS_AHEAD)) as ahead:
            for delivery in ahead:
                content.deliver(delivery)
        tree.make_links()
        tree.finish_directories()
    lost = len(plan.losses) + len(ledger.lost)
    if lost:
        entries = "1 entry" if lost == 1 else f"{lost} entries"
        raise DamageError(
            f"{entries} could not be restored, because the repository is damaged",
            hint=_hint(repository, plan),
        )
    _note_sockets(plan, observer)
    return RestoreResult(ledger.files, ledger.bytes, plan.skipped, ledger.problems)


class _Wanted:
    """The chunks of a plan, by segment."""

    def __init__(self, plan: RestorePlan) -> None:
        self._plan = plan
        self._blocks: dict[bytes, list[tuple[int, int]]] = {}
        starts = plan.order.blocks[:-1]
        segments = plan.chunks.location["segment"][plan.order.chunks[starts]]
        for segment, bounds in zip(segments.tolist(), pairwise(plan.order.blocks.tolist()), strict=True):
            self._blocks.setdefault(plan.identities[segment], []).append(bounds)

    @property
    def segments(self) -> Sequence[bytes]:
        return tuple(self._blocks)

    def of(self, segment: bytes) -> Iterator[Wanted]:
        """The blocks of one segment."""
        plan = self._plan
        for start, end in self._blocks.get(segment, ()):
            numbers = plan.order.chunks[start:end]
            location = plan.chunks.location[numbers]
            yield Wanted(
                int(location["block"][0]),
                numbers,
                location["offset"].tolist(),
                location["size"].tolist(),
                plan.entries.chunk_ids[numbers].tolist(),
            )


def _hint(repository: Repository, plan: RestorePlan) -> str | None:
    """A prune that ran meanwhile has moved chunks, which is no damage."""
    with suppress(BitBackerError):
        if repository.newest().prunes != plan.prunes:
            return "a prune ran meanwhile and moved data: run the same command again with --resume"
    return None


def _note_sockets(plan: RestorePlan, observer: Observer) -> None:
    sockets = int((plan.entries.kinds == stat.S_IFSOCK).sum())
    if sockets:
        observer.note(f"sockets are not restored, the programs that use them make them anew: {sockets}")


class _TreeMaker:
    """Makes everything that has no content of its own."""

    def __init__(self, plan: RestorePlan, target: Target, ledger: Ledger) -> None:
        self._plan = plan
        self._entries = plan.entries
        self._target = target
        self._ledger = ledger
        self._directories = np.flatnonzero(plan.entries.kinds == stat.S_IFDIR).tolist()

    def make_directories(self) -> None:
        """Make all directories, closed to others; take those over that an earlier run has left."""
        for entry in self._directories:
            self._ledger.attempt(entry, self._make_directory)
        if self._plan.resume:
            self._remove_left_overs()

    def make_symlinks_and_devices(self) -> None:
        """Make everything that is neither a file nor a directory."""
        kinds = self._entries.kinds
        plain = np.isin(kinds, (stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK))
        for entry in np.flatnonzero(~plain & ~self._plan.settled).tolist():
            if entry not in self._plan.link_to:
                self._ledger.attempt(entry, self._make_symlink_or_device)

    def make_links(self) -> None:
        """Give files their further names."""
        for entry in self._plan.link_to:
            if not self._plan.settled[entry]:
                self._ledger.attempt(entry, self._make_link)

    def finish_directories(self) -> None:
        """Give directories their own attributes, deepest first, because a mode may lock us out."""
        for entry in reversed(self._directories):
            if entry not in self._ledger.absent:
                self._ledger.attempt(entry, self._finish_directory)

    def _make_directory(self, entry: int) -> str:
        self._target.make_directory(self._entries.path(entry), present_ok=self._plan.resume)
        return ""

    def _finish_directory(self, entry: int) -> str:
        return self._target.finish_directory(self._entries.path(entry), self._entries.attributes(entry))

    def _make_symlink_or_device(self, entry: int) -> str:
        parent, name = self._entries.parent(entry), self._entries.name(entry)
        attributes = self._entries.attributes(entry)
        if stat.S_ISLNK(attributes.mode):
            return self._target.make_symlink(parent, name, self._entries.links[entry], attributes)
        device = int(self._entries.rows["size_bytes"][entry])
        return self._target.make_special(parent, name, device, attributes)

    def _make_link(self, entry: int) -> str:
        first = self._plan.link_to[entry]
        if first in self._ledger.lost:
            raise FormatError("it is another name of a file that is lost")
        self._target.make_link(
            self._entries.parent(entry),
            self._entries.name(entry),
            self._entries.parent(first),
            self._entries.name(first),
        )
        self._ledger.files += int(self._entries.kinds[entry] == stat.S_IFREG)
        return ""

    def _remove_left_overs(self) -> None:
        keep = names_like_ours(self._entries)
        for path in {b"", *self._entries.directories}:
            with suppress(OSError, FormatError):
                self._target.remove_left_overs(path, keep)
