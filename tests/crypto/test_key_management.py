"""Adding, listing and removing keys changes one slot and leaves the others alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitbacker.crypto import slots
from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import WrongPassword
from bitbacker.format.keyslots import SLOTS, SlotContent, SlotKind
from bitbacker.repo.slots import KeyInfo, KeyRefused, add_key, first_keyslots, list_keys, remove_key, unlock
from bitbacker.repo.storage import Storage
from bitbacker.spi import NoConfig
from bitbacker_plugins.memory import MemoryTransport
from vectors.generators.builder import constants, recovery_code

URL = "memory://key-management"
FIRST = Unlocker("the first password")
SECOND = Unlocker("the second password")
CONTENT = SlotContent(bytes(range(32)), constants("aes-256-gcm"))


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """A storage with the keyslots of a new repository, at the cheapest level."""
    monkeypatch.setattr(slots, "calibrated_level", lambda: 0)
    MemoryTransport.drop(URL)
    storage = Storage(MemoryTransport(URL, NoConfig()))
    storage.put_new("keyslots", first_keyslots(FIRST, CONTENT, "first"))
    yield storage
    MemoryTransport.drop(URL)


def brief(infos: tuple[KeyInfo, ...]) -> list[tuple[int, SlotKind, str, bool]]:
    return [(info.number, info.kind, info.label, info.current) for info in infos]


def slots_of(storage: Storage) -> list[bytes]:
    data = storage.get("keyslots")
    assert len(data) == 4096
    return [data[at : at + 508] for at in range(0, 7 * 508, 508)]


def test_a_new_repository_has_one_key(storage: Storage) -> None:
    assert brief(list_keys(storage, FIRST)) == [(0, SlotKind.PASSPHRASE, "first", True)]


def test_a_key_that_is_added_opens_the_same_repository(storage: Storage) -> None:
    before = slots_of(storage)
    assert add_key(storage, FIRST, SECOND, "second") == 1
    after = slots_of(storage)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False] + [True] * 5
    assert unlock(storage.get("keyslots"), SECOND) == CONTENT
    assert brief(list_keys(storage, SECOND)) == [
        (0, SlotKind.PASSPHRASE, "first", False),
        (1, SlotKind.PASSPHRASE, "second", True),
    ]


def test_a_key_that_is_removed_opens_nothing(storage: Storage) -> None:
    add_key(storage, FIRST, SECOND, "second")
    kept = slots_of(storage)
    remove_key(storage, SECOND, 0)
    assert [old == new for old, new in zip(kept, slots_of(storage), strict=True)] == [False] + [True] * 6
    assert brief(list_keys(storage, SECOND)) == [(1, SlotKind.PASSPHRASE, "second", True)]
    with pytest.raises(WrongPassword):
        unlock(storage.get("keyslots"), FIRST)


def test_a_slot_that_was_removed_keeps_its_level(storage: Storage) -> None:
    add_key(storage, FIRST, SECOND, "second")
    remove_key(storage, FIRST, 1)
    assert slots.cost_level(slots_of(storage)[1][:32]) == 0


def test_a_slot_that_was_removed_is_used_again(storage: Storage) -> None:
    add_key(storage, FIRST, SECOND, "second")
    remove_key(storage, SECOND, 0)
    assert add_key(storage, SECOND, FIRST, "again") == 0


def test_a_recovery_code_is_a_key(storage: Storage) -> None:
    code = Unlocker(recovery_code())
    add_key(storage, FIRST, code, "paper")
    assert brief(list_keys(storage, code))[1] == (1, SlotKind.RECOVERY, "paper", True)


def test_the_key_in_use_cannot_be_removed(storage: Storage) -> None:
    with pytest.raises(KeyRefused, match="used now"):
        remove_key(storage, FIRST, 0)


@pytest.mark.parametrize("number", [-1, 1, SLOTS])
def test_a_key_that_is_not_there_cannot_be_removed(storage: Storage, number: int) -> None:
    with pytest.raises(KeyRefused, match="there is no key"):
        remove_key(storage, FIRST, number)


def test_there_is_room_for_seven_keys(storage: Storage) -> None:
    for number in range(1, SLOTS):
        assert (
            add_key(storage, FIRST, Unlocker(recovery_code(bytes([number]) * 32)), f"code {number}") == number
        )
    with pytest.raises(KeyRefused, match="in use"):
        add_key(storage, FIRST, SECOND, "one too many")


def test_nobody_without_a_key_can_add_or_remove_one(storage: Storage) -> None:
    before = storage.get("keyslots")
    with pytest.raises(WrongPassword):
        add_key(storage, SECOND, SECOND, "mine now")
    with pytest.raises(WrongPassword):
        remove_key(storage, SECOND, 0)
    assert storage.get("keyslots") == before
