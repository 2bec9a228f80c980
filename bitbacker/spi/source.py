"""The source contract: what is backed up.

A source walks a tree of directories and yields one `Listing` a directory, in *table order*: a
directory comes before its subdirectories, siblings ascend by the bytes of their names.  Formally,
listings ascend by `path.split(b"/")` compared as a list of byte strings, the root (`b""`) first.
Every directory that is yielded, except the root, was an entry of an earlier listing.

Metadata travels as packed rows (`ROW`), because a directory whose rows equal the stored rows costs
one comparison and no Python object per file.

All calls come from one thread.  `read_small`, `describe` and `open` refer to the listing that was
yielded last.  Problems with single entries are told to `on_problem` and the walk goes on; only a
source that cannot be walked at all raises (`SourceMissing`, `SourceError`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

ROW = struct.Struct("<5I3qQ")
"""mode, uid, gid, nlink, filesystem, size_bytes, mtime_ns, ctime_ns, inode.

`mode` is st_mode with its type bits.  `nlink` is 1 for directories.  `filesystem` numbers the mounted
file systems in the order in which the walk meets them (0 for the first), because device numbers
change between boots.  `size_bytes` is st_size of a regular file, the length of the target of a
symlink, st_rdev of a device, else 0; -1 where nobody knows it before the file is read, and then its
one extent has the size -1 too.  `ctime_ns` and `inode` are 0 where the source does not trust them.
Entries of one snapshot with nlink > 1 and equal filesystem and inode are one file with several names.
"""

OnProblem = Callable[[bytes, str], None]
"""Called with the path (no leading slash) and what is wrong with it, in words."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One directory: its path without a leading slash, sorted names, and one `ROW` per name."""

    path: bytes
    names: tuple[bytes, ...]
    rows: bytes


class Description(NamedTuple):
    """What `ROW` has no room for.  `link_target` of a symlink; xattrs (ACLs are xattrs) by name."""

    link_target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class SmallRead(NamedTuple):
    """What became of one file of a batch.

    `size_bytes` is how much was read, -1 when there is nothing to store; then `problem` says why.
    A file that was read while it changed has a size and a problem: it is stored and marked.
    `row` is what fstat said before the first byte was read.
    """

    size_bytes: int
    row: bytes
    problem: str = ""


class Extent(NamedTuple):
    """A run of data in a file; what lies between extents is a hole."""

    offset_bytes: int
    size_bytes: int


class OpenFile(Protocol):
    """One large or sparse file being read, front to back."""

    @property
    def row(self) -> bytes:
        """What fstat said when the file was opened."""

    @property
    def extents(self) -> Sequence[Extent]:
        """Where data is, ascending; one extent of the whole size when there are no holes."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` with the next bytes of the concatenated extents.

        Returns how many bytes were read; fewer than asked only at the end, 0 behind it.
        Raises `SourceUnreadable`.
        """

    def problem(self) -> str:
        """Called after the last read: empty when the file stayed what it was, else what happened."""

    def __enter__(self) -> OpenFile: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Source(Protocol):
    """Something with a tree of files in it."""

    api_version: ClassVar[int]
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`."""

    def roots(self) -> tuple[str, ...]:
        """What is backed up, in words for `bitbacker snapshots`: paths, as a rule."""

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        """Yield listings in table order."""

    def read_small(
        self, listing: Listing, indexes: Sequence[int], limit_bytes: int, into: memoryview
    ) -> Sequence[SmallRead]:
        """Read whole regular files back to back into `into`, until it is full.

        Each file's bytes follow the last one's.  At least `limit_bytes` of `into` must be free for
        a file to be tried; the answers returned may be fewer than `indexes` for want of room, and
        the caller asks again for the rest.  A file that turns out larger than `limit_bytes` is
        answered with size -1 and the problem `TOO_LARGE`, and the caller opens it instead.
        """

    def describe(self, listing: Listing, indexes: Sequence[int]) -> Sequence[Description]:
        """Link targets and extended attributes of these entries."""

    def open(self, listing: Listing, index: int) -> OpenFile:
        """Open one regular file.  Raises `SourceUnreadable`."""

    def close(self) -> None:
        """Let go of open directories."""


TOO_LARGE = "larger than a small file"
"""The problem of a `SmallRead` that is none: the file is to be read with `open`."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a path is in a backup or not: the rule that decided, and where it stands."""

    included: bool
    reason: str
    rule: str = ""
    file: str = ""
    line: int = 0


@runtime_checkable
class Explains(Protocol):
    """Ability: a source that can say why it leaves something out."""

    def explain(self, path: str) -> Explanation:
        """The decision for one absolute path."""


@runtime_checkable
class Revisits(Protocol):
    """Ability: a source that can walk again over some directories without looking at the others."""

    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        """Yield, in table order, the listings of these directories and of those on the way to them.

        The paths are those of listings that a walk yielded.  A directory that is gone is told to
        `on_problem` or left out.
        """
