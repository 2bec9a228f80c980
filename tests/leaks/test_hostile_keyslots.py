"""Experiments 36 and 39: key slots that are altered, substituted, brought back, or made cheaper to guess.

Whoever has the storage can compute the checksum of the object, so every attack here has one that fits.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from bitbacker.crypto import slots
from bitbacker.crypto.slots import Unlocker
from bitbacker.format.keyslots import PART_SIZE_BYTES, SLOTS, SlotContent
from bitbacker.repo import slots as repo_slots
from bitbacker.repo.slots import first_keyslots
from cli.command import Done, Home, plant
from hostile import expect_done, flip, forget_state, keyslots, look, refusal, told, with_checksum
from lab import CONSTANTS
from leak_lab.laboratory import Laboratory

NEW_PASSWORD = "another password"
DIRECTORY = SLOTS * PART_SIZE_BYTES


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the lowest level, because many are tried here."""
    monkeypatch.setattr(slots, "calibrated_level", lambda: 0)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A repository whose place this machine knows."""
    made = Home(tmp_path / "home")
    plant(made.data)
    expect_done(made.inside("init", "-q"))
    return made


def key_added(home: Home) -> None:
    (home.top / "new").write_text(NEW_PASSWORD)
    expect_done(home.inside("key", "add", "--new-password-file", "new"))


def with_password(home: Home, password: str, *arguments: str) -> Done:
    with mock.patch("cli.command.PASSWORD", password):
        return home.inside(*arguments)


def put(home: Home, data: bytes) -> None:
    keyslots(home).write_bytes(with_checksum(data))


@pytest.mark.experiment(39)
def test_substituted_key_slots(home: Home, laboratory: Laboratory) -> None:
    """Those of somebody who does not know the password, so that it opens none of them."""
    good = keyslots(home).read_bytes()
    content = SlotContent(bytes(32), CONSTANTS)
    keyslots(home).write_bytes(first_keyslots(Unlocker("not this one"), content, ""))
    assert refusal(look(home)) == "keyslots-replaced"
    forget_state(home)
    assert look(home).code == 12
    keyslots(home).write_bytes(good)
    expect_done(look(home))
    told(laboratory, "key slots substituted", "keyslots-replaced", "without state it is a wrong password")


@pytest.mark.experiment(39)
def test_a_wrong_password_stays_one_as_long_as_the_key_slots_are_the_same(home: Home) -> None:
    assert with_password(home, NEW_PASSWORD, "snapshots").code == 12
    keyslots(home).write_bytes(
        first_keyslots(Unlocker("not this one"), SlotContent(bytes(32), CONSTANTS), "")
    )
    typing_error = with_password(home, "bbr1" + "-0000" * 17, "snapshots")
    assert (typing_error.code, "typing error" in typing_error.err) == (12, True)


@pytest.mark.experiment(39)
def test_older_key_slots(home: Home, laboratory: Laboratory) -> None:
    """A password that was removed, because somebody knows it, would open the repository again."""
    older = keyslots(home).read_bytes()
    key_added(home)
    expect_done(with_password(home, NEW_PASSWORD, "key", "remove", "0", "--yes"))
    newer = keyslots(home).read_bytes()
    assert look(home).code == 12
    keyslots(home).write_bytes(older)
    assert refusal(look(home)) == "keyslots-rollback"
    forget_state(home)
    expect_done(look(home))
    keyslots(home).write_bytes(newer)
    expect_done(with_password(home, NEW_PASSWORD, "snapshots"))
    told(laboratory, "older key slots", "keyslots-rollback", "a machine without state takes the old password")


@pytest.mark.experiment(39)
def test_an_old_slot_among_new_ones(
    home: Home, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removed password by its old slot, beside the newest directory; a new machine notices, too."""
    older = keyslots(home).read_bytes()
    key_added(home)
    expect_done(with_password(home, NEW_PASSWORD, "key", "remove", "0", "--yes"))
    newer = keyslots(home).read_bytes()
    put(home, older[:PART_SIZE_BYTES] + newer[PART_SIZE_BYTES:])
    assert refusal(look(home)) == "keyslots-replaced"
    forget_state(home)
    assert refusal(look(home)) == "keyslots-replaced"
    monkeypatch.setattr(repo_slots, "decode_stamp", lambda _: repo_slots.Stamp())
    expect_done(look(home))
    told(laboratory, "an old slot among new ones", "keyslots-replaced", "without a stamp it opens")


@pytest.mark.experiment(39)
def test_two_objects_of_one_generation(home: Home, tmp_path: Path) -> None:
    """Two machines that change keys at once: the change of one is lost, and it is told."""
    other = home.copy(tmp_path / "other")
    key_added(home)
    key_added(other)
    expect_done(look(home))
    shutil.copy(keyslots(other), keyslots(home))
    assert refusal(look(home)) == "keyslots-replaced"


@pytest.mark.experiment(39)
def test_a_cheaper_level_cannot_be_forged(home: Home, laboratory: Laboratory) -> None:
    """The level follows from the salt, and the salt goes into the key: with another one nothing opens."""
    good = keyslots(home).read_bytes()
    for level in (0, 1):
        put(home, slots.salt_of_level(level) + good[slots.SALT_SIZE_BYTES :])
        assert refusal(look(home)) == "keyslots-replaced"
    forget_state(home)
    assert look(home).code == 12
    keyslots(home).write_bytes(good)
    expect_done(look(home))
    told(laboratory, "a slot of a cheaper level", "keyslots-replaced", "without state it is a wrong password")


@pytest.mark.experiment(39)
def test_new_slots_are_as_costly_whatever_the_storage_shows(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "calibrated_level", lambda: 2)
    key_added(home)
    data = keyslots(home).read_bytes()
    assert slots.cost_level(data[PART_SIZE_BYTES : PART_SIZE_BYTES + slots.SALT_SIZE_BYTES]) == 2


REGIONS = {
    "salt": (0, "keyslots-replaced"),
    "commitment": (32, "keyslots-replaced"),
    "root key": (70, "damage"),
    "tag of a slot": (PART_SIZE_BYTES - 1, "damage"),
    "an unused slot": (3 * PART_SIZE_BYTES + 100, "keyslots-replaced"),
    "the last slot": (DIRECTORY - 1, "keyslots-replaced"),
    "salt of the directory": (DIRECTORY, "damage"),
    "directory": (DIRECTORY + 40, "damage"),
    "tag of the directory": (DIRECTORY + PART_SIZE_BYTES - 1, "damage"),
}
SIZES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:-1],
    "emptied": lambda _: b"",
    "longer": lambda data: data + b"\0",
}


@pytest.mark.experiment(36)
@pytest.mark.parametrize("region", REGIONS)
def test_key_slots_altered_in_every_region(home: Home, region: str) -> None:
    good = keyslots(home).read_bytes()
    at, code = REGIONS[region]
    keyslots(home).write_bytes(flip(at)(good))
    assert refusal(look(home)) == "damage"
    put(home, flip(at)(good))
    assert refusal(look(home)) == code
    keyslots(home).write_bytes(good)
    expect_done(look(home))


@pytest.mark.experiment(36)
@pytest.mark.parametrize("how", [*SIZES, "checksum"])
def test_key_slots_of_another_size_or_checksum(home: Home, how: str) -> None:
    good = keyslots(home).read_bytes()
    keyslots(home).write_bytes({**SIZES, "checksum": flip(-1)}[how](good))
    assert refusal(look(home)) == "damage"
    keyslots(home).write_bytes(good)
    expect_done(look(home))
