"""Each system call of the transport `file` fails: never a wrong success, never half an object."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bitbacker.errors import (
    NotExclusive,
    ObjectExists,
    ObjectMissing,
    StorageDenied,
    StorageError,
    StorageFull,
)
from bitbacker.testing.transport import head, segment
from bitbacker_plugins import local
from bitbacker_plugins.local import LocalTransport, directories, temporary
from local_client import Client, client_on, directory_in_memory
from simulated_disk import SimulatedDisk

CLASSES = {errno.ENOSPC: StorageFull, errno.EIO: StorageError}
MORE_CLASSES = {
    errno.EDQUOT: StorageFull,
    errno.EROFS: StorageDenied,
    errno.EACCES: StorageDenied,
    errno.EPERM: StorageDenied,
    errno.ESTALE: StorageError,
    errno.ENAMETOOLONG: StorageError,
}


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


def put_the_first(client: Client) -> None:
    client.put("keyslots", b"slots")


def put_another(client: Client) -> None:
    client.put(segment(7), b"another segment")


def put_the_first_of_a_directory(client: Client) -> None:
    client.put(head(7), b"a head")


def put_a_taken_name(client: Client) -> None:
    client.put(segment(1), b"too late")


def replace(client: Client) -> None:
    client.put("keyslots", b"other slots", replace=True)


def delete(client: Client) -> None:
    client.delete(segment(1), segment(9), "keyslots")


def get(client: Client) -> None:
    assert client.transport.get(segment(1)) == b"first segment"


def list_all(client: Client) -> None:
    assert [row.name for row in client.transport.list("")] == ["keyslots", segment(1)]


def prepare(client: Client, scenario: Callable[[Client], None]) -> None:
    """What is there before the call that fails; a process of its own made it."""
    if scenario is not put_the_first:
        client.put("keyslots", b"slots")
        client.put(segment(1), b"first segment")
        client.restart()


def errors_at_every_call(
    base: Path, scenario: Callable[[Client], None], number: int, *, lasting: bool
) -> Iterator[tuple[Client, BaseException | None]]:
    """The client and what it met, once for every call that the scenario makes."""
    for at in range(1, 100):
        directory = base / str(at)
        directory.mkdir()
        with client_on(directory) as client:
            prepare(client, scenario)
            client.disk.fail(at, lambda: OSError(number, os.strerror(number)), lasting=lasting)
            met: BaseException | None = None
            try:
                scenario(client)
            except StorageError as error:
                met = error
            struck = client.disk.failed
            client.disk.heal()
            yield client, met
        if not struck:
            assert met is None
            assert at > 3, "the scenario makes hardly any call"
            return
    raise AssertionError("the scenario never ends")


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("number", CLASSES, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize(
    "scenario",
    [
        put_the_first,
        put_another,
        put_the_first_of_a_directory,
        put_a_taken_name,
        replace,
        delete,
        get,
        list_all,
    ],
)
def test_a_failing_call_is_told_or_harmless(
    in_memory: Path, scenario: Callable[[Client], None], number: int, *, lasting: bool
) -> None:
    descriptors = os.listdir("/proc/self/fd")
    told = 0
    for client, met in errors_at_every_call(in_memory, scenario, number, lasting=lasting):
        if met is not None:
            assert type(met) is CLASSES[number]
            assert isinstance(met.__cause__, OSError)
            told += 1
        # What was acknowledged, in spite of a failure or not, was checked in every state after a power
        # cut.  What this process sees now is one of them: all or nothing, and no other object harmed.
        client.check()
        reader = client.connect()
        for row in reader.list(""):
            assert reader.get(row.name) in client.allowed[row.name]
        assert client.promised <= {row.name for row in reader.list("")}
        # The same process may try again, and believes no disk that has failed to sync a directory.
        try_again(client, scenario)
        client.restart()
        try_again(client, scenario)
        client.transport.delete([])
        temporaries = client.disk.base / "srv" / "repository" / ".tmp"
        assert not temporaries.exists() or list(temporaries.iterdir()) == []
    assert told > 3, "hardly any failure was told"
    assert len(os.listdir("/proc/self/fd")) == len(descriptors), "descriptors were left open"


def try_again(client: Client, scenario: Callable[[Client], None]) -> None:
    if scenario in {get, list_all}:
        scenario(client)
        return
    try:
        scenario(client)
    except StorageError as error:
        assert "failed to confirm an earlier write" in str(error)  # noqa: PT017  # it may also succeed
    client.check()


@pytest.mark.parametrize("number", CLASSES | MORE_CLASSES, ids=lambda number: errno.errorcode[number])
def test_the_class_of_an_error_says_what_is_wrong(in_memory: Path, number: int) -> None:
    with client_on(in_memory) as client:
        prepare(client, put_another)
        client.disk.fail(1, lambda: OSError(number, os.strerror(number)))
        with pytest.raises(StorageError, match=os.strerror(number)) as caught:
            client.transport.get(segment(1))
        assert caught.type is (CLASSES | MORE_CLASSES)[number]


def test_a_wrong_success_would_be_seen(in_memory: Path) -> None:
    """Control: a transport that swallows what its syncs say."""

    def sync(_: directories.Directories, directory: int) -> None:
        with suppress(OSError):
            client.disk.fsync(directory)

    lost = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directories.Directories, "sync", sync)
        for at in range(1, 40):
            directory = in_memory / str(at)
            directory.mkdir()
            with client_on(directory) as client:
                client.disk.fail(at, lambda: OSError(errno.EIO, "injected"))
                try:
                    put_the_first(client)
                except StorageError:
                    continue
                except AssertionError:
                    lost += 1
    assert lost > 0


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_a_file_system_without_hard_links_is_refused_loudly(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class Linkless(SimulatedDisk):
        def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            del source, target, src_dir_fd, dst_dir_fd
            raise OSError(number, os.strerror(number))

    del monkeypatch
    with client_on(in_memory, Linkless(in_memory)) as client:
        with pytest.raises(NotExclusive, match="hard links"):
            client.put(segment(1), b"x")
        assert list(client.transport.list("")) == []
        client.put("keyslots", b"needs no link", replace=True)
        assert list((in_memory / "srv" / "repository" / ".tmp").iterdir()) == []


def test_a_failed_fsync_of_a_file_is_not_repeated_on_it(in_memory: Path) -> None:
    with client_on(in_memory) as client:
        client.put(segment(1), b"makes the directories")
        synced: list[int] = []

        class FailsOnce(SimulatedDisk):
            def fsync(self, fd: int) -> None:
                synced.append(os.fstat(fd).st_ino)
                if len(synced) == 1:
                    raise OSError(errno.EIO, "injected")
                super().fsync(fd)

        client.disk.__class__ = FailsOnce
        with pytest.raises(StorageError):
            client.put(segment(2), b"x")
        assert len(synced) == 1
        with pytest.raises(ObjectMissing):
            client.transport.get(segment(2))
        client.put(segment(2), b"x")
        assert client.transport.get(segment(2)) == b"x"


def test_after_a_directory_failed_to_sync_nothing_is_acknowledged(in_memory: Path) -> None:
    """A second fsync would say that all is well, whatever the kernel threw away."""
    with client_on(in_memory) as client:
        client.put(segment(1), b"makes the directories")
        client.disk.heal()
        client.put(segment(2), b"for its calls")
        last_sync = len(client.disk.calls) - client.disk.calls[::-1].index("fsync")
        client.disk.fail(last_sync, lambda: OSError(errno.EIO, "injected"))
        with pytest.raises(StorageError):
            client.put(segment(3), b"x")
        for name in (segment(3), segment(4), head(1)):
            with pytest.raises(StorageError, match="failed to confirm"):
                client.transport.put(name, b"x")
        assert client.transport.get(segment(1)) == b"makes the directories"


def test_a_listing_that_breaks_off_is_an_error(in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = LocalTransport(in_memory.as_uri(), local.NoConfig())
    for number in range(3):
        transport.put(segment(number), b"x")

    class BreaksOff:
        def __init__(self, directory: int) -> None:
            self._entries = real(directory)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            with self._entries:
                yield_first = next(self._entries)
            return self._rows(yield_first)

        def __exit__(self, *_: object) -> None:
            pass

        @staticmethod
        def _rows(first: os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
            yield first
            raise OSError(errno.EIO, "injected")

    real = os.scandir
    monkeypatch.setattr(os, "scandir", BreaksOff)
    with pytest.raises(StorageError):
        list(transport.list("segments/"))


def test_a_file_that_ends_early_is_an_error(in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = LocalTransport(in_memory.as_uri(), local.NoConfig())
    transport.put(segment(1), b"0123456789")
    real = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: real(fd, min(size, 4)))
    assert transport.get(segment(1)) == b"0123456789", "a short read is continued"
    rest = iter([b"0123", b"45", b""])
    monkeypatch.setattr(os, "read", lambda *_: next(rest))
    with pytest.raises(StorageError, match="4 bytes early"):
        transport.get(segment(1))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_flock_puts_work_and_nothing_is_swept(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    transport = LocalTransport(in_memory.as_uri(), local.NoConfig())
    transport.put(segment(1), b"x")
    stray = in_memory / ".tmp" / ("0" * 32)
    stray.write_bytes(b"somebody's")
    monkeypatch.setattr(temporary.fcntl, "flock", flock)
    transport.put(segment(2), b"x")
    transport.delete([segment(1)])
    assert [row.name for row in transport.list("")] == [segment(2)]
    assert stray.exists()


@pytest.mark.parametrize("sweeper", ["is at it", "is gone again"])
def test_a_writer_that_meets_a_sweeper_takes_another_file(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, sweeper: str
) -> None:
    """The sweeper locks the file between its creation and the writer's own lock."""
    transport = LocalTransport(in_memory.as_uri(), local.NoConfig())
    transport.put(segment(1), b"makes the directories")
    real, held, locks = temporary.fcntl.flock, [], 0

    def flock(fd: int, operation: int) -> None:
        nonlocal locks
        locks += 1
        if locks == 1:
            (file,) = (in_memory / ".tmp").iterdir()
            held.append(file.open("rb"))
            real(held[0], operation)
            file.unlink()
            if sweeper == "is gone again":
                held.pop().close()
        real(fd, operation)

    monkeypatch.setattr(temporary.fcntl, "flock", flock)
    transport.put(segment(2), b"x")
    assert locks == 2
    assert transport.get(segment(2)) == b"x"
    assert list((in_memory / ".tmp").iterdir()) == []
    for file in held:
        file.close()


def test_a_name_that_exists_is_not_a_failed_call(in_memory: Path) -> None:
    """Control of the sweep above: the refusal comes from the storage, not from a fault."""
    transport = LocalTransport(in_memory.as_uri(), local.NoConfig())
    transport.put(segment(1), b"x")
    with pytest.raises(ObjectExists):
        transport.put(segment(1), b"x")


@pytest.mark.parametrize("offered", [True, False])
def test_a_sync_goes_through_the_cache_of_the_drive_where_that_is_offered(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, *, offered: bool
) -> None:
    """As on macOS, with and without a file system that can do it."""
    full, plain = [], []

    def fcntl(fd: int, command: int) -> None:
        full.append(command)
        if not offered:
            raise OSError(errno.ENOTSUP, f"not on {fd}")

    monkeypatch.setattr(directories, "_FULL_SYNC", 51)
    monkeypatch.setattr(directories.fcntl, "fcntl", fcntl)
    monkeypatch.setattr(os, "fsync", plain.append)
    LocalTransport(in_memory.as_uri(), local.NoConfig()).put("keyslots", b"x")
    assert set(full) == {51}
    assert len(plain) == (0 if offered else len(full))
