"""Link targets and extended attributes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from bitbacker.spi import Description

_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def describe(
    name: bytes, mode: int, directory: int, on_problem: Callable[[str], None], *, follow: bool
) -> Description:
    """Describe one entry of an open directory, without ever opening it.

    `follow` is for a symlink on the way to a configured path, which is stored as a directory.
    """
    target = b""
    if stat.S_ISLNK(mode):
        try:
            target = os.readlink(name, dir_fd=directory)
        except OSError as error:
            on_problem(f"its target cannot be read: {error.strerror}")
            return Description()
    # Extended attributes have no call with a directory's descriptor, but /proc makes a path of one.
    path = b"/proc/self/fd/%d/%s" % (directory, name)
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            on_problem(f"its extended attributes cannot be listed: {error.strerror}")
        return Description(target)
    if not names:
        return Description(target)
    return Description(target, _values(path, names, on_problem, follow=follow))


def _values(
    path: bytes, names: list[str], on_problem: Callable[[str], None], *, follow: bool
) -> tuple[tuple[bytes, bytes], ...]:
    values = [(os.fsencode(name), _value(path, name, on_problem, follow=follow)) for name in names]
    return tuple(sorted((name, value) for name, value in values if value is not None))


def _value(path: bytes, name: str, on_problem: Callable[[str], None], *, follow: bool) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=follow)
    except OSError as error:
        # One that was removed since it was listed is no longer part of the entry.
        if error.errno != errno.ENODATA:
            on_problem(f"its extended attribute {name} cannot be read: {error.strerror}")
        return None
