"""The transport `sftp` on a real OpenSSH server: the whole contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bitbacker.testing.patience import patient
from bitbacker.testing.transport import Connect, TransportContract
from bitbacker_plugins.sftp import SftpTransport, bitbacker_transport
from sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("server") / "sshd") as sshd:
        yield sshd


class TestSftpKeepsTheContract(TransportContract):
    @pytest.fixture
    def connect(self, sshd: Sshd, tmp_path: Path) -> Connect:
        return lambda: patient(sshd.transport(tmp_path / "repository"))


def test_it_answers_to_the_scheme_of_its_urls_only() -> None:
    assert bitbacker_transport("sftp") is SftpTransport
    assert bitbacker_transport("ssh") is None
