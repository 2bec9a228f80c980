"""Finding the directory that is restored into, and seeing that nothing is in the way."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bitbacker.engine.target_directories import OPEN_DIRECTORY
from bitbacker.errors import TargetError, TargetNotEmpty

_PASS_THROUGH = os.O_PATH | OPEN_DIRECTORY


def check_target(path: Path, *, resume: bool) -> None:
    """See that `path` can be restored into; nothing is made.

    Raises `TargetNotEmpty` when there is something in it and `resume` is not set, `TargetError` when
    it is no directory or cannot be read.
    """
    try:
        _refuse_full(path, os.listdir(path), resume=resume)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TargetError(f"{path} cannot be restored into: {error.strerror}") from error


def open_root(path: Path, *, resume: bool) -> int:
    """Open an absolute path without symlinks; directories that are missing are made, for nobody else.

    The walk starts at the top and follows nothing, so that a symlink which somebody puts on the way
    after the path was looked at is an error.  Raises `TargetNotEmpty`, `OSError`.
    """
    here = os.open("/", _PASS_THROUGH)
    try:
        *way, name = path.parts[1:] or (".",)
        for part in way:
            below = _enter(part, here, _PASS_THROUGH)
            os.close(here)
            here = below
        root = _enter(name, here, OPEN_DIRECTORY)
    finally:
        os.close(here)
    try:
        _refuse_full(path, os.listdir(root), resume=resume)
    except BaseException:
        os.close(root)
        raise
    return root


def _enter(name: str, directory: int, flags: int) -> int:
    with suppress(FileNotFoundError):
        return os.open(name, flags, dir_fd=directory)
    os.mkdir(name, 0o700, dir_fd=directory)
    return os.open(name, flags, dir_fd=directory)


def _refuse_full(path: Path, names: list[str], *, resume: bool) -> None:
    if names and not resume:
        raise TargetNotEmpty(f"{path} is not empty")
