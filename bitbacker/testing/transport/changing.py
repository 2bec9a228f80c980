"""What others see of a change: all of it or nothing, and at once; and deleting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitbacker.errors import ObjectMissing, StorageDenied
from bitbacker.spi import Transport
from bitbacker.testing.transport.stage import (
    KIB,
    MIB,
    Connected,
    eager_switching,
    head,
    in_threads,
    meanwhile,
    payload,
    put_all,
    segment,
)


class Changing(Connected, kit=True):
    """Atomicity, visibility, deletion."""

    def test_a_change_is_seen_by_others_at_once(self, transport: Transport, other: Transport) -> None:
        for number in range(20):
            name = segment(number)
            with pytest.raises(ObjectMissing):
                other.get(name)
            transport.put(name, payload(4 * KIB))
            assert [row.name for row in other.list("segments/")][-1] == name
            assert other.get(name) == payload(4 * KIB)
        if transport.abilities.append_only:
            return
        for number in range(20):
            transport.delete([segment(number)])
            assert segment(number) not in [row.name for row in other.list("segments/")]
            with pytest.raises(ObjectMissing):
                other.get(segment(number))

    def test_nobody_sees_a_part_of_an_object(self, transport: Transport, other: Transport) -> None:
        names = [segment(number) for number in range(8)]
        data = payload(4 * MIB)

        def write() -> Iterator[None]:
            for name in names:
                transport.put(name, data)
                yield

        def look() -> None:
            for row in other.list("segments/"):
                assert row.size_bytes == len(data), "a listing shows an object that is not whole"
            for name in names:
                try:
                    got = other.get(name)
                except ObjectMissing:
                    return
                assert got == data, "a reader got an object that is not whole"

        meanwhile(write(), look)
        assert [row.name for row in other.list("segments/")] == names

    def test_a_replaced_object_is_the_old_or_the_new_one(
        self, transport: Transport, other: Transport
    ) -> None:
        if transport.abilities.append_only:
            return
        contents = [payload(256 * KIB + number, "replaced") for number in range(10)]
        transport.put("keyslots", contents[0])
        seen = [0]

        def replace() -> Iterator[None]:
            for data in contents[1:]:
                transport.put("keyslots", data, replace=True)
                yield

        def look() -> None:
            got = other.get("keyslots")
            assert got in contents, "a reader got neither the old nor the new object"
            now = contents.index(got)
            assert now >= seen[-1], "a reader saw an older object again"
            seen.append(now)

        meanwhile(replace(), look, observers=1)
        assert other.get("keyslots") == contents[-1]

    def test_deleted_objects_are_gone_and_others_stay(self, transport: Transport, other: Transport) -> None:
        names = ["keyslots", *(head(n) for n in range(10)), *(segment(n) for n in range(10))]
        for name in names:
            transport.put(name, b"x")
        doomed = ["keyslots", head(3), *(segment(n) for n in range(0, 10, 2))]
        if transport.abilities.append_only:
            with pytest.raises(StorageDenied):
                transport.delete(doomed)
            assert [row.name for row in transport.list("")] == sorted(names)
            return
        transport.delete(iter(doomed))
        for reader in (transport, other):
            assert [row.name for row in reader.list("")] == sorted(set(names) - set(doomed))
            for name in doomed:
                with pytest.raises(ObjectMissing):
                    reader.get(name)

    def test_an_absent_object_counts_as_deleted(self, transport: Transport, other: Transport) -> None:
        if transport.abilities.append_only:
            return
        transport.delete([])
        transport.delete(["keyslots", head(1), segment(1)])
        transport.put(head(1), b"x")
        transport.put(head(2), b"x")
        transport.delete([head(0), head(1), head(1), segment(1)])
        transport.delete([head(1)])
        other.delete([head(1)])
        assert [row.name for row in transport.list("")] == [head(2)]

    def test_racing_deletions_all_succeed(self, transport: Transport, other: Transport) -> None:
        if transport.abilities.append_only:
            return
        names = [segment(number) for number in range(100)]
        put_all(transport, names)
        with eager_switching():
            in_threads(8, lambda worker: (transport, other)[worker % 2].delete(names))
        assert list(transport.list("")) == []
