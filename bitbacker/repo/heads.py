"""Heads: reading the newest one, and proving that it goes on from what was seen before.

Heads are sealed and each names those before it, so a storage cannot make one up: it can only withhold
heads, or show some of them to one client and others to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from bitbacker.crypto.keys import object_hash
from bitbacker.crypto.seal import Sealer
from bitbacker.errors import (
    DamageError,
    ForkDetected,
    HistoryUnknown,
    ObjectMissing,
    ObjectsLocked,
    RollbackDetected,
    SizeWrong,
)
from bitbacker.format import names
from bitbacker.format.catalog import CatalogRecord, hash_record, hashes_before, head_records
from bitbacker.format.head import ANCESTOR_SIZE_BYTES, Head, decode_head, encode_head
from bitbacker.repo.pin import Pin
from bitbacker.repo.storage import Storage

_TRIES = 5

Recorded = Callable[[Head], Mapping[int, bytes]]
"""What the catalog of a head records of older heads: the first 16 bytes of the hash of each."""


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A head and the hash of the object it came in."""

    head: Head
    hash: bytes


class Heads:
    """Reads and writes the heads of a repository.

    The newest head that was read or written is held, and not read again while the storage lists no
    newer one: names are never used twice.
    """

    def __init__(self, storage: Storage, sealer: Sealer, pin: Pin, recorded: Recorded) -> None:
        self._storage = storage
        self._sealer = sealer
        self._pin = pin
        self._recorded = recorded
        self._held: SeenHead | None = None

    def newest(self) -> SeenHead:
        """The head with the highest number, which goes on from every head that this machine has seen.

        Raises `RollbackDetected`, `ForkDetected`, `HistoryUnknown`, `DamageError`, `StorageError`.
        """
        seen = self._read_newest()
        self._verify(seen)
        self._hold(seen)
        self.acknowledge(seen)
        return seen

    def _read_newest(self) -> SeenHead:
        for _ in range(_TRIES):
            number = self._listed_newest()
            if self._held is not None and number == self._held.head.number:
                return self._held
            try:
                return self.read(number)
            except ObjectMissing:
                # Between the listing and the read it was trimmed, so there is a newer one.
                continue
        raise DamageError("the heads that the storage lists cannot be read")

    def _listed_newest(self) -> int:
        info = self._storage.first(names.HEADS)
        if info is None:
            raise DamageError(
                "the repository has no head: making it was cut off, or all heads were removed",
                hint="if it was just being made, run bitbacker init again",
            )
        if info.size_bytes != names.HEAD_SIZE_BYTES:
            raise SizeWrong(f"the storage lists {info.name} with {info.size_bytes} bytes")
        number = names.head_number(info.name)
        if self._held is not None:
            self._refuse_older(number, self._held.head.number)
        return number

    def _refuse_older(self, found: int, seen: int) -> None:
        if found < seen:
            raise RollbackDetected(
                f"the newest head is {found}, but this machine has seen head {seen}", hint=self._pin.hint
            )

    def _verify(self, seen: SeenHead) -> None:
        pinned = self._pin.load()
        if pinned.number == 0:
            return
        self._refuse_older(seen.head.number, pinned.number)
        known = self.hash_of(pinned.number, seen)
        if known is not None and not pinned.hash.startswith(known):
            raise ForkDetected(
                f"head {seen.head.number} does not go on from the head {pinned.number} "
                "that this machine has seen",
                hint=self._pin.fork_hint,
            )

    def hash_of(self, number: int, newest: SeenHead) -> bytes | None:
        """What the newest head says of the hash of itself or an older one: all of it or 16 bytes.

        None when it is older than what the repository records.  Raises `HistoryUnknown` when it
        should be recorded, `ForkDetected`, `DamageError`, `StorageError`.
        """
        if number == newest.head.number:
            return newest.hash
        if number == newest.head.number - 1:
            return newest.head.previous_hash
        near = hashes_before(newest.head)
        if number in near:
            return near[number]
        recorded = self._recorded(newest.head)
        known = recorded.get(number) or self._walked(newest, recorded, number).get(number)
        if known is None and any(other <= number for other in recorded):
            raise HistoryUnknown(
                f"head {newest.head.number} no longer says what head {number} was", hint=self._pin.hint
            )
        return known

    def records(self) -> list[CatalogRecord]:
        """The catalog records of the newest head that was seen and of those before it; no request.

        Every session stores them, so that any later head says what all heads before it were.
        """
        return [] if self._held is None else head_records(self._held.head, self._held.hash)

    def all_records(self, recorded: Mapping[int, bytes]) -> list[CatalogRecord]:
        """The catalog records of all heads up to the newest that was seen, given those that there are.

        Heads that no session has recorded, because many were under way at once, are read again; so a
        prune asks for this before it removes heads.  Raises `ForkDetected`, `DamageError`, `StorageError`.
        """
        known = {} if self._held is None else self._walked(self._held, recorded, 1)
        return [hash_record(number, known[number]) for number in sorted(known)]

    def _walked(self, newest: SeenHead, recorded: Mapping[int, bytes], last: int) -> dict[int, bytes]:
        """The hashes of all heads down to `last`, as far as heads that are still there lead."""
        at = newest.head.number
        known = {**recorded, **hashes_before(newest.head), at: newest.hash[:ANCESTOR_SIZE_BYTES]}
        while at > last:
            if at - 1 not in known:
                try:
                    older = self.read(at)
                except ObjectMissing:
                    break
                if not older.hash.startswith(known[at]):
                    raise ForkDetected(
                        f"head {at} is not the one that head {newest.head.number} goes on from"
                    )
                known.update(hashes_before(older.head))
            at -= 1
        return known

    def read(self, number: int) -> SeenHead:
        """One head.  Raises `ObjectMissing`, `DamageError`."""
        name = names.head_name(number)
        data = self._storage.get(name)
        if len(data) != names.HEAD_SIZE_BYTES:
            raise SizeWrong(f"{name} has {len(data)} bytes instead of {names.HEAD_SIZE_BYTES}")
        head = decode_head(self._sealer.open(name, data))
        if head.number != number:
            raise DamageError(f"{name} holds head {head.number}")
        return SeenHead(head, object_hash(data))

    def put(self, head: Head) -> SeenHead:
        """Create a head.  Raises `ObjectExists` when another client has created this number."""
        name = names.head_name(head.number)
        size = names.HEAD_SIZE_BYTES - self._sealer.overhead_bytes
        plaintext = encode_head(head, size)
        data = self._sealer.seal(name, plaintext)
        self._storage.put_new(name, data)
        # Encoding may leave tips out, and what is held must be what anybody else reads.
        seen = SeenHead(decode_head(plaintext), object_hash(data))
        self._hold(seen)
        return seen

    def _hold(self, seen: SeenHead) -> None:
        if self._held is None or seen.head.number > self._held.head.number:
            self._held = seen

    def acknowledge(self, seen: SeenHead) -> None:
        """Remember a head that this machine has seen or committed."""
        self._pin.raise_to(seen.head.number, seen.hash)

    def numbers(self) -> list[int]:
        """The numbers of all heads that are there, newest first."""
        return [names.head_number(info.name) for info in self._storage.list(names.HEADS)]

    def trim(self, keep: int) -> None:
        """Remove all but the newest `keep` heads; those that the storage keeps locked go another time."""
        with suppress(ObjectsLocked):
            self._storage.delete(names.head_name(number) for number in self.numbers()[keep:])
