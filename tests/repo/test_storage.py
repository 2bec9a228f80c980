"""The one retry layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.errors import ObjectExists, StorageDenied, StorageError
from bitbacker.repo.storage import ATTEMPTS_MAX, Storage
from bitbacker.spi import Transport
from bitbacker.testing.faults import FailingTransport, Fault, RecordingTransport
from lab import Lab

NAME = "segments/" + "ab" * 16


def unreachable() -> StorageError:
    return StorageError("the storage does not answer")


@pytest.fixture
def transport(tmp_path: Path) -> Transport:
    return Lab(tmp_path).transport


def test_a_call_that_fails_once_is_repeated(transport: Transport) -> None:
    waits: list[float] = []
    transport.put(NAME, b"data")
    failing = FailingTransport(transport, Fault("get", unreachable))
    assert b"data" == Storage(failing, waits.append).get(NAME)
    assert (1, 1) == (failing.struck, len(waits))


def test_a_call_that_always_fails_ends_with_its_error(transport: Transport) -> None:
    failing = FailingTransport(transport, Fault("get", unreachable, forever=True))
    with pytest.raises(StorageError, match="does not answer"):
        Storage(failing, lambda _: None).get(NAME)
    assert ATTEMPTS_MAX == failing.struck


def test_an_error_that_will_not_pass_is_not_repeated(transport: Transport) -> None:
    failing = FailingTransport(transport, Fault("put", lambda: StorageDenied("read-only"), forever=True))
    with pytest.raises(StorageDenied):
        Storage(failing, lambda _: None).put_new(NAME, b"data")
    assert 1 == failing.struck


def test_a_put_whose_answer_was_lost_is_a_success(transport: Transport) -> None:
    failing = FailingTransport(transport, Fault("put", unreachable, executed=True))
    Storage(failing, lambda _: None).put_new(NAME, b"data")
    assert (1, b"data") == (failing.struck, transport.get(NAME))


def test_a_name_that_somebody_else_took_is_an_error(transport: Transport) -> None:
    transport.put(NAME, b"theirs")
    with pytest.raises(ObjectExists):
        Storage(transport).put_new(NAME, b"mine")
    assert b"theirs" == transport.get(NAME)


def test_deleting_nothing_asks_the_storage_nothing(transport: Transport) -> None:
    recording = RecordingTransport(transport)
    Storage(recording).delete([])
    assert () == recording.log
