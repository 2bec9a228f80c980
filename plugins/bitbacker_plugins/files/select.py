"""What of a directory is backed up.

Everything that is decided about one entry is decided here, for the walk as for `explain`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bitbacker.spi import OnProblem
from bitbacker_plugins.files.config import FilesConfig
from bitbacker_plugins.files.places import Place
from bitbacker_plugins.files.rules import Matcher, Rules

CACHE_TAG = "CACHEDIR.TAG"
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
_NOTHING: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Step:
    """A directory that is to be listed: what it must turn out to be, and what is wanted of it.

    `place` says which configured paths are in it or below; without `whole` only what leads to them
    is listed.  `home_device` is where one_file_system keeps the walk.
    """

    name: bytes
    device: int
    inode: int
    place: Place | None
    whole: bool
    home_device: int


@dataclass(slots=True)
class Choice:
    """The entries of a directory that are backed up, names ascending.

    `passing` are names that are excluded, and here only because a configured path lies below.
    """

    names: list[bytes]
    statuses: list[os.stat_result]
    passing: Collection[bytes] = _NOTHING


class Selector:
    """Applies the exclude rules of one source."""

    def __init__(self, config: FilesConfig, rules: Rules) -> None:
        self.rules = rules
        self.one_file_system = config.one_file_system
        self.larger_than_bytes = config.larger_than_bytes
        self._if_present = tuple(str(name) for name in config.exclude_if_present)
        self._caches = config.exclude_caches

    def choose(self, step: Step, path: bytes, descriptor: int, on_problem: OnProblem) -> Choice:
        """Choose from the directory that is open here.  Raises `OSError`."""
        look = _Look(path, descriptor, on_problem)
        if not step.whole:
            return look.passed(step.place) if step.place is not None else Choice([], [])
        listed = os.listdir(descriptor)
        kept = step.place.children if step.place is not None else {}
        markers = self.markers(listed, descriptor)
        if markers:
            listed = [name for name in listed if name in markers or os.fsencode(name) in kept]
        choice = look.at(_encoded(listed))
        excluded = self._excluded(choice, path, listed)
        if markers:
            excluded |= {name for name in choice.names if os.fsdecode(name) not in markers}
        if excluded:
            choice = _without(choice, excluded, kept)
        for name in kept.keys() - set(choice.names):
            on_problem(look.path_of(name), "it vanished while the source was read")
        return choice

    def markers(self, names: Sequence[str], descriptor: int) -> set[str]:
        """The names in this directory which say that the rest of it is not to be backed up."""
        found = {marker for marker in self._if_present if marker in names}
        if self._caches and CACHE_TAG in names and _is_cache_tag(descriptor):
            found.add(CACHE_TAG)
        return found

    def step(self, parent: Step, name: bytes, status: os.stat_result, *, passing: bool) -> Step:
        """How to go on with this subdirectory."""
        place = parent.place.children.get(name) if parent.place is not None else None
        if place is not None and place.named:
            return Step(name, status.st_dev, status.st_ino, place, whole=True, home_device=status.st_dev)
        stays = not self.one_file_system or status.st_dev == parent.home_device
        whole = parent.whole and stays and not passing
        return Step(name, status.st_dev, status.st_ino, place, whole, parent.home_device)

    def too_large(self, status: os.stat_result) -> bool:
        """Whether this is a regular file above the limit of the configuration."""
        return 0 < self.larger_than_bytes < status.st_size and stat.S_ISREG(status.st_mode)

    def _excluded(self, choice: Choice, path: bytes, listed: Sequence[str]) -> set[bytes]:
        excluded: set[bytes] = set()
        matcher = self.rules.matcher(path)
        if matcher is not None:
            excluded |= _by_rules(matcher, choice, listed)
        if self.larger_than_bytes:
            large = [self.too_large(status) for status in choice.statuses]
            excluded.update(name for name, over in zip(choice.names, large, strict=True) if over)
        return excluded


class _Look:
    """Reads the metadata of one open directory's entries."""

    def __init__(self, path: bytes, descriptor: int, on_problem: OnProblem) -> None:
        self._path = path
        self._descriptor = descriptor
        self._on_problem = on_problem

    def path_of(self, name: bytes) -> bytes:
        return self._path + b"/" + name if self._path else name

    def at(self, names: list[bytes]) -> Choice:
        """These entries, without those that vanished since the directory was read."""
        look, descriptor = os.stat, self._descriptor
        try:
            return Choice(names, [look(name, dir_fd=descriptor, follow_symlinks=False) for name in names])
        except OSError:
            return self._one_by_one(names)

    def _one_by_one(self, names: list[bytes]) -> Choice:
        choice = Choice([], [])
        for name in names:
            status = self._status(name)
            if status is not None:
                choice.names.append(name)
                choice.statuses.append(status)
        return choice

    def passed(self, place: Place) -> Choice:
        """Only what leads to configured paths; symlinks on the way are followed."""
        choice = Choice([], [])
        for name, child in sorted(place.children.items()):
            status = self._status(name, follow=not child.named)
            if status is None or not (child.named or stat.S_ISDIR(status.st_mode)):
                self._on_problem(self.path_of(name), "it vanished while the source was read")
            else:
                choice.names.append(name)
                choice.statuses.append(status)
        return choice

    def _status(self, name: bytes, *, follow: bool = False) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=follow)
        except FileNotFoundError:
            # It was deleted after the directory was read: it is no longer part of the tree.
            return None
        except OSError as error:
            self._on_problem(self.path_of(name), f"its metadata cannot be read: {error.strerror}")
            return None


def _encoded(listed: Sequence[str]) -> list[bytes]:
    """The names as bytes, ascending; joined, because a call per name would cost more."""
    return sorted(os.fsencode("\0".join(listed)).split(b"\0")) if listed else []


def _by_rules(matcher: Matcher, choice: Choice, listed: Sequence[str]) -> set[bytes]:
    candidates = matcher.candidates(listed)
    if not candidates:
        return set()
    excluded: set[bytes] = set()
    directories = {
        name
        for name, status in zip(choice.names, choice.statuses, strict=True)
        if stat.S_ISDIR(status.st_mode)
    }
    for candidate in candidates:
        name = os.fsencode(candidate)
        rule = matcher.deciding(candidate, is_directory=name in directories)
        if rule is not None and not rule.negated:
            excluded.add(name)
    return excluded


def _without(choice: Choice, excluded: Collection[bytes], kept: dict[bytes, Place]) -> Choice:
    """Leave the excluded names out, but neither configured paths nor what leads to them."""
    stays = [name not in excluded or name in kept for name in choice.names]
    return Choice(
        [name for name, stay in zip(choice.names, stays, strict=True) if stay],
        [status for status, stay in zip(choice.statuses, stays, strict=True) if stay],
        {name for name in kept if name in excluded},
    )


def _is_cache_tag(descriptor: int) -> bool:
    """Whether the directory's CACHEDIR.TAG is a file with the signature of bford.info/cachedir."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if not stat.S_ISREG(os.stat(CACHE_TAG, dir_fd=descriptor, follow_symlinks=False).st_mode):
            return False
        tag = os.open(CACHE_TAG, flags, dir_fd=descriptor)
    except OSError:
        return False
    try:
        return os.read(tag, len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        os.close(tag)
