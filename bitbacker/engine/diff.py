"""The walk and the stored tree side by side: two streams in table order, merged by directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitbacker.format.entries import directory_key
from bitbacker.repo.tree import TreeDirectory
from bitbacker.spi import Listing


@dataclass(frozen=True, slots=True)
class Meeting:
    """One directory: as it is now, as it is stored, or both."""

    listing: Listing | None
    stored: TreeDirectory | None


def meet(listings: Iterator[Listing], stored: Iterator[TreeDirectory]) -> Iterator[Meeting]:
    """Every directory of either stream, once, in table order."""
    old = next(stored, None)
    for listing in listings:
        key = directory_key(listing.path)
        while old is not None and old.key < key:
            yield Meeting(None, old)
            old = next(stored, None)
        if old is not None and old.key == key:
            yield Meeting(listing, old)
            old = next(stored, None)
        else:
            yield Meeting(listing, None)
    while old is not None:
        yield Meeting(None, old)
        old = next(stored, None)
