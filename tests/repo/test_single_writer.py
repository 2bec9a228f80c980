"""A repository on a storage that cannot decide between two writers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bitbacker.crypto import slots
from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import NotExclusive, ObjectExists, RepositoryPresent, StorageDenied, StorageError
from bitbacker.format import names
from bitbacker.format.keyslots import Constants, SlotContent, decode_slot, encode_slot
from bitbacker.repo.check import check
from bitbacker.repo.create import create
from bitbacker.repo.forget import forget
from bitbacker.repo.held_back import HeldBackStorage
from bitbacker.repo.open import Repository, open_repository
from bitbacker.repo.settings import LocalPaths, RepositoryOptions
from bitbacker.repo.slots import add_key, remove_key
from bitbacker.repo.storage import Storage
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.spi import Buffer, Transport
from bitbacker.testing.faults import FailingTransport, Fault, RecordingTransport, WrappedTransport
from lab import CONSTANTS, Found, Lab, Maker, back_up, contents, tree

FIRST = Unlocker("correct horse")
SECOND = Unlocker("battery staple")
HEAD = names.head_name(2)
SEGMENT = names.segment_name(bytes(16))


class UndecidedTransport(WrappedTransport):
    """A storage that can only overwrite, and says so."""

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        if not replace:
            raise NotExclusive("the storage has no exclusive put")
        super().put(name, data, replace=True)


@pytest.fixture
def transport(tmp_path: Path) -> Transport:
    return UndecidedTransport(Lab(tmp_path / "lab").transport)


@pytest.fixture
def storage(transport: Transport) -> Storage:
    storage = Storage(transport, lambda _: None)
    storage.single_writer = True
    return storage


@pytest.fixture
def _cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "calibrated_level", lambda: 0)


def make(transport: Transport, folder: Path, *, single_writer: bool = True) -> Repository:
    options = RepositoryOptions(CONSTANTS.cipher, CONSTANTS.chunker, single_writer)
    return create(transport, FIRST, options, Maker(), LocalPaths(folder / "c", folder / "s"))


def open_it(transport: Transport, folder: Path, secret: Unlocker = FIRST) -> Repository:
    return open_repository(transport, secret, Maker(), LocalPaths(folder / "c", folder / "s"))


# What the storage is asked.


@pytest.mark.parametrize("name", [HEAD, names.KEYSLOTS])
def test_a_name_that_is_taken_is_refused_and_what_is_there_stays(
    storage: Storage, transport: Transport, name: str
) -> None:
    storage.put_new(name, b"theirs")
    with pytest.raises(ObjectExists):
        storage.put_new(name, b"mine")
    assert b"theirs" == transport.get(name)


@pytest.mark.parametrize("name", [HEAD, SEGMENT, names.KEYSLOTS])
@pytest.mark.parametrize("executed", [True, False])
def test_a_put_that_is_repeated_finds_its_own_bytes(transport: Transport, name: str, executed: bool) -> None:
    fault = Fault("put", lambda: StorageError("no answer"), executed=executed)
    failing = FailingTransport(transport, fault)
    storage = Storage(failing, lambda _: None)
    storage.single_writer = True
    storage.put_new(name, b"mine")
    assert (1, b"mine") == (failing.struck, transport.get(name))


def test_it_looks_before_it_puts_but_for_segments(transport: Transport) -> None:
    recording = RecordingTransport(transport)
    storage = Storage(recording)
    storage.single_writer = True
    storage.put_new(SEGMENT, b"data")
    assert [("put", SEGMENT)] == [(one.operation.kind, one.operation.name) for one in recording.records]
    recording.clear()
    storage.put_new(HEAD, b"head")
    assert [("get", HEAD), ("put", HEAD)] == [
        (one.operation.kind, one.operation.name) for one in recording.records
    ]


def test_control_with_many_writers_it_puts_without_looking_and_such_a_storage_refuses(
    transport: Transport,
) -> None:
    recording = RecordingTransport(transport)
    with pytest.raises(NotExclusive):
        Storage(recording).put_new(HEAD, b"head")
    assert ["put"] == [one.operation.kind for one in recording.records]


def test_what_is_held_back_is_stored_by_the_same_rules(storage: Storage, transport: Transport) -> None:
    waiting = HeldBackStorage(storage, None)
    assert waiting.single_writer
    waiting.put_new(SEGMENT, b"data")
    waiting.send()
    assert b"data" == transport.get(SEGMENT)


# Making and opening.


@pytest.mark.usefixtures("_cheap_keys")
def test_such_a_storage_is_refused_unless_it_is_for_a_single_writer(
    transport: Transport, tmp_path: Path
) -> None:
    with pytest.raises(NotExclusive) as caught:
        make(transport, tmp_path / "a", single_writer=False)
    assert "--single-writer" in caught.value.hint
    assert [] == list(transport.list(""))
    make(transport, tmp_path / "a")
    assert open_it(transport, tmp_path / "b").constants.single_writer


@pytest.mark.usefixtures("_cheap_keys")
def test_a_second_repository_is_refused(transport: Transport, tmp_path: Path) -> None:
    made = make(transport, tmp_path / "a")
    with pytest.raises(RepositoryPresent):
        make(transport, tmp_path / "b")
    assert made.id == open_it(transport, tmp_path / "c").id


@pytest.mark.usefixtures("_cheap_keys")
def test_one_that_was_begun_stays_what_it_was_begun_as(transport: Transport, tmp_path: Path) -> None:
    cut_off = Fault("put", lambda: StorageDenied("no more"), prefix=names.HEADS)
    with pytest.raises(StorageDenied):
        make(FailingTransport(transport, cut_off), tmp_path / "a")
    assert make(transport, tmp_path / "a", single_writer=False).constants.single_writer


@pytest.mark.usefixtures("_cheap_keys")
def test_changing_keys_changes_nothing_about_it(transport: Transport, tmp_path: Path) -> None:
    storage = make(transport, tmp_path / "a").storage
    code = Unlocker(slots.new_recovery_code())
    add_key(storage, FIRST, SECOND, "second")
    assert open_it(transport, tmp_path / "b", SECOND).constants.single_writer
    add_key(storage, SECOND, code, "paper")
    remove_key(storage, SECOND, 0)
    for name, secret in (("c", SECOND), ("d", code)):
        opened = open_it(transport, tmp_path / name, secret)
        assert (opened.constants.single_writer, opened.storage.single_writer) == (True, True)


@pytest.mark.parametrize("single_writer", [True, False])
def test_a_slot_says_which_it_is(single_writer: bool) -> None:
    content = SlotContent(bytes(32), Constants(CONSTANTS.cipher, CONSTANTS.chunker, single_writer))
    assert content == decode_slot(encode_slot(content, 428))


def test_an_old_slot_is_for_many_writers() -> None:
    content = SlotContent(bytes(32), CONSTANTS)
    body = encode_slot(content, 428).rstrip(b"\0")
    assert body.endswith(b"bitbacker")
    # One ends with zeros, and one was filled to the last byte.
    assert content == decode_slot(body + bytes(428 - len(body))) == decode_slot(body)


# A whole life.


@pytest.mark.usefixtures("_cheap_keys")
@pytest.mark.parametrize("strict", [True, False])
def test_two_machines_one_after_the_other_lose_nothing(
    transport: Transport, tmp_path: Path, rng: random.Random, strict: bool
) -> None:
    make(transport, tmp_path / "a")
    promised: dict[str, dict[bytes, Found]] = {}
    clients = [open_it(transport, tmp_path / name) for name in ("a", "b")]
    options = PruneOptions(live_part_min=1.0, strict=strict)
    for turn in range(8):
        client, root = clients[turn % 2], tmp_path / f"source{turn % 2}"
        root.mkdir(exist_ok=True)
        (root / "changing").write_bytes(rng.randbytes(50_000))
        (root / f"new{turn}").write_bytes(rng.randbytes(20_000))
        assert 0 == back_up(client, root, dry_run=True).problems
        snapshot = back_up(client, root, source=root.name).snapshot
        promised[snapshot.id] = tree(root)
        if turn % 3 == 2:
            identity = next(iter(promised))
            del promised[identity]
            forget(client, [bytes.fromhex(identity)])
            execute_prune(client, plan_prune(client, options), options)
    reader = open_it(transport, tmp_path / "reader")
    held = {one.id: contents(reader, one) for one in reader.catalog(reader.newest()).snapshots}
    assert promised == held
    result = check(reader, read_data=True)
    assert ((), 0) == (result.problems, result.orphans)


@pytest.mark.usefixtures("_cheap_keys")
def test_control_of_two_that_write_at_once_one_loses_its_snapshot(
    transport: Transport, tmp_path: Path
) -> None:
    """Why every run warns: between the look and the put another one comes."""
    make(transport, tmp_path / "a")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")
    other = open_it(transport, tmp_path / "b")

    class Interrupted(WrappedTransport):
        done = False

        def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
            if name.startswith(names.HEADS) and not self.done:
                self.done = True
                back_up(other, source, source="other")
            super().put(name, data, replace=replace)

    back_up(open_it(Interrupted(transport), tmp_path / "a"), source, source="mine")
    reader = open_it(transport, tmp_path / "reader")
    assert ["mine"] == [one.source for one in reader.catalog(reader.newest()).snapshots]
