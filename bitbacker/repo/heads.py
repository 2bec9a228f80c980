"""Heads: reading the newest one, and what this machine remembers of it."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from bitbacker.crypto.keys import object_hash
from bitbacker.crypto.seal import Sealer
from bitbacker.errors import DamageError, ObjectMissing, RollbackDetected, SealBroken
from bitbacker.format import names
from bitbacker.format.head import Head, decode_head, encode_head
from bitbacker.repo.storage import Storage

_TRIES = 5


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A head and the hash of the object it came in."""

    head: Head
    hash: bytes


class Pin:
    """The highest head that this machine has seen of a repository, kept in its state directory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "newest-head"

    def load(self) -> tuple[int, str]:
        """Number and hash; (0, "") when nothing was seen.  Raises `DamageError`."""
        try:
            number, digest = self._path.read_text("ascii").split()
            return int(number), digest
        except FileNotFoundError:
            return 0, ""
        except ValueError as error:
            raise DamageError(
                f"{self._path} is damaged",
                hint="remove it if you are sure that the storage was not rolled back",
            ) from error

    def store(self, seen: SeenHead) -> None:
        """Remember a head, durably."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_name(f".newest-head.{secrets.token_hex(4)}")
        with temporary.open("w", encoding="ascii") as file:
            file.write(f"{seen.head.number} {seen.hash.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)

    def verify(self, seen: SeenHead) -> None:
        """Raise `RollbackDetected` when `seen` cannot follow what was seen before."""
        number, digest = self.load()
        found = seen.head.number
        if found < number:
            raise RollbackDetected(f"the newest head is {found}, but this machine has seen head {number}")
        if found == number and seen.hash.hex() != digest:
            raise RollbackDetected(f"head {number} is not the one that this machine has seen")
        if found == number + 1 and number and seen.head.previous_hash.hex() != digest:
            raise RollbackDetected(
                f"head {found} does not follow the head {number} that this machine has seen"
            )


class Heads:
    """Reads and writes the heads of a repository."""

    def __init__(self, storage: Storage, sealer: Sealer, pin: Pin) -> None:
        self._storage = storage
        self._sealer = sealer
        self._pin = pin

    def newest(self) -> SeenHead:
        """The head with the highest number.

        Raises `RollbackDetected`, `DamageError`, `StorageError`.
        """
        seen = self._read_newest()
        self._pin.verify(seen)
        if seen.head.number > self._pin.load()[0]:
            self._pin.store(seen)
        return seen

    def _read_newest(self) -> SeenHead:
        for _ in range(_TRIES):
            info = self._storage.first(names.HEADS)
            if info is None:
                raise DamageError(
                    "the repository has no head: making it was cut off, or all heads were removed",
                    hint="if it was just being made, run bitbacker init again",
                )
            try:
                return self.read(names.head_number(info.name))
            except ObjectMissing:
                # Between the listing and the read it was trimmed, so there is a newer one.
                continue
        raise DamageError("the heads that the storage lists cannot be read")

    def read(self, number: int) -> SeenHead:
        """One head.  Raises `ObjectMissing`, `DamageError`."""
        name = names.head_name(number)
        data = self._storage.get(name)
        if len(data) != names.HEAD_SIZE_BYTES:
            raise SealBroken(f"{name} has {len(data)} bytes instead of {names.HEAD_SIZE_BYTES}")
        head = decode_head(self._sealer.open(name, data))
        if head.number != number:
            raise DamageError(f"{name} holds head {head.number}")
        return SeenHead(head, object_hash(data))

    def put(self, head: Head) -> SeenHead:
        """Create a head.  Raises `ObjectExists` when another client has created this number."""
        name = names.head_name(head.number)
        size = names.HEAD_SIZE_BYTES - self._sealer.overhead_bytes
        data = self._sealer.seal(name, encode_head(head, size))
        self._storage.put_new(name, data)
        return SeenHead(head, object_hash(data))

    def acknowledge(self, seen: SeenHead) -> None:
        """Remember a head that this machine has committed."""
        self._pin.store(seen)

    def numbers(self) -> list[int]:
        """The numbers of all heads that are there, newest first."""
        return [names.head_number(info.name) for info in self._storage.list(names.HEADS)]

    def trim(self, keep: int) -> None:
        """Remove all but the newest `keep` heads."""
        self._storage.delete(names.head_name(number) for number in self.numbers()[keep:])
