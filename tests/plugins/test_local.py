"""The transport `file`: the whole contract, and what a directory brings with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.spi import NoConfig
from bitbacker.testing.transport import Connect, TransportContract
from bitbacker_plugins.local import LocalTransport


def connect_to(path: Path) -> LocalTransport:
    return LocalTransport(path.as_uri(), NoConfig())


class TestLocalKeepsTheContract(TransportContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda: connect_to(tmp_path / "repository")
