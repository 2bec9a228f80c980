"""The source `stdin`: what is piped in, as one file of unknown size."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections.abc import Mapping

import pytest

from bitbacker.errors import ConfigError, SourceError, SourceUnreadable
from bitbacker.spi import ROW, TOO_LARGE, Description, Extent, Listing
from bitbacker.testing.source import Make, SourceContract, read_all
from bitbacker_plugins.stdin import StdinConfig, StdinSource

DATA = bytes(range(256)) * 5000


def only_listing(source: StdinSource) -> Listing:
    (listing,) = source.walk(lambda *_: None)
    return listing


class TestStdinKeepsTheContract(SourceContract):
    @pytest.fixture
    def make(self, monkeypatch: pytest.MonkeyPatch) -> Make:
        # Every source of the suite is to be one of the same data, so they are made at the same time.
        monkeypatch.setattr("time.time_ns", lambda: 1_800_000_000_000_000_000)
        return lambda: StdinSource(StdinConfig(), io.BytesIO(DATA))

    @pytest.fixture
    def contents(self) -> Mapping[bytes, bytes]:
        return {b"stdin": DATA}


def test_it_is_one_file_that_only_its_owner_can_read() -> None:
    listing = only_listing(StdinSource(StdinConfig(name="dump.sql"), io.BytesIO(DATA)))
    assert (listing.path, listing.names) == (b"", (b"dump.sql",))
    mode, uid, gid, nlink, _filesystem, size, _mtime, ctime, inode = ROW.unpack(listing.rows)
    assert (mode, uid, gid) == (stat.S_IFREG | 0o600, os.getuid(), os.getgid())
    assert (nlink, size, ctime, inode) == (1, -1, 0, 0)


def test_its_size_is_unknown_and_it_is_always_opened() -> None:
    source = StdinSource(StdinConfig(), io.BytesIO(b"small"))
    listing = only_listing(source)
    (answer,) = source.read_small(listing, [0], 100, memoryview(bytearray(100)))
    assert (answer.size_bytes, answer.problem) == (-1, TOO_LARGE)
    assert source.describe(listing, [0]) == [Description()]
    with source.open(listing, 0) as file:
        assert tuple(file.extents) == (Extent(0, -1),)
        assert read_all(file, 3) == b"small"
        assert file.problem() == ""


def test_nothing_piped_in_is_an_empty_file() -> None:
    source = StdinSource(StdinConfig(), io.BytesIO(b""))
    with source.open(only_listing(source), 0) as file:
        assert file.readinto(memoryview(bytearray(10))) == 0


def test_a_buffer_is_filled_however_slowly_the_bytes_come() -> None:
    class Trickle(io.BytesIO):
        def readinto(self, buffer: memoryview, /) -> int:
            return super().readinto(buffer[:7])

    source = StdinSource(StdinConfig(), Trickle(DATA))
    buffer = memoryview(bytearray(1000))
    with source.open(only_listing(source), 0) as file:
        assert file.readinto(buffer) == 1000
        assert bytes(buffer) == DATA[:1000]


def test_it_can_be_opened_once() -> None:
    source = StdinSource(StdinConfig(), io.BytesIO(DATA))
    listing = only_listing(source)
    with source.open(listing, 0), pytest.raises(SourceError, match="only be read once"):
        source.open(listing, 0)


def test_a_stream_that_fails_is_an_error_and_never_a_short_file() -> None:
    class Failing(io.BytesIO):
        def readinto(self, buffer: memoryview, /) -> int:
            if self.tell() > 500:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer[:400])

    source = StdinSource(StdinConfig(), Failing(DATA))
    with source.open(only_listing(source), 0) as file:
        with pytest.raises(SourceUnreadable, match=r"stdin cannot be read: .*Input/output error"):
            file.readinto(memoryview(bytearray(2000)))
        assert file.problem().startswith("stdin cannot be read")


def test_a_pipe_that_does_not_wait_is_an_error_and_never_a_short_file() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with io.FileIO(reading) as stream, io.FileIO(writing, "w"):
        source = StdinSource(StdinConfig(), stream)
        with source.open(only_listing(source), 0) as file, pytest.raises(SourceUnreadable, match="wait"):
            file.readinto(memoryview(bytearray(10)))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="'name' is"):
        StdinConfig(name=name)


def test_without_another_stream_descriptor_0_is_read() -> None:
    program = """
from bitbacker_plugins.stdin import StdinConfig, StdinSource
source = StdinSource(StdinConfig())
(listing,) = source.walk(print)
buffer = memoryview(bytearray(10_000_000))
with source.open(listing, 0) as file:
    print(file.readinto(buffer), file.readinto(buffer))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        input=DATA,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert answer.stdout == f"{len(DATA)} 0\n".encode()
