"""The overwrite rule: what has a name keeps it, and of racing writers one is first."""

from __future__ import annotations

from threading import Barrier

import pytest

from bitbacker.errors import ObjectExists, StorageDenied
from bitbacker.spi import ObjectInfo, Transport
from bitbacker.testing.transport.stage import (
    CONNECTIONS,
    KIB,
    TIMEOUT_S,
    Connect,
    Connected,
    eager_switching,
    head,
    in_threads,
    payload,
    segment,
)

RACERS = 32
RACES = 24


class Overwriting(Connected, kit=True):
    """Puts under a name that is taken."""

    @pytest.mark.parametrize("second", [b"first", b"other", b"", b"longer than the first"])
    def test_an_existing_name_is_never_changed(
        self, transport: Transport, other: Transport, second: bytes
    ) -> None:
        for name in ("keyslots", head(1), segment(1)):
            transport.put(name, b"first")
            for late in (transport, other):
                with pytest.raises(ObjectExists) as caught:
                    late.put(name, second)
                assert caught.value.name == name
                assert transport.get(name) == b"first"
                assert other.get(name) == b"first"
        assert [row.size_bytes for row in transport.list("")] == [5, 5, 5]

    def test_replace_changes_an_existing_object(self, transport: Transport, other: Transport) -> None:
        transport.put("keyslots", b"first")
        if transport.abilities.append_only:
            with pytest.raises(StorageDenied):
                transport.put("keyslots", b"second", replace=True)
            assert transport.get("keyslots") == b"first"
            return
        for data in (b"second and longer", b"3", b"", payload(4 * KIB)):
            transport.put("keyslots", data, replace=True)
            assert transport.get("keyslots") == data
            assert other.get("keyslots") == data
            assert list(other.list("")) == [ObjectInfo("keyslots", len(data))]
        with pytest.raises(ObjectExists):
            transport.put("keyslots", b"exclusive")

    def test_replace_makes_an_absent_object(self, transport: Transport) -> None:
        if transport.abilities.append_only:
            return
        transport.put("keyslots", b"x", replace=True)
        assert transport.get("keyslots") == b"x"

    def test_of_racing_puts_exactly_one_wins(self, connect: Connect) -> None:
        connections = [connect() for _ in range(CONNECTIONS)]
        if not connections[0].abilities.exclusive_put:
            pytest.skip("the transport says of itself that it has no exclusive put")
        barrier = Barrier(RACERS, timeout=TIMEOUT_S)
        contents = [payload(4 * KIB, f"racer {racer}") for racer in range(RACERS)]

        def race(racer: int) -> list[int]:
            """Numbers of the races that this one won."""
            won = []
            for number in range(RACES):
                barrier.wait()
                try:
                    connections[racer % CONNECTIONS].put(head(number), contents[racer])
                except ObjectExists:
                    continue
                won.append(number)
            return won

        with eager_switching():
            won = in_threads(RACERS, race)
        winners = [[racer for racer in range(RACERS) if number in won[racer]] for number in range(RACES)]
        assert [len(racers) for racers in winners] == [1] * RACES, "not exactly one winner in each race"
        for connection in connections:
            for number, (racer,) in enumerate(winners):
                assert connection.get(head(number)) == contents[racer], "the winner's bytes are not stored"
            connection.close()
