"""Key slots: who opens them, what is told of them, and what they do not tell."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from bitbacker.crypto import slots
from bitbacker.crypto.keys import derive
from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import BitBackerError, DamageError, VersionUnknown, WrongPassword
from bitbacker.format.keyslots import PART_SIZE_BYTES, SlotContent
from bitbacker.repo.slots import first_keyslots, open_keyslots
from vectors.generators.builder import (
    PASSWORD,
    RECOVERY_ENTROPY,
    KeyslotsPlan,
    checksummed,
    constants,
    keyslots,
    recovery_code,
    slot_salt,
    stretched,
)

ROOT_KEY = bytes(range(32))
PLAN = KeyslotsPlan(ROOT_KEY, passwords={1: PASSWORD}, recovery={4: RECOVERY_ENTROPY})


@pytest.fixture(scope="module")
def data() -> bytes:
    return keyslots(PLAN)


def outcome(data: bytes, secret: str) -> type[BitBackerError] | int:
    """The number of the slot that opens, or the error."""
    try:
        return open_keyslots(data, Unlocker(secret)).number
    except BitBackerError as error:
        return type(error)


def test_a_password_opens_its_slot(data: bytes) -> None:
    opened = open_keyslots(data, Unlocker(PASSWORD))
    assert opened.number == 1
    assert opened.content == SlotContent(ROOT_KEY, constants("aes-256-gcm"))
    assert [info.label for info in opened.infos if info.label] == ["key 1", "key 4"]


def test_a_recovery_code_opens_its_slot(data: bytes) -> None:
    assert outcome(data, recovery_code()) == 4
    assert outcome(data, f"  {recovery_code()}\n") == 4


def test_another_password_is_a_wrong_password(data: bytes) -> None:
    assert outcome(data, PASSWORD + " ") is WrongPassword


def test_another_recovery_code_is_a_wrong_password(data: bytes) -> None:
    assert outcome(data, recovery_code(bytes(32))) is WrongPassword


def test_every_flipped_bit_is_damage(data: bytes) -> None:
    def flipped() -> Iterator[bytes]:
        for position, bit in itertools.product(range(len(data)), range(8)):
            yield data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]

    assert {outcome(spoiled, PASSWORD) for spoiled in flipped()} == {DamageError}


@pytest.mark.parametrize("size", [0, 1, 32, 508, 4095])
def test_a_part_of_the_object_is_damage(data: bytes, size: int) -> None:
    assert outcome(data[:size], PASSWORD) is DamageError
    assert outcome(data + data[:1], PASSWORD) is DamageError


def test_damage_behind_a_right_checksum_is_damage_too(data: bytes) -> None:
    spoiled = bytearray(data[:-32])
    spoiled[508 + 64] ^= 1
    assert outcome(checksummed(bytes(spoiled)), PASSWORD) is DamageError


def test_a_damaged_directory_is_damage(data: bytes) -> None:
    spoiled = bytearray(data[:-32])
    spoiled[7 * 508 + 40] ^= 1
    assert outcome(checksummed(bytes(spoiled)), PASSWORD) is DamageError


def test_another_version_is_told_as_such() -> None:
    assert outcome(keyslots(KeyslotsPlan(ROOT_KEY, version=2)), PASSWORD) is VersionUnknown


def test_the_three_errors_are_three() -> None:
    kinds = [WrongPassword, DamageError, VersionUnknown]
    assert len({kind.code for kind in kinds}) == len({kind.exit_code for kind in kinds}) == 3
    assert not any(issubclass(one, other) for one, other in itertools.permutations(kinds, 2))


def test_a_slot_is_the_one_that_the_document_describes(data: bytes) -> None:
    salt = data[508:540]
    assert slots.cost_level(salt) == 0
    material = derive(stretched(PASSWORD, salt), salt, b"bitbacker/1/slot", 64)
    assert data[540:572] == material[32:]


@pytest.mark.parametrize(("number", "level"), [(0, 3), (1, 1), (2, 1), (3, 0), (4, 1), (5, 3)])
def test_levels_of_known_salts(number: int, level: int) -> None:
    assert slots.cost_level(bytes([number]) * 32) == level


@pytest.mark.parametrize("level", range(4))
def test_a_salt_is_drawn_until_it_implies_its_level(level: int) -> None:
    drawn = [slots.salt_of_level(level) for _ in range(20)]
    assert {slots.cost_level(salt) for salt in drawn} == {level}
    assert len(set(drawn)) == 20


def test_levels_are_equally_frequent_among_random_salts() -> None:
    counts = Counter(slots.cost_level(number.to_bytes(32, "little")) for number in range(4000))
    assert all(900 < counts[level] < 1100 for level in range(4))


def test_the_calibrated_level_is_one_of_the_levels() -> None:
    assert slots.calibrated_level() in range(len(slots.ARGON2_PASSES))


def test_no_level_is_cheaper_than_promised() -> None:
    assert slots.ARGON2_MEMORY_KIB >= 64 * 1024
    assert min(slots.ARGON2_PASSES) >= 3


def unlikely(sample: bytes) -> bool:
    """Whether bytes are distributed as random ones hardly ever are: chi square, 255 degrees of freedom."""
    counts, expected = Counter(sample), len(sample) / 256
    return sum((counts[byte] - expected) ** 2 / expected for byte in range(256)) > 380


def test_unused_slots_look_like_used_ones() -> None:
    level = 0
    made = [slots.unused_slot(PART_SIZE_BYTES, level) for _ in range(300)]
    assert {len(slot) for slot in made} == {PART_SIZE_BYTES}
    assert {slots.cost_level(slot[:32]) for slot in made} == {level}
    assert not unlikely(b"".join(made))
    assert len({slot[at : at + 16] for slot in made for at in range(0, 496, 16)}) == 300 * 31


def test_a_slot_with_zeros_in_it_would_be_told_apart() -> None:
    """The control of the test above."""
    made = [slots.unused_slot(PART_SIZE_BYTES - 16, 0) + bytes(16) for _ in range(300)]
    assert unlikely(b"".join(made))


def test_a_new_keyslots_object_has_seven_slots_of_one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "calibrated_level", lambda: 0)
    data = first_keyslots(Unlocker(PASSWORD), SlotContent(ROOT_KEY, constants("aes-256-gcm")), "mine")
    assert len(data) == 4096
    assert {slots.cost_level(data[at : at + 32]) for at in range(0, 7 * 508, 508)} == {0}
    assert open_keyslots(data, Unlocker(PASSWORD)).infos[0].label == "mine"


def test_recovery_codes_are_random_and_of_one_form() -> None:
    codes = [slots.new_recovery_code() for _ in range(50)]
    assert len(set(codes)) == 50
    assert all(Unlocker(code).is_recovery_code for code in codes)
    assert all(len(slots.recovery_entropy(code)) == 32 for code in codes)


def test_a_known_recovery_code() -> None:
    code = recovery_code()
    assert code.startswith("bbr1-0001-0203-0405-")
    assert code.endswith("-1c1d-1e1f-1437")
    assert slots.recovery_entropy(code) == RECOVERY_ENTROPY


def typing_errors(code: str) -> Iterator[str]:
    """Every digit replaced by every other one, and neighbours that changed places."""
    places = [at for at, letter in enumerate(code) if letter in "0123456789abcdef" and at > 4]
    for at in places:
        for digit in "0123456789abcdef".replace(code[at], ""):
            yield code[:at] + digit + code[at + 1 :]
    for one, other in itertools.pairwise(places):
        if code[one] != code[other]:
            swapped = list(code)
            swapped[one], swapped[other] = code[other], code[one]
            yield "".join(swapped)


def test_a_typing_error_in_a_recovery_code_is_told_before_anything_is_tried(data: bytes) -> None:
    missed = []
    for code in typing_errors(recovery_code()):
        try:
            open_keyslots(data, Unlocker(code))
            missed.append(code)
        except WrongPassword as error:
            if "typing error" not in error.message:
                missed.append(code)
    assert missed == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bbr1",
        recovery_code()[:-1],
        recovery_code() + "0",
        recovery_code().upper(),
        recovery_code().replace("-", ""),
        recovery_code().replace("bbr1", "bbr2"),
    ],
)
def test_what_is_no_recovery_code_is_a_password(text: str) -> None:
    assert not Unlocker(text).is_recovery_code


def test_secrets_do_not_show_themselves(data: bytes) -> None:
    opened = open_keyslots(data, Unlocker(PASSWORD))
    shown = repr(Unlocker(PASSWORD)) + repr(opened) + str(opened) + repr(opened.content)
    for secret in (PASSWORD, ROOT_KEY.hex(), repr(ROOT_KEY)[2:-1]):
        assert secret not in shown


@pytest.mark.parametrize("secret", ["a wrong password", recovery_code(bytes(32)), recovery_code()[:-1] + "0"])
def test_errors_do_not_show_the_secret(data: bytes, secret: str) -> None:
    with pytest.raises(WrongPassword) as caught:
        open_keyslots(data, Unlocker(secret))
    text = f"{caught.value} {caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    assert secret not in text


def test_salts_of_the_vectors_are_cheap() -> None:
    assert slots.cost_level(slot_salt("any")) == 0
