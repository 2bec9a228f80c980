"""The key slots of a repository: opening, listing, adding, removing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bitbacker.crypto import slots
from bitbacker.crypto.keys import keys_of, object_hash
from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import KeySlotsReplaced, RepositoryError, WrongPassword
from bitbacker.format import names
from bitbacker.format.keyslots import (
    PART_SIZE_BYTES,
    SLOTS,
    Parts,
    SlotContent,
    SlotInfo,
    SlotKind,
    Stamp,
    decode_directory,
    decode_slot,
    decode_stamp,
    encode_directory,
    encode_slot,
    join,
    split,
)
from bitbacker.repo.slot_memory import SeenSlots, SlotMemory
from bitbacker.repo.storage import Storage

FIRST_GENERATION = 1
_SLOT_BYTES = slots.content_size_bytes(PART_SIZE_BYTES)
_DIRECTORY_BYTES = slots.directory_size_bytes(PART_SIZE_BYTES)


class KeyRefused(RepositoryError):
    """A key cannot be added or removed."""

    code = "key"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key of the repository, for `bitbacker key list`; `current` is the one that opened it."""

    number: int
    kind: SlotKind
    created_s: int
    label: str
    current: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """The keyslots object as one secret sees it; `generation` counts changes of keys."""

    number: int
    parts: Parts
    content: SlotContent
    infos: tuple[SlotInfo, ...]
    generation: int


def open_keyslots(data: bytes, unlocker: Unlocker) -> Opened:
    """Find the slot that this secret opens.

    Raises `DamageError` for an altered object, `KeySlotsReplaced` when its slots do not belong
    together, `WrongPassword`, `VersionUnknown`.
    """
    parts = split(data)
    slots.verify_checksum(data)
    for number, slot in enumerate(parts.slots):
        plaintext = slots.open_slot(unlocker, slot)
        if plaintext is not None:
            content = decode_slot(plaintext)
            directory = slots.open_directory(content.root_key, parts.directory)
            stamp = decode_stamp(directory)
            if stamp.generation and stamp.slots_hash != _hash_of(parts.slots):
                raise KeySlotsReplaced("the key slots are not those that their directory describes")
            return Opened(number, parts, content, decode_directory(directory), stamp.generation)
    raise WrongPassword("no key of the repository opens with this password")


def unlock(data: bytes, unlocker: Unlocker, memory: SlotMemory | None = None) -> SlotContent:
    """What the slot that this secret opens holds.  Raises as `open_known` does."""
    return open_known(data, unlocker, memory).content


def open_known(data: bytes, unlocker: Unlocker, memory: SlotMemory | None) -> Opened:
    """Open the keyslots, and hold them against what this machine remembers.

    Raises as `open_keyslots` does, `KeySlotsReplaced`, `KeySlotsRolledBack`, `RepositoryReplaced`.
    """
    if unlocker.is_recovery_code:
        # A typing error is one whatever the storage shows.
        slots.recovery_entropy(unlocker.secret)
    try:
        opened = open_keyslots(data, unlocker)
    except WrongPassword:
        if memory is not None:
            memory.refuse_others(object_hash(data))
        raise
    if memory is not None:
        memory.verify(seen_slots(data, opened.content, opened.generation))
    return opened


def seen_slots(data: bytes, content: SlotContent, generation: int = FIRST_GENERATION) -> SeenSlots:
    """What is worth remembering of a keyslots object."""
    return SeenSlots(keys_of(content.root_key).repository_id, generation, object_hash(data).hex())


def first_keyslots(unlocker: Unlocker, content: SlotContent, label: str) -> bytes:
    """The keyslots object of a new repository: one slot in use."""
    level = slots.calibrated_level()
    first = slots.seal_slot(unlocker, encode_slot(content, _SLOT_BYTES), level)
    unused = [slots.unused_slot(PART_SIZE_BYTES, level) for _ in range(SLOTS - 1)]
    infos = (_info(unlocker, label), *(SlotInfo(SlotKind.UNUSED) for _ in range(SLOTS - 1)))
    return _assemble((first, *unused), content, infos, FIRST_GENERATION)


def list_keys(storage: Storage, unlocker: Unlocker, memory: SlotMemory | None = None) -> tuple[KeyInfo, ...]:
    """The keys that are in use.  Raises as `open_known` does."""
    opened = open_known(storage.get(names.KEYSLOTS), unlocker, memory)
    return tuple(
        KeyInfo(number, info.kind, info.created_s, info.label, number == opened.number)
        for number, info in enumerate(opened.infos)
        if info.kind is not SlotKind.UNUSED
    )


def add_key(
    storage: Storage, unlocker: Unlocker, added: Unlocker, label: str, memory: SlotMemory | None = None
) -> int:
    """Let another secret open the repository; returns the number of its slot.

    Raises `KeyRefused` when all slots are in use, and as `open_known` does.
    """
    opened = open_known(storage.get(names.KEYSLOTS), unlocker, memory)
    free = [number for number, info in enumerate(opened.infos) if info.kind is SlotKind.UNUSED]
    if not free:
        raise KeyRefused("all key slots are in use", hint="remove a key that is no longer needed")
    slot = slots.seal_slot(added, encode_slot(opened.content, _SLOT_BYTES), slots.calibrated_level())
    _remember(memory, _replace(storage, opened, free[0], slot, _info(added, label)))
    return free[0]


def remove_key(storage: Storage, unlocker: Unlocker, number: int, memory: SlotMemory | None = None) -> None:
    """Forget a key; the one that is used now stays, so that nobody locks himself out.

    Raises `KeyRefused`, and as `open_known` does.
    """
    opened = open_known(storage.get(names.KEYSLOTS), unlocker, memory)
    if not 0 <= number < SLOTS or opened.infos[number].kind is SlotKind.UNUSED:
        raise KeyRefused(f"there is no key {number}", hint="bitbacker key list shows the keys")
    if number == opened.number:
        raise KeyRefused(
            f"key {number} is the one that is used now", hint="open with another key to remove it"
        )
    level = slots.cost_level(opened.parts.slots[opened.number][: slots.SALT_SIZE_BYTES])
    slot = slots.unused_slot(PART_SIZE_BYTES, level)
    _remember(memory, _replace(storage, opened, number, slot, SlotInfo(SlotKind.UNUSED)))


def _info(unlocker: Unlocker, label: str) -> SlotInfo:
    kind = SlotKind.RECOVERY if unlocker.is_recovery_code else SlotKind.PASSPHRASE
    return SlotInfo(kind, int(time.time()), label)


def _remember(memory: SlotMemory | None, seen: SeenSlots) -> None:
    if memory is not None:
        memory.store(seen)


def _replace(storage: Storage, opened: Opened, number: int, slot: bytes, info: SlotInfo) -> SeenSlots:
    sealed = tuple(slot if at == number else old for at, old in enumerate(opened.parts.slots))
    infos = tuple(info if at == number else old for at, old in enumerate(opened.infos))
    generation = opened.generation + 1
    data = _assemble(sealed, opened.content, infos, generation)
    storage.replace(names.KEYSLOTS, data)
    return seen_slots(data, opened.content, generation)


def _assemble(
    sealed: tuple[bytes, ...], content: SlotContent, infos: tuple[SlotInfo, ...], generation: int
) -> bytes:
    plaintext = encode_directory(infos, _DIRECTORY_BYTES, Stamp(generation, _hash_of(sealed)))
    return slots.with_checksum(join(Parts(sealed, slots.seal_directory(content.root_key, plaintext))))


def _hash_of(sealed: tuple[bytes, ...]) -> bytes:
    return object_hash(b"".join(sealed))
