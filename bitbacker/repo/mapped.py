"""Memory of segments and arenas, apart from that of everything else."""

from __future__ import annotations

import mmap


def mapped(size_bytes: int) -> memoryview:
    """Zeros that can be written to.

    They are a mapping of their own, which goes back to the system as soon as it is let go of.  What is
    allocated and freed among small things leaves holes that the process keeps.
    """
    return memoryview(mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
