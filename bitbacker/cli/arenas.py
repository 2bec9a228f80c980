"""How the C library hands out memory to threads."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8


def one_arena() -> None:
    """Let all threads allocate from one part of memory, where the C library is glibc.

    It would make one for nearly every thread, and what is free in one is of no use to another: with
    blocks and segments of megabytes a dozen threads hold twice the memory that they use.  What they
    allocate is large and seldom, so that they hardly ever wait for each other.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
