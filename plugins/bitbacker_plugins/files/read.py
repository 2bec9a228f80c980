"""Reading files that may change while they are read.

What is handed on is either what the file held while its metadata stood still, or it is reported.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from types import TracebackType

from bitbacker.errors import SourceUnreadable
from bitbacker.spi import TOO_LARGE, Extent, SmallRead
from bitbacker_plugins.files.rows import RowPacker

RACY_NS = 50_000_000
"""Stamps as young as this may be given to a later change as well: the kernel's clock for them is coarse."""

CHANGED = "changed while it was read"
_BLOCK_BYTES = 512
_INLINE_MAX_BYTES = 4096
_NO_FILE = "it is no regular file any more"
# O_NONBLOCK and O_NOCTTY: should the file have been replaced by a FIFO or terminal, opening does nothing.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def open_regular(name: bytes, directory: int) -> tuple[int, os.stat_result]:
    """Open a regular file in an open directory, without touching its atime where that is allowed.

    Raises `OSError`, also when it is something else by now.
    """
    try:
        descriptor = os.open(name, _FLAGS | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # Only the owner and root may leave the atime alone.
        descriptor = os.open(name, _FLAGS, dir_fd=directory)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(0, _NO_FILE)
    return descriptor, status


def is_racy(status: os.stat_result) -> bool:
    """Whether a change right after now could leave the file with the same stamps."""
    now_ns = time.time_ns()
    return abs(now_ns - status.st_ctime_ns) < RACY_NS or abs(now_ns - status.st_mtime_ns) < RACY_NS


def same(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether nothing about a file has changed."""
    return (
        before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_size == after.st_size
        and before.st_ino == after.st_ino
        and before.st_mode == after.st_mode
    )


def has_holes(status: os.stat_result) -> bool:
    """Whether a file may have holes: it takes less than its size, and not because it lies in its inode."""
    return status.st_blocks * _BLOCK_BYTES < status.st_size and status.st_size > _INLINE_MAX_BYTES


class SmallReader:
    """Reads whole small files of one directory at a time."""

    def __init__(self, packer: RowPacker) -> None:
        self._packer = packer
        self._spare = bytearray(1)

    def read(self, name: bytes, directory: int, limit_bytes: int, into: memoryview) -> SmallRead:
        """Read one file to the front of `into`, a second time if it changed meanwhile."""
        try:
            answer = self._attempt(name, directory, limit_bytes, into)
            if answer.problem == CHANGED:
                answer = self._attempt(name, directory, limit_bytes, into)
        except FileNotFoundError:
            return SmallRead(-1, b"", "it vanished before it could be read")
        except OSError as error:
            return SmallRead(-1, b"", _words(error))
        return answer

    def _attempt(self, name: bytes, directory: int, limit_bytes: int, into: memoryview) -> SmallRead:
        descriptor, before = open_regular(name, directory)
        # Asked before the first byte is read: a change during a long read is younger than that.
        racy = is_racy(before)
        try:
            size = before.st_size
            if size > limit_bytes or has_holes(before):
                return SmallRead(-1, self._packer.pack(before), TOO_LARGE)
            # One byte more than the size is asked for, so that growth is noticed.
            got = os.readv(descriptor, [into[:size], self._spare])
            while 0 < got < size:
                more = os.readv(descriptor, [into[got:size], self._spare])
                if not more:
                    break
                got += more
            unchanged = got == size and same(before, os.fstat(descriptor))
        finally:
            os.close(descriptor)
        if unchanged:
            return SmallRead(size, self._packer.pack(before, racy=racy))
        stored = min(got, size)
        return SmallRead(stored, self._packer.pack(before, size_bytes=stored, racy=True), CHANGED)


class LargeFile:
    """One large or sparse file being read (`OpenFile`)."""

    def __init__(self, name: bytes, directory: int, packer: RowPacker) -> None:
        try:
            self._descriptor, self._before = open_regular(name, directory)
        except OSError as error:
            raise SourceUnreadable(_words(error)) from error
        self.row = packer.pack(self._before, racy=is_racy(self._before))
        self.extents: Sequence[Extent] = self._find_extents()
        self._next_extent = 0
        self._offset = self._end = 0
        self._short = False
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` with the next bytes of the extents.  Raises `SourceUnreadable`."""
        filled = 0
        while filled < len(buffer) and self._advance():
            wanted = min(len(buffer) - filled, self._end - self._offset)
            try:
                got = os.preadv(self._descriptor, [buffer[filled : filled + wanted]], self._offset)
            except OSError as error:
                raise SourceUnreadable(_words(error)) from error
            if not got:
                # The file ends before its extents do: it was cut off, and `problem` says so.
                self._short = True
                break
            filled += got
            self._offset += got
        return filled

    def problem(self) -> str:
        """What happened to the file while it was read; empty when nothing did."""
        try:
            after = os.fstat(self._descriptor)
        except OSError as error:
            return _words(error)
        return "" if same(self._before, after) and not self._short else CHANGED

    def _advance(self) -> bool:
        """Go to the next extent when this one is read; False behind the last."""
        if self._short:
            return False
        while self._offset == self._end:
            if self._next_extent == len(self.extents):
                return False
            offset, size = self.extents[self._next_extent]
            self._next_extent += 1
            self._offset, self._end = offset, offset + size
        return True

    def _find_extents(self) -> Sequence[Extent]:
        size = self._before.st_size
        if not has_holes(self._before):
            return (Extent(0, size),) if size else ()
        extents: list[Extent] = []
        end = 0
        while end < size:
            try:
                start = os.lseek(self._descriptor, end, os.SEEK_DATA)
                end = min(os.lseek(self._descriptor, start, os.SEEK_HOLE), size)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    # No data up to the end.
                    break
                return (Extent(0, size),)
            if start < end:
                extents.append(Extent(start, end - start))
        return tuple(extents)

    def __enter__(self) -> LargeFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def _words(error: OSError) -> str:
    return f"it cannot be read: {error.strerror or error}"
