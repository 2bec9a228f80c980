"""The transport `sftp`: what lies on the server, and what its disk and its abilities bring."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import pytest

from bitbacker.errors import (
    NotExclusive,
    ObjectExists,
    ObjectMissing,
    SizeWrong,
    StorageDenied,
    StorageError,
    StorageFull,
)
from bitbacker.spi import Abilities, ObjectInfo
from bitbacker.testing.transport import MIB, head, payload, segment
from bitbacker_plugins.sftp import SftpTransport
from bitbacker_plugins.sftp.protocol import Kind, Status, StatusError
from bitbacker_plugins.sftp.session import Reply, Request, Session
from directory_scenarios import DirectoryScenarios, OpenAt
from sshd import Sshd, running_sshd

DAY_S = 24 * 60 * 60
WAIT_S = 60.0
Open = Callable[..., SftpTransport]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("server") / "sshd") as sshd:
        yield sshd


@pytest.fixture
def transports() -> Iterator[list[SftpTransport]]:
    opened: list[SftpTransport] = []
    yield opened
    for transport in opened:
        transport.close()


@pytest.fixture
def open_on(sshd: Sshd, transports: list[SftpTransport]) -> Open:
    """Opens a transport to a directory, on the server of the module or on another one."""

    def open_on(path: Path, server: Sshd = sshd, **options: object) -> SftpTransport:
        transports.append(server.transport(path, **options))
        return transports[-1]

    return open_on


# Files and directories.


class TestSftpDirectories(DirectoryScenarios):
    # The server says which file system a directory is on, not which directory it is.
    knows_the_directory = False

    @pytest.fixture
    def open_at(self, open_on: Open) -> OpenAt:
        return open_on


def test_nothing_is_touched_before_it_is_needed(open_on: Open, tmp_path: Path) -> None:
    transport = open_on(tmp_path / "repository")
    assert transport.abilities == Abilities(exclusive_put=True, concurrency=4)
    assert list(transport.list("")) == []
    transport.delete([segment(1)])
    assert list(tmp_path.iterdir()) == []


def test_files_and_directories_are_the_owners_alone(open_on: Open, tmp_path: Path) -> None:
    transport = open_on(tmp_path / "repository")
    transport.put("keyslots", b"x")
    transport.put(head(1), b"x")
    transport.list("")
    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o7777
        for path in [tmp_path / "repository", *(tmp_path / "repository").rglob("*")]
    }
    # The name of the last file is removed without waiting for the answer.
    modes = {path: mode for path, mode in modes.items() if not path.startswith("repository/.tmp/")}
    assert modes == {
        "repository": 0o700,
        "repository/.tmp": 0o700,
        "repository/heads": 0o700,
        f"repository/{head(1)}": 0o400,
        "repository/keyslots": 0o400,
    }


def test_no_temporary_file_stays(open_on: Open, tmp_path: Path) -> None:
    transport = open_on(tmp_path)
    transport.put("keyslots", b"x")
    transport.put("keyslots", b"y", replace=True)
    with pytest.raises(ObjectExists):
        transport.put("keyslots", b"z")
    # The next answer comes behind those that nobody waited for.
    assert transport.get("keyslots") == b"y"
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_closing_leaves_no_temporary_file(open_on: Open, tmp_path: Path) -> None:
    for number in range(10):
        transport = open_on(tmp_path)
        transport.put(head(number), b"x")
        transport.close()
        assert list((tmp_path / ".tmp").iterdir()) == []


@pytest.mark.parametrize("strange", ["symlink", "pipe", "directory"])
def test_only_a_file_is_read_as_an_object(open_on: Open, tmp_path: Path, strange: str) -> None:
    transport = open_on(tmp_path, timeout_s=5.0)
    transport.put(segment(1), b"x")
    path = tmp_path / segment(2)
    if strange == "symlink":
        path.symlink_to(tmp_path / segment(1))
    elif strange == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(StorageError, match="not a regular file") as caught:
        transport.get(segment(2))
    assert not isinstance(caught.value, ObjectMissing)
    assert transport.get(segment(1)) == b"x"
    if strange != "directory":
        with pytest.raises(StorageError, match="link or device"):
            list(transport.list(""))


def test_a_directory_behind_a_symlink_is_refused(open_on: Open, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    open_on(elsewhere).put(segment(1), b"x")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "segments").symlink_to(elsewhere / "segments")
    transport = open_on(repository)
    for call in (lambda: transport.get(segment(1)), lambda: list(transport.list("segments/"))):
        with pytest.raises(StorageError, match="link"):
            call()
    with pytest.raises(StorageError):
        transport.put(segment(2), b"x")
    assert [path.name for path in (elsewhere / "segments").iterdir()] == [segment(1)[-32:]]


@pytest.mark.parametrize(("size_bytes", "readable"), [(64 * MIB, True), (64 * MIB + 1, False)])
def test_an_object_that_no_memory_should_hold_is_not_read(
    open_on: Open, tmp_path: Path, size_bytes: int, *, readable: bool
) -> None:
    transport = open_on(tmp_path)
    transport.put(segment(1), b"x")
    os.truncate(tmp_path / segment(1), size_bytes)
    if readable:
        assert len(transport.get(segment(1))) == size_bytes
        return
    with pytest.raises(SizeWrong):
        transport.get(segment(1))


def test_a_writer_who_looked_before_another_made_the_directory_takes_it_for_the_same_one(
    open_on: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = open_on(tmp_path / "repository")
    ask, looked, made = Session.ask, Event(), Event()

    def ask_slowly(session: Session, request: Request) -> Reply:
        reply = ask(session, request)
        if request.kind == Kind.EXTENDED and not looked.is_set() and threading.current_thread() is slow:
            looked.set()
            assert made.wait(WAIT_S)
        return reply

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(threading.current_thread).result()
        # Connected before, so that the answer that is held up is the one about the directory.
        assert list(transport.list("")) == []
        monkeypatch.setattr(Session, "ask", ask_slowly)
        first = pool.submit(transport.put, segment(1), b"first")
        assert looked.wait(WAIT_S)
        transport.put(segment(2), b"second")
        made.set()
        first.result()
    assert [row.name for row in transport.list("")] == [segment(1), segment(2)]


def test_directories_that_somebody_removed_are_made_again(open_on: Open, tmp_path: Path) -> None:
    transport = open_on(tmp_path)
    transport.put(head(1), b"x")
    shutil.rmtree(tmp_path / "heads")
    shutil.rmtree(tmp_path / ".tmp")
    with pytest.raises(StorageError) as caught:
        transport.put(head(2), b"x")
    assert caught.value.retryable
    transport.put(head(2), b"x")
    assert [row.name for row in transport.list("")] == [head(2)]


@pytest.mark.parametrize("failing", [True, False], ids=["failing", "control"])
def test_after_a_sync_of_a_directory_has_failed_nothing_more_is_stored(
    open_on: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, failing: bool
) -> None:
    """The kernel may have dropped what it could not write, and would report success the next time."""
    transport = open_on(tmp_path)
    transport.put(head(1), b"x")

    def fail(session: object, handles: object) -> None:
        del session, handles
        raise StatusError(Status.FAILURE, "")

    with monkeypatch.context() as patch, pytest.raises(StorageError) if failing else nullcontext():
        if failing:
            patch.setattr("bitbacker_plugins.sftp.files.sync_handles", fail)
        transport.put(head(2), b"x")
    with pytest.raises(StorageError, match="nothing more is stored") if failing else nullcontext():
        transport.put(head(3), b"x")
    assert transport.get(head(1)) == b"x"


# Temporary files.


@pytest.mark.parametrize("call", ["put", "delete"])
def test_what_a_crashed_writer_left_is_swept_after_a_day(open_on: Open, tmp_path: Path, call: str) -> None:
    temporary = tmp_path / ".tmp"
    temporary.mkdir()
    now_s = time.time()
    for name, age_s in (("old", DAY_S + 60), ("young", DAY_S - 60), ("from the future", -DAY_S)):
        (temporary / name).write_bytes(b"a part")
        os.utime(temporary / name, (now_s - age_s, now_s - age_s))
    transport = open_on(tmp_path)
    if call == "put":
        transport.put(head(1), b"x")
    else:
        transport.delete([head(1)])
    list(transport.list(""))
    assert sorted(path.name for path in temporary.iterdir()) == ["from the future", "young"]


# The server's disk.


def test_a_failure_on_a_disk_with_room_is_not_called_full(open_on: Open, tmp_path: Path) -> None:
    """The control of a full disk: the server's word for it is the same."""
    transport = open_on(tmp_path)
    (tmp_path / "segments").write_text("a file in the place of a directory")
    with pytest.raises(StorageError) as caught:
        transport.put(segment(1), b"x")
    assert not isinstance(caught.value, (StorageFull, StorageDenied, ObjectExists, NotExclusive))


# Servers that can do less.


def test_a_server_without_links_is_refused_loudly_and_replaces(
    open_on: Open, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    directory = tmp_path_factory.mktemp("server") / "sshd"
    with running_sshd(directory, sftp_server_options=["-P", "hardlink"]) as server:
        transport = open_on(tmp_path, server)
        with pytest.raises(NotExclusive):
            transport.put("keyslots", b"x")
        assert list(transport.list("")) == []
        transport.put("keyslots", b"x", replace=True)
        assert transport.get("keyslots") == b"x"
        with pytest.raises(NotExclusive):
            transport.put("keyslots", b"y")
        assert transport.get("keyslots") == b"x"
        transport.close()


@pytest.mark.parametrize("lacking", ["statvfs", "fsync", "limits", "fsync,statvfs,limits,posix-rename"])
def test_a_server_may_lack_other_extensions(
    open_on: Open, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, lacking: str
) -> None:
    directory = tmp_path_factory.mktemp("server") / "sshd"
    data = payload(MIB + 1)
    with running_sshd(directory, sftp_server_options=["-P", lacking]) as server:
        transport = open_on(tmp_path, server)
        transport.put(segment(1), data)
        with pytest.raises(ObjectExists):
            transport.put(segment(1), data)
        assert transport.get(segment(1)) == data
        assert list(transport.list("")) == [ObjectInfo(segment(1), len(data))]
        if "posix-rename" in lacking:
            with pytest.raises(StorageDenied, match="replace"):
                transport.put(segment(1), b"x", replace=True)
        transport.delete([segment(1)])
        assert list(transport.list("")) == []
        transport.close()


def test_a_server_that_only_reads_denies(
    open_on: Open, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    open_on(tmp_path).put("keyslots", b"x")
    directory = tmp_path_factory.mktemp("server") / "sshd"
    with running_sshd(directory, sftp_server_options=["-R"]) as server:
        transport = open_on(tmp_path, server)
        assert transport.get("keyslots") == b"x"
        for call in (
            lambda: transport.put(head(1), b"x"),
            lambda: transport.put("keyslots", b"y", replace=True),
            lambda: transport.delete(["keyslots"]),
        ):
            with pytest.raises(StorageDenied):
                call()
        assert [row.name for row in transport.list("")] == ["keyslots"]
        transport.close()


def account() -> str:
    """Somebody who is not root, whose rights would defeat every mode."""
    return "nobody" if os.geteuid() == 0 else getpass.getuser()


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that another account can reach; the tests' own one it cannot."""
    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def overwrite(server: Sshd, path: Path, junk: Path) -> bool:
    """Whether the sftp client can write over a file, having made it writable if the server lets it."""
    options = ["-i", str(server.key_file), "-o", f"UserKnownHostsFile={server.known_hosts_file}"]
    command = ["sftp", "-q", "-b", "-", *options, "-P", str(server.port), f"{server.user}@{server.host}"]
    batch = f"-chmod 600 {path}\nput {junk} {path}\n"
    done = subprocess.run(command, input=batch.encode(), capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("append_only", [True, False], ids=["append-only", "control"])
def test_the_account_of_the_docs_adds_and_changes_nothing(
    open_on: Open, public: Path, *, append_only: bool
) -> None:
    denied = "remove,rename,posix-rename,rmdir,setstat,fsetstat,lsetstat"
    options = ["-P", denied] if append_only else []
    user = account()
    (public / "home").mkdir()
    (public / "junk").write_bytes(b"junk")
    if os.geteuid() == 0:
        shutil.chown(public / "home", user)
    with running_sshd(public / "sshd", sftp_server_options=options, mode=0o755) as server:
        server.user = user
        transport = open_on(public / "home" / "repository", server)
        transport.put(segment(1), b"x")
        assert transport.get(segment(1)) == b"x"
        with pytest.raises(ObjectExists):
            transport.put(segment(1), b"y")
        assert overwrite(server, public / "home" / "repository" / segment(1), public / "junk") != append_only
        for call in (
            lambda: transport.put(segment(1), b"y", replace=True),
            lambda: transport.delete([segment(1)]),
        ):
            with pytest.raises(StorageDenied) if append_only else nullcontext():
                call()
        assert [row.name for row in transport.list("")] == ([segment(1)] if append_only else [])
        if append_only:
            assert transport.get(segment(1)) == b"x"
        transport.close()


def test_a_server_without_sftp_says_so(
    open_on: Open, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    directory = tmp_path_factory.mktemp("server") / "sshd"
    directives = ["ForceCommand echo this account is disabled"]
    with running_sshd(directory, directives=directives) as server:
        transport = open_on(tmp_path, server)
        with pytest.raises(StorageError, match="does not speak SFTP"):
            list(transport.list(""))
