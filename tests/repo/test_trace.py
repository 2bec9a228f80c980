"""The trace: every request is counted, none is changed, and no trouble of the trace is the user's."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from bitbacker.errors import BitBackerError, ObjectExists, ObjectMissing, StorageError
from bitbacker.format import names
from bitbacker.repo.storage import Storage
from bitbacker.repo.trace import SEGMENTS_NAMED_MAX, Bounds, Commit, Requests, Run, Tally, Trace
from bitbacker.spi import Transport
from bitbacker.testing.faults import FailingTransport, Fault, Operation, RecordingTransport
from lab import Lab, back_up

ONE, TWO = "segments/" + "1" * 32, "segments/" + "2" * 32
SMALL = bytes(names.SMALL_SEGMENT_SIZE_BYTES)
LARGE = bytes(names.LARGE_SEGMENT_SIZE_BYTES)
HEAD = bytes(names.HEAD_SIZE_BYTES)


@pytest.fixture
def transport(tmp_path: Path) -> Transport:
    return Lab(tmp_path / "lab").transport


def taken(storage: Storage) -> Run:
    run = storage.tally.take("test")
    assert run is not None
    return run


def run_of(command: str, *segments: str) -> Run:
    return Run(1, 2, command, (Requests("get", "segments", len(segments), 3),), (), segments)


def test_every_request_is_counted_by_operation_and_area(transport: Transport) -> None:
    storage = Storage(transport)
    storage.put_new("keyslots", b"key")
    storage.replace("keyslots", b"keys")
    storage.put_new(ONE, SMALL)
    storage.get(ONE)
    storage.get(ONE)
    storage.list(names.SEGMENTS)
    storage.first(names.HEADS)
    storage.list("")
    storage.delete([ONE, TWO])
    expected = (
        Requests("delete", "segments", 2, 0),
        Requests("get", "segments", 2, 2 * len(SMALL)),
        Requests("list", "all", 1, 0),
        Requests("list", "heads", 1, 0),
        Requests("list", "segments", 1, 0),
        Requests("put", "keyslots", 2, 7),
        Requests("put", "segments", 1, len(SMALL)),
    )
    run = taken(storage)
    assert expected == run.requests
    assert ("1" * 32, "1" * 32) == run.segments_read


def test_a_request_that_fails_and_the_one_that_repeats_it_are_both_counted(transport: Transport) -> None:
    transport.put(ONE, SMALL)
    failing = FailingTransport(transport, Fault("get", lambda: StorageError("the storage does not answer")))
    storage = Storage(failing, lambda _: None)
    storage.get(ONE)
    with pytest.raises(ObjectMissing):
        storage.get(TWO)
    assert 1 == failing.struck
    assert (Requests("get", "segments", 3, len(SMALL)),) == taken(storage).requests


def test_the_storage_sees_the_same_requests_in_the_same_order(transport: Transport) -> None:
    recording = RecordingTransport(transport)
    storage = Storage(recording)
    storage.put_new(ONE, SMALL)
    storage.replace(ONE, LARGE)
    storage.get(ONE)
    storage.list(names.SEGMENTS)
    storage.delete([ONE])
    storage.tally.take("test")
    expected = (
        Operation("put", ONE, len(SMALL)),
        Operation("put", ONE, len(LARGE), replace=True),
        Operation("get", ONE, len(LARGE)),
        Operation("list", names.SEGMENTS),
        Operation("delete", ONE),
    )
    assert expected == recording.log


def test_a_head_ends_a_session_with_the_segments_since_the_head_before(transport: Transport) -> None:
    storage = Storage(transport)
    for number, data in enumerate([SMALL, LARGE, SMALL]):
        storage.put_new(f"segments/{number:032x}", data)
    storage.put_new(names.head_name(5), HEAD)
    storage.put_new(ONE, SMALL)
    storage.delete([ONE])
    storage.put_new(names.head_name(6), HEAD)
    commits = [(commit.head, commit.large, commit.small) for commit in taken(storage).commits]
    assert [(5, 1, 2), (6, 0, 0)] == commits


def test_a_head_that_was_refused_ends_no_session(transport: Transport) -> None:
    storage = Storage(transport)
    transport.put(names.head_name(5), b"theirs")
    storage.put_new(ONE, SMALL)
    with pytest.raises(ObjectExists):
        storage.put_new(names.head_name(5), HEAD)
    storage.put_new(names.head_name(6), HEAD)
    commits = [(commit.head, commit.large, commit.small) for commit in taken(storage).commits]
    assert [(6, 0, 1)] == commits


def test_threads_that_count_at_once_lose_nothing() -> None:
    tally = Tally()

    def count() -> None:
        for _ in range(1000):
            tally.asked("get", ONE)
            tally.got(ONE, 10)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = tally.take("")
    assert run is not None
    assert (4000, 40_000, 4000) == (
        run.count("get", "segments"),
        run.moved_bytes("get"),
        len(run.segments_read),
    )


def test_a_very_long_run_names_its_first_segments_only() -> None:
    tally = Tally()
    tally.asked("get", ONE)
    for _ in range(SEGMENTS_NAMED_MAX + 1):
        tally.got(ONE, 1)
    run = tally.take("")
    assert run is not None
    assert (SEGMENTS_NAMED_MAX, SEGMENTS_NAMED_MAX + 1) == (len(run.segments_read), run.moved_bytes("get"))


def test_closing_a_repository_saves_one_run(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    (tmp_path / "file").write_bytes(b"content")
    client = lab.client()
    client.purpose = "backup"
    back_up(client, tmp_path / "file")
    client.close()
    client.close()
    (run,) = client.trace.runs()
    assert ("backup", [2]) == (run.command, [commit.head for commit in run.commits])
    assert run.moved_bytes("put") >= names.SMALL_SEGMENT_SIZE_BYTES + names.HEAD_SIZE_BYTES


def test_a_repository_that_asked_for_nothing_leaves_no_trace(tmp_path: Path) -> None:
    client = Lab(tmp_path / "lab").client()
    client.close()
    assert not client.trace.path.exists()


def test_runs_come_back_as_they_were(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "state")
    runs = (run_of("backup"), Run(5, 6, "", (), (Commit(7, 8, 9, 10),)), run_of("restore", "ab", "ab"))
    for run in runs:
        trace.append(run)
    assert runs == trace.runs()
    assert 0o600 == trace.path.stat().st_mode & 0o777


def test_lines_that_nobody_understands_are_left_out(tmp_path: Path) -> None:
    trace = Trace(tmp_path)
    trace.append(run_of("backup"))
    whole = trace.path.read_bytes()
    newer = json.dumps({**json.loads(whole), "something": "new"}).encode()
    for line in (whole[: len(whole) // 2], b"", b"[]", b'{"time_ns": 1}', b"\xff", newer):
        with trace.path.open("ab") as file:
            file.write(line + b"\n")
    assert (run_of("backup"), run_of("backup")) == trace.runs()


def test_the_newest_lines_stay_when_there_are_too_many(tmp_path: Path) -> None:
    trace = Trace(tmp_path, Bounds(lines=20))
    most = 0
    for number in range(100):
        trace.append(run_of(str(number)))
        most = max(most, len(trace.runs()))
    kept = [int(run.command) for run in trace.runs()]
    assert list(range(100 - len(kept), 100)) == kept
    assert 15 <= len(kept) <= most == 20
    assert [trace.path] == [*tmp_path.iterdir()]


def test_the_newest_lines_stay_when_they_are_too_long(tmp_path: Path) -> None:
    trace = Trace(tmp_path, Bounds(size_bytes=20_000))
    for number in range(20):
        trace.append(run_of(str(number), *["ab" * 16] * 100))
        assert trace.path.stat().st_size <= 20_000
    kept = [int(run.command) for run in trace.runs()]
    assert list(range(20 - len(kept), 20)) == kept != []


def test_a_trace_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    trace = Trace(tmp_path / "state")
    trace.append(run_of("backup"))
    (tmp_path / "folder" / "trace.jsonl").mkdir(parents=True)
    Trace(tmp_path / "folder").append(run_of("backup"))
    assert "a file where the directory should be" == (tmp_path / "state").read_text()


def test_a_trace_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert () == Trace(tmp_path).runs()
    (tmp_path / "trace.jsonl").mkdir()
    with pytest.raises(BitBackerError, match=r"trace\.jsonl cannot be read"):
        Trace(tmp_path).runs()
