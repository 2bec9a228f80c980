"""A tree that exists on paper only: a million empty files cost nothing but their names and stamps."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bitbacker.engine.backup import BackupOptions, BackupResult, backup
from bitbacker.engine.observe import SilentObserver
from bitbacker.format.rows import ROW_DTYPE
from bitbacker.spi import Description, Listing, NoConfig, OnProblem, OpenFile, SmallRead
from leak_lab.desk import OurDesk

FILES_PER_DIRECTORY = 100


@dataclass(frozen=True, slots=True)
class PaperTree:
    """A source of `directories` with 100 empty files each, of which the first `touched` are younger."""

    directories: int
    touched: int = 0

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[Any]] = NoConfig

    def roots(self) -> tuple[str, ...]:
        return ("/paper",)

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        del on_problem
        yield self._listing(
            b"", tuple(b"%08x" % number for number in range(self.directories)), stat.S_IFDIR, 0
        )
        names = tuple(b"file %04d" % number for number in range(FILES_PER_DIRECTORY))
        for number in range(self.directories):
            touched = min(max(self.touched - number * FILES_PER_DIRECTORY, 0), FILES_PER_DIRECTORY)
            yield self._listing(b"%08x" % number, names, stat.S_IFREG, touched)

    @staticmethod
    def _listing(path: bytes, names: tuple[bytes, ...], kind: int, touched: int) -> Listing:
        rows = np.zeros(len(names), ROW_DTYPE)
        rows["mode"] = kind | 0o644
        rows["nlink"] = 1
        rows["mtime_ns"] = 10**18
        rows["mtime_ns"][:touched] += 1
        rows["inode"] = np.arange(len(names)) + 1
        return Listing(path, names, rows.tobytes())

    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        wanted = {b"", *paths}
        return (listing for listing in self.walk(on_problem) if listing.path in wanted)

    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        raise AssertionError(f"empty files are not read: {listing}, {indexes}, {limit_bytes}, {into}")

    def describe(self, listing: Listing, indexes: Sequence[int]) -> Sequence[Description]:
        del listing
        return [Description()] * len(indexes)

    def open(self, listing: Listing, index: int) -> OpenFile:
        raise AssertionError(f"an empty file is not opened: {listing}, {index}")

    def close(self) -> None:
        """Nothing is open."""


class PaperDesk(OurDesk):
    """Ours, for trees on paper."""

    def back_up_paper(self, tree: PaperTree, machine: str = "one", *, strict: bool = False) -> BackupResult:
        """One session of this machine."""
        options = BackupOptions("host", "paper", (), 10**18, "test", strict=strict)
        return backup(self.client(machine), tree, options, SilentObserver())
