"""Where the content of a file with holes goes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from bitbacker.format.extras import ExtentRef


class Layout:
    """Maps positions in the content of a file, which has no holes, to offsets in the file."""

    def __init__(self, extents: tuple[ExtentRef, ...]) -> None:
        self._extents = extents
        self._starts = [0, *accumulate(extent.size_bytes for extent in extents)]

    def place(self, position: int, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Cut a piece of content at holes: offsets in the file, and what goes there."""
        number = bisect_right(self._starts, position) - 1
        while data:
            extent, inside = self._extents[number], position - self._starts[number]
            part = data[: extent.size_bytes - inside]
            yield extent.offset_bytes + inside, part
            data = data[len(part) :]
            position += len(part)
            number += 1
