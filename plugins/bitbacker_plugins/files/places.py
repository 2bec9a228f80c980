"""The configured paths as one tree, so that paths which share parents share their listings."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable

from bitbacker.errors import SourceError, SourceMissing
from bitbacker_plugins.files.config import where


class Place:
    """A directory or file that is a configured path, or lies on the way to one."""

    __slots__ = ("children", "named")

    def __init__(self) -> None:
        self.children: dict[bytes, Place] = {}
        self.named = False


def plant(paths: Iterable[str]) -> Place:
    """The tree of these absolute paths; `.`, `..` and doubled slashes are resolved in the text."""
    root = Place()
    for path in paths:
        place = root
        for name in components(path):
            place = place.children.setdefault(name, Place())
        place.named = True
    return root


def components(path: str) -> list[bytes]:
    """The names in an absolute path."""
    normal = os.fsencode(posixpath.normpath(path)).strip(b"/")
    return normal.split(b"/") if normal else []


def check_presence(path: str) -> None:
    """Raise `SourceMissing` for a path that does not exist, `SourceError` for one out of reach."""
    try:
        os.lstat(posixpath.normpath(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceMissing(f"{where(path)}the path {path} does not exist") from error
    except OSError as error:
        raise SourceError(f"{where(path)}the path {path} cannot be reached: {error.strerror}") from error


def check_links(root: Place) -> None:
    """Refuse a path through a symlink that another path backs up as a link.

    A symlink on the way to a path is followed and stored as a directory.  Where a path above it (or
    the symlink as a path of its own) asks for the link itself, one entry would have to be both.
    """
    waiting = [(b"", root, root.named)]
    while waiting:
        path, place, wanted = waiting.pop()
        for name, child in place.children.items():
            below = path + b"/" + name
            if child.children and (wanted or child.named) and _is_symlink(below):
                text = os.fsdecode(below)
                raise SourceError(
                    f"a path of this source leads through the symlink {text}, "
                    "which another path backs up as a link",
                    hint=f"name {os.path.realpath(text)} instead of {text}",
                )
            waiting.append((below, child, wanted or child.named))


def _is_symlink(path: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        # What is gone or out of reach by now is reported when the walk comes there.
        return False
