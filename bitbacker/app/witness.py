"""Witnesses: what the newest head is, in a line, and whether the storage still goes on from such a line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bitbacker.app.access import Connection
from bitbacker.crypto.witness import PREFIX_SIZE_BYTES, Witness, decode_witness, encode_witness
from bitbacker.errors import ForkDetected, RollbackDetected

__all__ = ["Standing", "Verdict", "Witness", "check_witness", "decode_witness", "make_witness"]


class Standing(str, Enum):
    """How the newest head stands to a witness."""

    SAME = "same"
    LATER = "later"
    UNKNOWN = "unknown"
    """It has a higher number, and the repository does not say what came before its records of heads."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison: the number of the newest head, and of that of the witness."""

    standing: Standing
    head: int
    witnessed: int


def make_witness(connection: Connection) -> str:
    """The line of the newest head.  Raises `DamageError`, `StorageError`."""
    seen = connection.repository.heads.newest()
    return encode_witness(Witness(seen.head.number, seen.hash[:PREFIX_SIZE_BYTES]))


def check_witness(connection: Connection, witness: Witness) -> Verdict:
    """Whether what the storage shows goes on from a witness.

    Raises `RollbackDetected` when the storage shows an older state, `ForkDetected` when it shows another
    history, `HistoryUnknown`, `DamageError`, `StorageError`.
    """
    heads = connection.repository.heads
    newest = heads.newest()
    found = newest.head.number
    if found < witness.number:
        raise RollbackDetected(f"the newest head is {found}, but the witness has seen head {witness.number}")
    known = heads.hash_of(witness.number, newest)
    if known is None:
        return Verdict(Standing.UNKNOWN, found, witness.number)
    if not known.startswith(witness.prefix):
        raise ForkDetected(
            f"head {found} does not go on from the head {witness.number} of the witness",
            hint="make sure that the witness is one of this repository; if it is, clients were shown "
            "different histories: find out what happened to the storage before you trust it",
        )
    return Verdict(Standing.SAME if found == witness.number else Standing.LATER, found, witness.number)
