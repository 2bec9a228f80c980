"""Listings are complete, in order, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from bitbacker.errors import StorageError
from bitbacker.spi import ObjectInfo, Transport
from bitbacker.testing.transport.stage import (
    CONNECTIONS,
    Connect,
    Connected,
    head,
    in_threads,
    meanwhile,
    put_all,
    segment,
    spread_names,
)

REFUSED_PREFIXES = ("heads", "/", "../", "heads/../", "Heads/", "heads/0", head(1), f"{head(1)}/", "heads/\n")


class Listing(Connected, kit=True):
    """Listings, long ones too, while others change what is listed."""

    listing_length: ClassVar[int] = 5_000
    """How many objects a complete listing is tested with; more than one page of the storage."""

    def test_a_place_that_does_not_exist_lists_as_empty(self, transport: Transport) -> None:
        for prefix in ("", "heads/", "segments/"):
            assert list(transport.list(prefix)) == []
        transport.put(head(1), b"x")
        assert list(transport.list("segments/")) == []

    def test_a_listing_has_what_begins_with_the_prefix_and_nothing_else(self, transport: Transport) -> None:
        names = ["a/" + "0" * 16, "aa/" + "0" * 16, "aa/" + "0" * 32, "ab", "b/" + "f" * 16, "keyslots"]
        for size_bytes, name in enumerate(reversed(names)):
            transport.put(name, bytes(size_bytes))
        rows = [ObjectInfo(name, len(names) - 1 - place) for place, name in enumerate(names)]
        assert list(transport.list("")) == rows
        assert list(transport.list("a/")) == rows[0:1]
        assert list(transport.list("aa/")) == rows[1:3]
        assert list(transport.list("b/")) == rows[4:5]

    @pytest.mark.parametrize("prefix", REFUSED_PREFIXES)
    def test_a_prefix_out_of_pattern_is_refused(self, transport: Transport, prefix: str) -> None:
        transport.put(head(1), b"x")
        with pytest.raises(StorageError):
            list(transport.list(prefix))

    def test_a_long_listing_is_complete_and_ascends(self, connect: Connect) -> None:
        names = spread_names(self.listing_length)
        connections = [connect() for _ in range(CONNECTIONS)]

        def fill(worker: int) -> None:
            for name in names[worker :: len(connections)]:
                connections[worker].put(name, bytes(int(name[-1], 16)))

        in_threads(len(connections), fill)
        expected = [ObjectInfo(name, int(name[-1], 16)) for name in sorted(names)]
        for connection in connections[:2]:
            assert list(connection.list("segments/")) == expected
        assert list(connections[0].list("")) == expected
        for connection in connections:
            connection.close()

    def test_a_deletion_during_a_long_listing_hides_nothing_else(
        self, transport: Transport, other: Transport
    ) -> None:
        if transport.abilities.append_only:
            return
        names = sorted(spread_names(min(self.listing_length, 2_000)))
        put_all(transport, names)
        rows = other.list("segments/")
        listed = [next(rows).name for _ in range(2)]
        transport.delete(names[1::2])
        listed += [row.name for row in rows]
        assert listed == sorted(set(listed))
        assert [name for name in listed if name in set(names[::2])] == names[::2]

    def test_listings_are_independent_and_may_be_left_early(self, transport: Transport) -> None:
        names = [head(number) for number in range(20)]
        for name in names:
            transport.put(name, b"x")
        first, second = transport.list("heads/"), transport.list("heads/")
        assert next(first).name == next(second).name == names[0]
        assert [row.name for row in second] == names[1:]
        assert [row.name for row in first] == names[1:]
        left_early = transport.list("heads/")
        next(left_early)
        del left_early
        transport.put(head(20), b"x")
        assert len(list(transport.list("heads/"))) == len(names) + 1

    def test_what_stays_is_listed_while_others_come_and_go(
        self, transport: Transport, other: Transport
    ) -> None:
        staying = [segment(number) for number in range(0, 100, 2)]
        put_all(transport, staying)

        def come_and_go() -> Iterator[None]:
            for number in range(1, 100, 2):
                transport.put(segment(number), b"x")
                yield
                if not transport.abilities.append_only:
                    transport.delete([segment(number)])
                    yield

        def look() -> None:
            listed = [row.name for row in other.list("segments/")]
            assert listed == sorted(set(listed))
            assert set(staying) <= set(listed), "an object that was never touched is not listed"

        meanwhile(come_and_go(), look)
