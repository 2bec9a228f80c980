"""The caller's bytes as botocore wants to read them."""

from __future__ import annotations

import os

_SLICE_BYTES = 64 * 1024


class Body:
    """A file over a buffer.

    botocore takes no memoryview, and a copy of every segment would cost time and memory.  It also
    matters that it is read in slices: a timeout counts for the sending of one piece, and a whole
    segment may take longer on a slow line although it moves.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size_bytes: int | None = None) -> memoryview:
        """The next bytes, as a view; empty at the end."""
        wanted_bytes = (
            len(self._view) if size_bytes is None or size_bytes < 0 else max(size_bytes, _SLICE_BYTES)
        )
        begin = self._position
        self._position = min(begin + wanted_bytes, len(self._view))
        return self._view[begin : self._position]

    def seek(self, offset_bytes: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._view)}[whence]
        self._position = min(max(origin + offset_bytes, 0), len(self._view))
        return self._position

    def tell(self) -> int:
        return self._position
