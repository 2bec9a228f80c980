"""The transport `file`: the whole contract, and what a directory brings with it."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bitbacker.errors import (
    ConfigError,
    NotExclusive,
    StorageDenied,
    StorageError,
)
from bitbacker.spi import Abilities, NoConfig
from bitbacker.testing.transport import MIB, Connect, TransportContract, head, segment
from bitbacker_plugins.local import LocalTransport, bitbacker_transport
from directory_scenarios import DirectoryScenarios, OpenAt, mounted


def connect_to(path: Path) -> LocalTransport:
    return LocalTransport(path.as_uri(), NoConfig())


class TestLocalKeepsTheContract(TransportContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda: connect_to(tmp_path / "repository")


class TestLocalDirectories(DirectoryScenarios):
    @pytest.fixture
    def open_at(self) -> OpenAt:
        return connect_to

    def test_a_read_only_disk_is_an_ability(self, small: Path) -> None:
        connect_to(small).put("keyslots", b"x")
        assert not connect_to(small).abilities.read_only
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        assert connect_to(small).abilities.read_only

    def test_a_segments_directory_on_another_disk_is_refused(self, small: Path, tmp_path: Path) -> None:
        """A link cannot cross file systems."""
        transport = connect_to(tmp_path / "repository")
        transport.put("keyslots", b"x")
        (tmp_path / "repository" / "segments").mkdir()
        for _ in mounted(tmp_path / "repository" / "segments", "--bind", str(small)):
            with pytest.raises(StorageError):
                transport.put(segment(1), b"x")
            assert list(small.iterdir()) == []


def test_it_answers_to_the_scheme_of_its_urls_only() -> None:
    assert bitbacker_transport("file") is LocalTransport
    assert bitbacker_transport("local") is None


# URLs.


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///srv/backup", "/srv/backup"),
        ("file:///srv/backup/", "/srv/backup"),
        ("file:////srv//backup", "/srv/backup"),
        ("file:///srv/my%20disk", "/srv/my disk"),
        ("file:///srv/my disk", "/srv/my disk"),
        ("file:///srv/50%25", "/srv/50%"),
        ("file:///srv/a%23b%3F", "/srv/a#b?"),
        ("file:///srv/\u00e4rger", "/srv/\u00e4rger"),
        ("file:///srv/%E4", "/srv/\udce4"),
    ],
)
def test_a_url_names_an_absolute_path(url: str, path: str) -> None:
    assert LocalTransport(url, NoConfig()).path == path


@pytest.mark.parametrize(
    "url",
    [
        "file://srv/backup",
        "file://./backup",
        "file://~/backup",
        "file:backup",
        "file:/srv/backup",
        "file://",
        "file:///",
        "file:///srv/%00",
        "/srv/backup",
        "",
        "http:///srv/backup",
    ],
)
def test_a_url_without_an_absolute_path_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match="for example file:///srv/backup"):
        LocalTransport(url, NoConfig())


@pytest.mark.parametrize(
    "url", ["file:///srv/what?", "file:///srv/a#b", "file:///srv/100%", "file:///srv/%zz"]
)
def test_a_url_with_a_sign_that_is_not_encoded_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match="%3F"):
        LocalTransport(url, NoConfig())


# Files and directories.


def test_nothing_is_touched_before_it_is_needed(tmp_path: Path) -> None:
    transport = connect_to(tmp_path / "repository")
    assert transport.abilities == Abilities(exclusive_put=True, concurrency=3)
    assert list(transport.list("")) == []
    transport.delete([segment(1)])
    assert list(tmp_path.iterdir()) == []


def test_files_and_directories_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        transport = connect_to(tmp_path / "repository")
        transport.put("keyslots", b"x")
        transport.put(head(1), b"x")
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o7777
        for path in [tmp_path / "repository", *(tmp_path / "repository").rglob("*")]
    }
    assert modes == {
        "repository": 0o700,
        "repository/.tmp": 0o700,
        "repository/heads": 0o700,
        f"repository/{head(1)}": 0o600,
        "repository/keyslots": 0o600,
    }


def test_a_symlink_is_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    repository = tmp_path / "repository"
    transport = connect_to(repository)
    transport.put(head(1), b"x")
    (repository / head(2)).symlink_to(outside / "secret")
    (repository / "segments").symlink_to(outside)
    with pytest.raises(StorageError):
        transport.get(head(2))
    with pytest.raises(StorageError):
        list(transport.list("heads/"))
    with pytest.raises(StorageError):
        transport.put(segment(1), b"x")
    with pytest.raises(StorageError):
        transport.get(segment(1))
    with pytest.raises(StorageError):
        list(transport.list("segments/"))
    with pytest.raises(StorageError):
        transport.delete([segment(1)])
    transport.put(head(2), b"new", replace=True)
    assert transport.get(head(2)) == b"new"
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"secret": "secret"}


def test_what_is_no_regular_file_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    transport = connect_to(tmp_path)
    transport.put(head(1), b"x")
    os.mkfifo(tmp_path / head(2))
    (tmp_path / head(3)).mkdir()
    for name in (head(2), head(3)):
        with pytest.raises(StorageError, match="regular"):
            transport.get(name)


def test_a_file_in_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "repository").write_text("a file")
    transport = connect_to(tmp_path / "repository")
    for call in (
        lambda: transport.put("keyslots", b"x"),
        lambda: transport.get("keyslots"),
        lambda: list(transport.list("")),
        lambda: transport.delete(["keyslots"]),
    ):
        with pytest.raises(StorageError):
            call()


def test_a_closed_connection_refuses(tmp_path: Path) -> None:
    transport = connect_to(tmp_path)
    transport.put("keyslots", b"x")
    transport.close()
    for call in (
        lambda: transport.put(head(1), b"x"),
        lambda: transport.get("keyslots"),
        lambda: list(transport.list("")),
        lambda: transport.delete(["keyslots"]),
    ):
        with pytest.raises(StorageError, match="closed already"):
            call()
    assert (tmp_path / "keyslots").exists()


# Other processes.

WRITER = """
    import sys
    from bitbacker.errors import ObjectExists
    from bitbacker.spi import NoConfig
    from bitbacker_plugins.local import LocalTransport
    transport = LocalTransport(sys.argv[1], NoConfig())
    {body}
"""


def start(repository: Path, body: str) -> subprocess.Popen[str]:
    """Another process with a `transport` on the same repository."""
    program = textwrap.dedent(WRITER).format(body=textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, "-c", program, repository.as_uri()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_of_racing_processes_exactly_one_wins(tmp_path: Path) -> None:
    processes = [
        start(
            tmp_path,
            f"""
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    try:
        transport.put(f"heads/{{number:016x}}", b"{racer}" * 1000)
    except ObjectExists:
        continue
    print(number)
""",
        )
        for racer in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [[int(line) for line in process.communicate()[0].split()] for process in processes]
    assert sorted(itertools.chain(*won)) == list(range(100))
    transport = connect_to(tmp_path)
    for racer, numbers in enumerate(won):
        for number in numbers:
            assert transport.get(head(number)) == b"%d" % racer * 1000


def test_a_killed_writer_leaves_a_file_that_is_swept_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    body = """
import bitbacker_plugins.local as local
def wait(fd):
    print("written", flush=True)
    sys.stdin.readline()
local.sync = wait
transport.put("segments/" + "{digit}" * 32, b"x" * 1000)
"""
    dead, alive = (start(tmp_path, body.format(digit=digit)) for digit in "de")
    for process in (dead, alive):
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
    temporaries = tmp_path / ".tmp"
    transport = connect_to(tmp_path)
    transport.delete([])
    assert len(list(temporaries.iterdir())) == 2, "a file of a living writer was swept"
    assert list(transport.list("")) == [], "a file without a name yet was listed"
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    transport.delete([])
    assert len(list(temporaries.iterdir())) == 1
    alive.communicate("go on\n")
    assert alive.returncode == 0
    assert list(temporaries.iterdir()) == []
    assert transport.get("segments/" + "e" * 32) == b"x" * 1000
    assert [row.name for row in transport.list("")] == ["segments/" + "e" * 32]


def test_the_first_put_of_a_process_sweeps_too(tmp_path: Path) -> None:
    connect_to(tmp_path).put(head(1), b"x")
    (tmp_path / ".tmp" / ("0" * 32)).write_bytes(b"left by a crash")
    connect_to(tmp_path).put(head(2), b"x")
    assert list((tmp_path / ".tmp").iterdir()) == []


# Real file systems.


@pytest.fixture(params=["vfat", "exfat-fuse"])
def linkless(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A FAT file system in an image."""
    image = tmp_path / "image"
    maker = f"mkfs.{request.param.removesuffix('-fuse')}"
    tool = shutil.which(maker, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if tool is None:
        pytest.skip(f"there is no {maker} here; a link that fails is also tested with a simulated disk")
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run([tool, str(image)], check=True, capture_output=True)
    yield from mounted(tmp_path / "fat", "-t", request.param, "-o", "loop", str(image))


def test_fat_has_no_links_and_is_refused_loudly(linkless: Path) -> None:
    transport = connect_to(linkless / "repository")
    with pytest.raises(NotExclusive, match="hard links"):
        transport.put(segment(1), b"x")
    assert list(transport.list("")) == []


@contextmanager
def attribute(letter: str, directory: Path) -> Iterator[None]:
    """The directory has this chattr attribute; where that cannot be the test is skipped with the reason."""
    done = subprocess.run(
        ["chattr", f"+{letter}", str(directory)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"chattr +{letter}: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{letter}", str(directory)], check=True)


def test_an_append_only_directory_takes_objects_and_gives_none_up(tmp_path: Path) -> None:
    """Only `.tmp` needs to forget names."""
    transport = connect_to(tmp_path)
    transport.put(segment(1), b"x")
    with attribute("a", tmp_path / "segments"):
        transport.put(segment(2), b"x")
        with pytest.raises(StorageDenied):
            transport.delete([segment(1)])
        with pytest.raises(StorageDenied):
            transport.put(segment(1), b"y", replace=True)
        assert transport.get(segment(1)) == b"x"
        assert [row.name for row in transport.list("")] == [segment(1), segment(2)]
        assert list((tmp_path / ".tmp").iterdir()) == []


def test_an_immutable_directory_is_denied_and_not_taken_for_one_without_links(tmp_path: Path) -> None:
    transport = connect_to(tmp_path)
    transport.put(segment(1), b"x")
    with attribute("i", tmp_path / "segments"):
        with pytest.raises(StorageDenied):
            transport.put(segment(2), b"x")
        assert [row.name for row in transport.list("")] == [segment(1)]
        assert list((tmp_path / ".tmp").iterdir()) == []
