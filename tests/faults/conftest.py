"""Servers that run for the whole session, each started when the first test needs it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from far_servers import SERVERS, FarServer, running


@pytest.fixture(scope="session", params=SERVERS)
def far(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarServer]:
    """Each server."""
    with running(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A place of this test's own; the servers are those of other tests too."""
    return f"place-{zlib.crc32(request.node.nodeid.encode()):08x}"
