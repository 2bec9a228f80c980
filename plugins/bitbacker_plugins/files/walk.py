"""The walk: one directory after the other by file descriptors, never by long paths.

A directory is opened by its name in its open parent, without following links, and must be the one
that was seen in the parent's listing.  So no path is too long, and nobody who moves directories about
during the walk can lead it astray.  Only the deepest directories of the current branch stay open; one
further up is opened again, name by name, when the walk returns to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bitbacker.spi import Listing, OnProblem
from bitbacker_plugins.files.places import Place
from bitbacker_plugins.files.read import SmallReader
from bitbacker_plugins.files.rows import RowPacker
from bitbacker_plugins.files.select import Selector, Step

OPEN_DIRECTORIES_MAX = 32
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# On the way to a path only names are looked up, which needs no permission to read the directory.
_PASS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(slots=True)
class Level:
    """A directory of the current branch, with its subdirectories that are still to come, last first."""

    step: Step
    path: bytes
    descriptor: int
    waiting: list[Step] = field(default_factory=list)

    def path_of(self, name: bytes) -> bytes:
        """The path of an entry, without a leading slash."""
        return self.path + b"/" + name if self.path else name


def with_ancestors(paths: Sequence[bytes]) -> frozenset[bytes]:
    """These paths and those of all directories above them."""
    found: set[bytes] = set()
    for path in paths:
        while path not in found:
            found.add(path)
            path = path.rpartition(b"/")[0]  # noqa: PLW2901  # it climbs
    return frozenset(found)


class Walk:
    """One walk over a source; `level` is the directory that was yielded last."""

    def __init__(
        self,
        root: Place,
        selector: Selector,
        packer: RowPacker,
        on_problem: OnProblem,
        wanted: frozenset[bytes] | None = None,
    ) -> None:
        """With `wanted` it enters only directories of these paths."""
        self._wanted = wanted
        self._root = root
        self._selector = selector
        self.packer = packer
        self.reader = SmallReader(packer)
        self.on_problem = on_problem
        self._levels: list[Level] = []

    @property
    def level(self) -> Level | None:
        """The directory that was yielded last."""
        return self._levels[-1] if self._levels else None

    @property
    def passes(self) -> bool:
        """Whether that directory is only on the way to configured paths."""
        return bool(self._levels) and not self._levels[-1].step.whole

    def listings(self) -> Iterator[Listing]:
        """Every directory, in table order."""
        try:
            status = os.stat("/")
            top = Step(b"/", status.st_dev, status.st_ino, self._root, self._root.named, status.st_dev)
            yield from self._enter(top, b"", None)
            while self._levels:
                level = self._levels[-1]
                if not level.waiting:
                    self._leave()
                elif level.descriptor >= 0 or self._reopen():
                    step = level.waiting.pop()
                    yield from self._enter(step, level.path_of(step.name), level.descriptor)
        finally:
            self.close()

    def close(self) -> None:
        """Close every directory that is open."""
        while self._levels:
            self._leave()

    def _leave(self) -> None:
        level = self._levels.pop()
        if level.descriptor >= 0:
            os.close(level.descriptor)

    def _enter(self, step: Step, path: bytes, parent: int | None) -> Iterator[Listing]:
        if not step.whole and step.place is None:
            # Another file system that is not wanted: nothing of it is looked at.
            yield Listing(path, (), b"")
            return
        try:
            descriptor = self._open(step, parent)
        except OSError as error:
            self.on_problem(path, f"this directory cannot be read: {error.strerror}")
            return
        level = Level(step, path, descriptor)
        self._levels.append(level)
        if len(self._levels) > OPEN_DIRECTORIES_MAX:
            self._rest(self._levels[-1 - OPEN_DIRECTORIES_MAX])
        try:
            listing = self._list(level)
        except OSError as error:
            self._leave()
            self.on_problem(path, f"this directory cannot be read: {error.strerror}")
            return
        yield listing

    def _rest(self, level: Level) -> None:
        if level.descriptor >= 0:
            os.close(level.descriptor)
            level.descriptor = -1

    def _open(self, step: Step, parent: int | None) -> int:
        """Open this directory in its parent.  Raises `OSError`, also when it is another by now."""
        descriptor = os.open(step.name, _READ if step.whole else _PASS, dir_fd=parent)
        status = os.fstat(descriptor)
        same = status.st_ino == step.inode or not self.packer.strong
        if same and status.st_dev == step.device:
            return descriptor
        os.close(descriptor)
        raise OSError(0, "it was replaced by another while the source was read")

    def _reopen(self) -> bool:
        """Open the last level again, and those right above it; False when it cannot be found."""
        last = len(self._levels) - 1
        start = next((i for i in range(last, -1, -1) if self._levels[i].descriptor >= 0), -1)
        parent = self._levels[start].descriptor if start >= 0 else None
        passing = -1
        try:
            for i in range(start + 1, last + 1):
                level = self._levels[i]
                parent = self._open(level.step, parent)
                if passing >= 0:
                    os.close(passing)
                    passing = -1
                if i > last - OPEN_DIRECTORIES_MAX:
                    level.descriptor = parent
                else:
                    passing = parent
        except OSError as error:
            if passing >= 0:
                os.close(passing)
            self._give_up(self._levels[last], error)
            return False
        return True

    def _give_up(self, level: Level, error: OSError) -> None:
        for step in reversed(level.waiting):
            path = level.path_of(step.name)
            self.on_problem(path, f"this directory cannot be reached any more: {error.strerror}")
        level.waiting.clear()

    def _list(self, level: Level) -> Listing:
        chosen = self._selector.choose(level.step, level.path, level.descriptor, self.on_problem)
        rows, directories = self.packer.pack_all(chosen.statuses)
        names = chosen.names
        for index in reversed(directories):
            name = names[index]
            if self._wanted is not None and level.path_of(name) not in self._wanted:
                continue
            step = self._selector.step(
                level.step, name, chosen.statuses[index], passing=name in chosen.passing
            )
            level.waiting.append(step)
        return Listing(level.path, tuple(names), rows)
