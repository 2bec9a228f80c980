"""What an interrupted restore has left: entries that are whole, and temporary names of ours."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitbacker.engine.restore_entries import Entries
from bitbacker.engine.target_directories import OPEN_DIRECTORY, OpenDirectories
from bitbacker.errors import FormatError, TargetError

_HAVE_SIZES = (stat.S_IFREG, stat.S_IFLNK)
_OURS = re.compile(rb"(?:(?<=\0)|^)\.bitbacker-[0-9a-f]{16}-[0-9]+(?=\0)")


def find_complete(
    target: Path, entries: Entries, sizes: npt.NDArray[np.int64], candidates: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which candidates are in the target with their kind, size and time of modification.

    The time is set last, so an entry that has it has everything.  Nothing is written.
    """
    complete = np.zeros(len(entries), np.bool_)
    try:
        directories = OpenDirectories(os.open(target, OPEN_DIRECTORY))
    except FileNotFoundError:
        return complete
    except OSError as error:
        raise TargetError(f"{target} cannot be restored into: {error.strerror}") from error
    try:
        for entry in np.flatnonzero(candidates).tolist():
            complete[entry] = _is_complete(directories, entries, entry, int(sizes[entry]))
    finally:
        directories.close()
    return complete


def _is_complete(directories: OpenDirectories, entries: Entries, entry: int, size: int) -> bool:
    try:
        there = directories.descriptor(entries.parent(entry))
        status = os.stat(entries.name(entry), dir_fd=there, follow_symlinks=False)
    except (OSError, FormatError):
        # What cannot be seen now is made anew, and that will say what is wrong.
        return False
    row = entries.rows[entry]
    kind = int(row["mode"]) & 0o170000
    if stat.S_IFMT(status.st_mode) != kind or status.st_mtime_ns != int(row["mtime_ns"]):
        return False
    if kind == stat.S_IFLNK:
        size = len(entries.links[entry])
    return kind not in _HAVE_SIZES or status.st_size == size


def names_like_ours(entries: Entries) -> frozenset[bytes]:
    """Names of the snapshot itself that look like temporary names of ours."""
    return frozenset(match[0] for match in _OURS.finditer(entries.names))
