"""Directories below one root, opened without following a single symlink.

A path is walked component by component from an open directory, so that neither a hostile repository
nor somebody who swaps directories for symlinks meanwhile can lead the walk out of the root.
A descriptor, once open, stays with its directory whatever happens to the names on the way to it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress

from bitbacker.format.entries import check_names

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_MAX = 128
_KEPT_PER_WALK = 16


def components(path: bytes) -> list[bytes]:
    """The names a path is made of, none for the root.  Raises `FormatError` for a name no directory holds."""
    names = path.split(b"/") if path else []
    for name in names:
        check_names([name])
    return names


class OpenDirectories:
    """A bounded number of open directories, least recently used ones closed first.

    A descriptor that `descriptor` returned stays open for at least the next `_OPEN_MAX //
    _KEPT_PER_WALK - 1` calls; nobody else closes it.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def descriptor(self, path: bytes) -> int:
        """The open directory at `path` (no leading slash; the root is b"").

        Raises `OSError` when a component is missing, is no directory or is a symlink, and
        `FormatError` for a path that no directory can have.
        """
        if not path:
            return self._root
        found = self._open.get(path)
        if found is None:
            return self._walk(path)
        self._open.move_to_end(path)
        return found

    def forget(self, path: bytes) -> None:
        """Close the directory at `path` if it is open."""
        found = self._open.pop(path, None)
        if found is not None:
            os.close(found)

    def close(self) -> None:
        """Close all, the root too."""
        for descriptor in (*self._open.values(), self._root):
            with suppress(OSError):
                os.close(descriptor)
        self._open.clear()

    def _walk(self, path: bytes) -> int:
        names = components(path)
        start = path
        while start and start not in self._open:
            start = start.rpartition(b"/")[0]
        here = self._open.get(start, self._root)
        passing = -1
        first = start.count(b"/") + 1 if start else 0
        at = len(start)
        for depth in range(first, len(names)):
            try:
                below = os.open(names[depth], OPEN_DIRECTORY, dir_fd=here)
            finally:
                if passing >= 0:
                    os.close(passing)
            at += len(names[depth]) + (at > 0)
            passing = -1 if len(names) - depth <= _KEPT_PER_WALK else below
            if passing < 0:
                self._keep(path[:at], below)
            here = below
        return here

    def _keep(self, path: bytes, descriptor: int) -> None:
        self._open[path] = descriptor
        while len(self._open) > _OPEN_MAX:
            os.close(self._open.popitem(last=False)[1])
