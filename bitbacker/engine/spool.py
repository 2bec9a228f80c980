"""Listings put aside in memory, compressed, until it is known which of them are needed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import zstandard

from bitbacker.format.wire import Reader, Writer
from bitbacker.spi import Listing

_BATCH_BYTES = 1024 * 1024


class ListingSpool:
    """Takes listings in order and gives some of them back by their number in that order."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._frames: list[bytes] = []
        self._firsts: list[int] = []
        self._count = 0
        self._batch: list[Listing] = []
        self._batch_bytes = 0

    def add(self, listing: Listing) -> None:
        """Put the next listing aside."""
        self._batch.append(listing)
        self._batch_bytes += len(listing.rows)
        self._count += 1
        if self._batch_bytes >= _BATCH_BYTES:
            self._pack()

    def _pack(self) -> None:
        writer = Writer()
        for listing in self._batch:
            writer.blob(listing.path)
            writer.blob(b"\0".join(listing.names))
            writer.blob(listing.rows)
        self._firsts.append(self._count - len(self._batch))
        self._frames.append(self._compressor.compress(writer.bytes()))
        self._batch, self._batch_bytes = [], 0

    def pick(self, numbers: Sequence[int]) -> Iterator[tuple[int, Listing]]:
        """The listings of these ascending numbers, each with its number."""
        if self._batch:
            self._pack()
        wanted = set(numbers)
        for first, frame, end in zip(
            self._firsts, self._frames, [*self._firsts[1:], self._count], strict=True
        ):
            if not wanted.isdisjoint(range(first, end)):
                yield from (
                    (number, listing) for number, listing in _unpacked(frame, first) if number in wanted
                )


def _unpacked(frame: bytes, first: int) -> Iterator[tuple[int, Listing]]:
    reader = Reader(zstandard.ZstdDecompressor().decompress(frame))
    number = first
    while reader.left:
        path, names, rows = reader.blob(), reader.blob(), reader.blob()
        yield number, Listing(path, tuple(names.split(b"\0")) if rows else (), rows)
        number += 1
