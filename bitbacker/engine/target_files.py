"""Files that are being written piece by piece, many at a time.

A file stays open while pieces come in; the one that waited longest is closed when there are too many
and opened again for its next piece, but only if it is still the file that we made.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from bitbacker.engine.target import CREATE_FILE, Target, remove_quietly, write_at
from bitbacker.engine.target_metadata import Attributes
from bitbacker.format.entries import check_names

_OPEN_MAX = 64
# Without O_NONBLOCK a FIFO that somebody put there would hold us up.
_OPEN_AGAIN = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Begun:
    """A file under its temporary name; device and inode say that it is ours."""

    directory: bytes
    name: bytes
    temporary: bytes
    device: int
    inode: int


class PendingFiles:
    """Files that are not whole yet, by a number that the caller gives them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._begun: dict[int, _Begun] = {}
        self._open: OrderedDict[int, int] = OrderedDict()

    def __contains__(self, number: int) -> bool:
        return number in self._begun

    def begin(self, number: int, directory: bytes, name: bytes, size_bytes: int | None = None) -> None:
        """Start a file; with `size_bytes` it has that size at once, all of it a hole."""
        check_names([name])
        there = self._target.directories.descriptor(directory)
        temporary = self._target.temporary_name()
        descriptor = os.open(temporary, CREATE_FILE, 0o600, dir_fd=there)
        try:
            status = os.fstat(descriptor)
            self._begun[number] = _Begun(directory, name, temporary, status.st_dev, status.st_ino)
            self._keep_open(number, descriptor)
            if size_bytes is not None:
                os.ftruncate(descriptor, size_bytes)
        except BaseException:
            self.abandon(number)
            remove_quietly(there, temporary)
            raise

    def write(self, number: int, data: bytes | memoryview, offset: int) -> None:
        """Write one piece."""
        write_at(self._descriptor(number), data, offset)

    def finish(self, number: int, attributes: Attributes) -> str:
        """All pieces are in: set what the file is to have, and give it its name."""
        begun = self._begun[number]
        try:
            descriptor = self._descriptor(number)
            try:
                problem = self._target.metadata.to_file(descriptor, attributes)
            finally:
                os.close(self._open.pop(number))
            there = self._target.directories.descriptor(begun.directory)
            self._target.give_name(there, begun.temporary, begun.name)
        except BaseException:
            self.abandon(number)
            raise
        del self._begun[number]
        return problem

    def abandon(self, number: int) -> None:
        """Remove a file that will not become whole."""
        descriptor = self._open.pop(number, None)
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)
        begun = self._begun.pop(number, None)
        if begun is not None:
            with suppress(OSError):
                remove_quietly(self._target.directories.descriptor(begun.directory), begun.temporary)

    def close(self) -> None:
        """Remove all that is not whole."""
        for number in list(self._begun):
            self.abandon(number)

    def _descriptor(self, number: int) -> int:
        found = self._open.get(number)
        if found is not None:
            self._open.move_to_end(number)
            return found
        begun = self._begun[number]
        there = self._target.directories.descriptor(begun.directory)
        descriptor = os.open(begun.temporary, _OPEN_AGAIN, dir_fd=there)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (begun.device, begun.inode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "somebody replaced it while it was restored")
        self._keep_open(number, descriptor)
        return descriptor

    def _keep_open(self, number: int, descriptor: int) -> None:
        self._open[number] = descriptor
        while len(self._open) > _OPEN_MAX:
            os.close(self._open.popitem(last=False)[1])
