"""Making a repository: once, by one of many, and after any crash."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import pytest

from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import (
    NotExclusive,
    RepositoryMissing,
    RepositoryPresent,
    StorageDenied,
    StorageError,
    WrongPassword,
)
from bitbacker.repo.create import create, probe_exclusive
from bitbacker.repo.open import Repository, open_repository
from bitbacker.repo.settings import LocalPaths, RepositoryOptions
from bitbacker.repo.storage import Storage
from bitbacker.spi import Buffer, Transport
from bitbacker.testing.faults import Crash, CrashingTransport, FailingTransport, Fault, WrappedTransport
from lab import CONSTANTS, Lab, Maker, back_up, contents, tree

OPTIONS = RepositoryOptions(CONSTANTS.cipher, CONSTANTS.chunker)
SECRET = Unlocker("correct horse")


@pytest.fixture
def transport(tmp_path: Path) -> Transport:
    return Lab(tmp_path / "lab").transport


def make(transport: Transport, folder: Path, secret: Unlocker = SECRET) -> Repository:
    return create(transport, secret, OPTIONS, Maker(), LocalPaths(folder / "c", folder / "s"))


def open_it(transport: Transport, folder: Path, secret: Unlocker = SECRET) -> Repository:
    return open_repository(transport, secret, Maker(), LocalPaths(folder / "c", folder / "s"))


def test_a_new_repository_opens_and_is_empty(transport: Transport, tmp_path: Path) -> None:
    make(transport, tmp_path)
    repository = open_it(transport, tmp_path)
    assert repository.catalog(repository.newest()).snapshots == ()


def test_there_is_no_repository_where_none_was_made(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(RepositoryMissing):
        open_it(transport, tmp_path)


def test_a_second_repository_is_refused_and_the_first_one_stays(transport: Transport, tmp_path: Path) -> None:
    make(transport, tmp_path)
    with pytest.raises(RepositoryPresent):
        make(transport, tmp_path, Unlocker("another"))
    open_it(transport, tmp_path)


def test_another_password_does_not_open(transport: Transport, tmp_path: Path) -> None:
    make(transport, tmp_path)
    with pytest.raises(WrongPassword):
        open_it(transport, tmp_path, Unlocker("wrong"))


def test_of_two_who_make_it_at_once_one_wins_and_its_repository_works(
    transport: Transport, tmp_path: Path
) -> None:
    outcomes: dict[str, str] = {}

    def one(name: str) -> None:
        try:
            make(transport, tmp_path / name, Unlocker(name))
            outcomes[name] = "made"
        except RepositoryPresent:
            outcomes[name] = "refused"

    threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [name for name, outcome in outcomes.items() if outcome == "made"]
    assert len(made) == 1, outcomes
    open_it(transport, tmp_path / "third", Unlocker(made[0]))


@pytest.mark.parametrize("mode", ["before", "after"])
def test_whatever_operation_it_dies_at_the_next_run_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: Literal["before", "after"]
) -> None:
    counting = CrashingTransport(Lab(tmp_path / "count").transport)
    make(counting, tmp_path / "count")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")
    for at in range(1, counting.count + 1):
        transport = Lab(tmp_path / f"{at}").transport
        with pytest.raises(Crash):
            make(CrashingTransport(transport, at, mode), tmp_path / f"{at}")
        try:
            repository = make(transport, tmp_path / f"{at}")
        except RepositoryPresent:
            repository = open_it(transport, tmp_path / f"{at}")
        snapshot = back_up(repository, source).snapshot
        assert tree(source) == contents(repository, snapshot)
    with capsys.disabled():
        print(f"\ninit, {mode}: {counting.count} of {counting.count} operations")


class _Overwriting(WrappedTransport):
    """A storage that lets every writer win."""

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        del replace
        super().put(name, data, replace=True)


def test_a_storage_that_lets_every_writer_win_is_refused(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(NotExclusive):
        make(_Overwriting(transport), tmp_path)
    assert list(transport.list("")) == []


def broken() -> StorageError:
    return StorageError("the connection broke")


def denied() -> StorageError:
    return StorageDenied("not yours")


@pytest.mark.parametrize("executed", [False, True])
def test_the_probe_is_not_disturbed_by_a_connection_that_breaks(transport: Transport, executed: bool) -> None:
    for nth in range(1, 9):
        failing = FailingTransport(transport, Fault("put", broken, nth, executed=executed))
        storage = Storage(failing, sleep=lambda _: None)
        probe_exclusive(storage)
        assert 1 == failing.struck
        assert [] == list(transport.list("segments/"))


def test_the_probe_ends_when_no_put_ever_succeeds(transport: Transport) -> None:
    failing = FailingTransport(transport, Fault("put", broken, forever=True))
    with pytest.raises(StorageError, match="the connection broke"):
        probe_exclusive(Storage(failing, sleep=lambda _: None))


def test_the_probe_tells_of_a_refusal_at_once(transport: Transport) -> None:
    failing = FailingTransport(transport, Fault("put", denied, 3, forever=True))
    with pytest.raises(StorageDenied):
        probe_exclusive(Storage(failing, sleep=lambda _: pytest.fail("it waited")))
