"""Heads: what a session asks for, what a head says of those before it, and what a machine remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bitbacker.errors import DamageError, ForkDetected, HistoryUnknown, SizeWrong
from bitbacker.format import names
from bitbacker.format.head import Head
from bitbacker.repo.commit import commit
from bitbacker.repo.open import Repository
from bitbacker.repo.pin import Pin
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from lab import Lab, back_up
from leak_lab.recording import RecordingTransport


class Nothing:
    """A change that changes nothing, committed without a session: no catalog records what it follows."""

    def check(self, base: Head, newest: Head) -> None:
        """It can always be made."""

    def apply(self, newest: Head) -> Head:
        return newest

    def holds(self, newest: Head) -> bool:
        del newest
        return True


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    return lab


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "file").write_text("content")
    return root


def bare_commits(client: Repository, count: int) -> None:
    """Heads that no catalog knows of, as many sessions at once leave them behind."""
    for _ in range(count):
        commit(client, client.newest(), Nothing())


def hashes(client: Repository, count: int) -> dict[int, bytes]:
    """The hash of every head that is there, read one by one."""
    return {number: client.heads.read(number).hash for number in range(1, count + 1)}


def test_a_commit_lists_gets_lists_puts_and_lists(lab: Lab) -> None:
    transport = RecordingTransport(lab.transport)
    client = lab.client("two", transport)
    commit(client, client.newest(), Nothing())
    operations = [event.operation for event in transport.view().events]
    assert ["list", "get", "list", "put", "list"] == operations


def test_a_head_that_is_held_is_not_read_again(lab: Lab) -> None:
    transport = RecordingTransport(lab.transport)
    client = lab.client("two", transport)
    for _ in range(3):
        client.newest()
    bare_commits(lab.client(), 1)
    assert client.newest().number == 2
    gets = [event for event in transport.view().events if event.operation == "get"]
    assert len(gets) == 2


def test_a_head_names_the_sixteen_before_it(lab: Lab) -> None:
    client = lab.client()
    bare_commits(client, 20)
    every = hashes(client, 21)
    newest = client.heads.newest()
    assert newest.head.previous_hash == every[20]
    assert [every[number][:16] for number in range(19, 4, -1)] == list(newest.head.ancestors)
    early = client.heads.read(2).head
    assert (early.previous_hash, early.ancestors) == (every[1], ())


def test_the_catalog_says_what_all_heads_were(lab: Lab, source: Path) -> None:
    client = lab.client()
    for number in range(40):
        (source / "file").write_text(f"{number}")
        back_up(client, source)
    newest = client.newest()
    recorded = client.catalog(newest).head_hashes
    every = hashes(client, newest.number)
    assert {number: every[number][:16] for number in range(1, newest.number)} == recorded


def test_heads_that_no_session_recorded_are_found_through_those_that_are_there(
    lab: Lab, source: Path
) -> None:
    seen = {number: lab.client(f"seen{number}") for number in (1, 2, 20)}
    client = lab.client()
    seen[1].newest()
    back_up(client, source)
    seen[2].newest()
    bare_commits(client, 18)
    seen[20].newest()
    bare_commits(client, 30)
    back_up(client, source)
    newest = client.newest().number
    assert not set(range(3, 30)) & client.catalog(client.newest()).head_hashes.keys()
    for number in seen:
        assert lab.client(f"seen{number}").newest().number == newest


def test_a_prune_writes_down_what_it_removes(lab: Lab, source: Path) -> None:
    lab.client("long ago").newest()
    client = lab.client()
    back_up(client, source)
    bare_commits(client, 40)
    every = hashes(client, 42)
    back_up(client, source)
    options = PruneOptions(live_part_min=1.0)
    execute_prune(client, plan_prune(client, options), options)
    assert min(client.heads.numbers()) > 25
    recorded = client.catalog(client.newest()).head_hashes
    assert {number: digest[:16] for number, digest in every.items()}.items() <= recorded.items()
    lab.client("long ago").newest()


def test_a_history_that_should_be_known_and_is_not_is_an_error(lab: Lab, source: Path) -> None:
    client = lab.client()
    back_up(client, source)
    bare_commits(client, 3)
    lab.client("two").newest()
    bare_commits(client, 30)
    lab.client("control").heads.acknowledge(client.heads.read(5))
    lab.client("control").newest()
    lab.transport.delete([names.head_name(number) for number in range(6, 30)])
    with pytest.raises(HistoryUnknown):
        lab.client("two").newest()


def test_a_head_from_before_all_records_is_not_known(lab: Lab) -> None:
    client = lab.client()
    bare_commits(client, 30)
    lab.transport.delete([names.head_name(number) for number in range(1, 29)])
    assert client.heads.hash_of(2, client.heads.newest()) is None


def test_a_chain_with_a_foreign_link_is_a_fork(lab: Lab, tmp_path: Path) -> None:
    """A head of another history under the number of one that the chain leads through."""
    other = lab.copy(tmp_path / "other")
    bare_commits(lab.client(), 40)
    bare_commits(other.client("other"), 40)
    lab.client("two").heads.acknowledge(lab.client().heads.read(3))
    for number in range(5, 40):
        lab.transport.put(names.head_name(number), other.transport.get(names.head_name(number)), replace=True)
    with pytest.raises(ForkDetected):
        lab.client("two").newest()


def test_a_head_that_the_storage_lists_with_another_size_is_not_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = lab.client("two")
    listed = next(iter(lab.transport.list(names.HEADS)))
    first = client.storage.first
    monkeypatch.setattr(client.storage, "first", lambda _: replace(listed, size_bytes=1 << 40))
    with pytest.raises(SizeWrong):
        client.newest()
    monkeypatch.setattr(client.storage, "first", first)
    client.newest()


def test_what_is_held_after_a_put_is_what_others_read(lab: Lab) -> None:
    client = lab.client()
    bare_commits(client, 2)
    assert lab.client("two").heads.newest() == client.heads.newest()


def test_a_pin_only_goes_up(tmp_path: Path) -> None:
    pin = Pin(tmp_path / "state")
    assert pin.load().number == 0
    pin.raise_to(5, b"five")
    pin.raise_to(4, b"four")
    assert (pin.load().number, pin.load().hash) == (5, b"five")


def test_a_damaged_pin_is_an_error_that_names_it(tmp_path: Path) -> None:
    pin = Pin(tmp_path)
    (tmp_path / "newest-head").write_text("nonsense")
    with pytest.raises(DamageError, match="newest-head"):
        pin.load()
