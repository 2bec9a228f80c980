"""What a connection says of itself, from how many threads it is used, and how it ends."""

from __future__ import annotations

import dataclasses

from bitbacker.spi import API_VERSION, Abilities, ObjectInfo, Transport
from bitbacker.testing.transport.stage import (
    OBJECT_SIZES_BYTES,
    Connect,
    Connected,
    head,
    in_threads,
    payload,
    segment,
)


class Using(Connected, kit=True):
    """Version, abilities, threads, closing."""

    def test_it_is_made_for_this_version_of_the_contract(self, transport: Transport) -> None:
        assert transport.api_version == API_VERSION
        assert dataclasses.is_dataclass(transport.Config)

    def test_abilities_are_sane_and_do_not_change(self, transport: Transport) -> None:
        abilities = transport.abilities
        assert isinstance(abilities, Abilities)
        assert abilities.concurrency >= 1
        limit_bytes = abilities.max_object_size_bytes
        assert limit_bytes == 0 or limit_bytes >= max(OBJECT_SIZES_BYTES)
        assert not abilities.read_only, "the kit needs a storage that it may write to"
        transport.put(head(1), b"x")
        assert transport.abilities == abilities

    def test_all_calls_may_come_from_many_threads(self, transport: Transport) -> None:
        append_only = transport.abilities.append_only

        def work(worker: int) -> None:
            for turn in range(10):
                name = segment(worker * 1_000 + turn)
                data = payload(10_000 + worker, name)
                transport.put(name, data)
                assert transport.get(name) == data
                assert ObjectInfo(name, len(data)) in list(transport.list("segments/"))
                if not append_only:
                    transport.delete([name])
                    assert name not in [row.name for row in transport.list("segments/")]

        in_threads(max(8, transport.abilities.concurrency), work)

    def test_closing_twice_is_harmless_and_touches_no_other_connection(
        self, connect: Connect, other: Transport
    ) -> None:
        unused = connect()
        unused.close()
        unused.close()
        used = connect()
        used.put(head(1), b"x")
        used.close()
        used.close()
        assert other.get(head(1)) == b"x"
        assert [row.name for row in other.list("")] == [head(1)]
