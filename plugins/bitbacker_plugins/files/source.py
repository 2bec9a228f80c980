"""The source itself: walk, read and describe, tied together."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

from bitbacker.errors import SourceError, SourceUnreadable
from bitbacker.spi import (
    API_VERSION,
    ROW,
    Description,
    Explanation,
    Listing,
    OnProblem,
    OpenFile,
    SmallRead,
)
from bitbacker_plugins.files.config import FilesConfig
from bitbacker_plugins.files.describe import describe
from bitbacker_plugins.files.explain import explain
from bitbacker_plugins.files.places import check_links, check_presence, plant
from bitbacker_plugins.files.read import LargeFile
from bitbacker_plugins.files.rows import RowPacker
from bitbacker_plugins.files.rules import read_rules
from bitbacker_plugins.files.select import Selector
from bitbacker_plugins.files.walk import Walk, with_ancestors

_MODE_BYTES = 4


class FilesSource:
    """Directories and files of this machine.  See `bitbacker.spi.Source` for what each call promises."""

    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[FilesConfig]] = FilesConfig

    def __init__(self, config: FilesConfig) -> None:
        """Read the exclude rules.  Raises `ConfigError`."""
        self._config = config
        self._root = plant(config.paths)
        self._selector = Selector(config, read_rules(config))
        self._packer = RowPacker(strong=config.profile == "strong")
        self._walk: Walk | None = None

    def roots(self) -> tuple[str, ...]:
        """The configured paths."""
        return tuple(str(path) for path in self._config.paths)

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        """Yield listings in table order.  Raises `SourceMissing` and `SourceError` at once."""
        for path in self._config.paths:
            check_presence(path)
        check_links(self._root)
        self.close()
        self._packer = RowPacker(strong=self._config.profile == "strong")
        self._walk = Walk(self._root, self._selector, self._packer, on_problem)
        return self._walk.listings()

    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        """Walk again, only to these directories; file systems keep the numbers of the first walk."""
        self.close()
        self._walk = Walk(self._root, self._selector, self._packer, on_problem, with_ancestors(paths))
        return self._walk.listings()

    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        """Read regular files back to back into `into`, until less than `limit_bytes` of it is free."""
        if not indexes:
            return []
        walk, directory = self._current(listing)
        answers: list[SmallRead] = []
        used, last = 0, len(into) - limit_bytes
        for index in indexes:
            if used > last:
                break
            if stat.S_ISREG(_mode(listing, index)):
                answer = walk.reader.read(listing.names[index], directory, limit_bytes, into[used:])
            else:
                answer = SmallRead(-1, b"", "it is no regular file")
            answers.append(answer)
            used += max(answer.size_bytes, 0)
        return answers

    def describe(self, listing: Listing, indexes: Sequence[int]) -> Sequence[Description]:
        """Link targets and extended attributes; what cannot be read is told to the walk's `on_problem`."""
        if not indexes:
            return []
        walk, directory = self._current(listing)
        prefix = listing.path + b"/" if listing.path else b""
        descriptions: list[Description] = []
        for index in indexes:
            name, mode = listing.names[index], _mode(listing, index)
            # A symlink on the way to a configured path is stored as a directory.
            follow = walk.passes and not stat.S_ISLNK(mode)
            report = partial(walk.on_problem, prefix + name)
            descriptions.append(describe(name, mode, directory, report, follow=follow))
        return descriptions

    def open(self, listing: Listing, index: int) -> OpenFile:
        """Open one regular file.  Raises `SourceUnreadable`."""
        walk, directory = self._current(listing)
        if not stat.S_ISREG(_mode(listing, index)):
            raise SourceUnreadable("it is no regular file")
        return LargeFile(listing.names[index], directory, walk.packer)

    def close(self) -> None:
        """End the walk and close its directories."""
        if self._walk is not None:
            self._walk.close()
            self._walk = None

    def explain(self, path: str) -> Explanation:
        """The decision for one absolute path."""
        return explain(self._root, self._selector, path)

    def _current(self, listing: Listing) -> tuple[Walk, int]:
        """The walk, and the open directory of the listing that it yielded last."""
        level = self._walk.level if self._walk is not None else None
        if self._walk is None or level is None or level.path != listing.path:
            raise SourceError(f"the listing of {os.fsdecode(listing.path)!r} is not the last one of a walk")
        return self._walk, level.descriptor


def _mode(listing: Listing, index: int) -> int:
    start = index * ROW.size
    return int.from_bytes(listing.rows[start : start + _MODE_BYTES], "little")
