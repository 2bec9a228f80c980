"""The transport `memory`: the whole contract, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitbacker.errors import ConfigError, StorageError
from bitbacker.spi import NoConfig
from bitbacker.testing.transport import Connect, TransportContract
from bitbacker_plugins.memory import MemoryTransport, bitbacker_transport


def connect_to(url: str) -> MemoryTransport:
    return MemoryTransport(url, NoConfig())


class TestMemoryKeepsTheContract(TransportContract):
    @pytest.fixture
    def connect(self, request: pytest.FixtureRequest) -> Iterator[Connect]:
        url = f"memory://{request.node.name}"
        yield lambda: connect_to(url)
        MemoryTransport.drop(url)


def test_it_answers_to_its_name_only() -> None:
    assert bitbacker_transport("memory") is MemoryTransport
    assert bitbacker_transport("file") is None


def test_stores_of_different_urls_are_separate() -> None:
    connect_to("memory://one").put("keyslots", b"1")
    assert list(connect_to("memory://two").list("")) == []
    MemoryTransport.drop("memory://one")


def test_a_dropped_store_is_empty_for_the_next_who_opens_it() -> None:
    connect_to("memory://dropped").put("keyslots", b"1")
    MemoryTransport.drop("memory://dropped")
    MemoryTransport.drop("memory://never made")
    assert list(connect_to("memory://dropped").list("")) == []


def test_a_closed_connection_refuses() -> None:
    transport = connect_to("memory://closed")
    transport.close()
    with pytest.raises(StorageError, match="closed already"):
        transport.get("keyslots")
    with pytest.raises(StorageError, match="closed already"):
        transport.list("")


@pytest.mark.parametrize("url", ["memory://", "memory:", "file:///x", ""])
def test_a_url_without_a_name_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match="write memory:// and a name"):
        connect_to(url)
