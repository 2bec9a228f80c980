"""The newest head that this machine has seen of a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitbacker.errors import DamageError
from bitbacker.repo.state import save


@dataclass(frozen=True, slots=True)
class PinnedHead:
    """Number and whole hash of a head; number 0 when none was seen."""

    number: int
    hash: bytes


class Pin:
    """A file in the state directory that only ever goes up."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "newest-head"

    @property
    def hint(self) -> str:
        """What to do when the storage does not fit."""
        return (
            "find out who restored or replaced the storage before you trust it; "
            f"removing {self._path} accepts what it shows"
        )

    @property
    def fork_hint(self) -> str:
        """What to do when the storage shows another history."""
        return (
            "clients were shown different histories: compare bitbacker witness on all machines before you "
            f"trust the storage; removing {self._path} accepts what it shows"
        )

    def load(self) -> PinnedHead:
        """Raises `DamageError`."""
        try:
            number, digest = self._path.read_text("ascii").split()
            return PinnedHead(int(number), bytes.fromhex(digest))
        except FileNotFoundError:
            return PinnedHead(0, b"")
        except ValueError as error:
            raise DamageError(
                f"{self._path} is damaged",
                hint="remove it if you are sure that the storage was not rolled back",
            ) from error

    def raise_to(self, number: int, head_hash: bytes) -> None:
        """Remember a head, durably, unless a newer one is remembered."""
        if number > self.load().number:
            save(self._path, f"{number} {head_hash.hex()}\n")
