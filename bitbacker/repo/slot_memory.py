"""What this machine remembers of key slots, so that others cannot take their place unnoticed.

Nothing is asked of the storage for it.  One file belongs to the place, which is the URL of the remote:
what was opened there.  Another belongs to the repository: the newest slots that were seen of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitbacker.crypto.keys import object_hash
from bitbacker.errors import DamageError, KeySlotsReplaced, KeySlotsRolledBack, RepositoryReplaced
from bitbacker.repo.state import save


@dataclass(frozen=True, slots=True)
class SeenSlots:
    """A keyslots object that was opened: repository, generation of its keys, hash of the object."""

    repository: str
    generation: int
    hash: str


class SlotMemory:
    """Remembers and compares; without a `location` only what belongs to the repository."""

    def __init__(self, state: Path, location: str = "") -> None:
        name = object_hash(location.encode("utf-8", "surrogateescape")).hex()[:32]
        self._place = state / "places" / name if location else None
        self._state = state

    @property
    def used_before(self) -> bool:
        """Whether this machine has opened a repository at this place."""
        return _load(self._place) is not None

    def refuse_others(self, data_hash: bytes) -> None:
        """Raise `KeySlotsReplaced` when these slots, which did not open, are not those remembered."""
        remembered = _load(self._place)
        if self._place is not None and remembered and remembered.hash != data_hash.hex():
            raise KeySlotsReplaced(
                "the password opens none of the key slots, and they are not those that this machine "
                "has used here",
                hint="if keys were changed on another machine, use a password that is still valid; "
                f"else find out who replaced them, and remove {self._place} to accept them",
            )

    def verify(self, seen: SeenSlots) -> None:
        """Compare slots that opened with what is remembered, and remember them.

        Raises `RepositoryReplaced`, `KeySlotsRolledBack`, `KeySlotsReplaced`, `DamageError`.
        """
        here = _load(self._place)
        if self._place is not None and here and here.repository != seen.repository:
            raise RepositoryReplaced(
                "another repository lies where this machine has used one",
                hint=f"if it was made anew on purpose, remove {self._place} to accept it; "
                "else find out who replaced it before you store anything in it",
            )
        newest = _load(self._of(seen))
        if newest and seen.generation < newest.generation:
            raise KeySlotsRolledBack(
                f"the key slots are of generation {seen.generation}, but this machine has seen "
                f"generation {newest.generation}",
                hint="a password that was removed may open them again: find out who brought them back; "
                f"removing {self._of(seen)} accepts them",
            )
        if newest and seen.generation == newest.generation and seen.hash != newest.hash:
            raise KeySlotsReplaced(
                f"the key slots of generation {seen.generation} are not those that this machine has seen",
                hint="if two machines changed keys at the same time, one of the changes is lost; "
                f"look at bitbacker key list; removing {self._of(seen)} accepts what is there",
            )
        self.store(seen)

    def store(self, seen: SeenSlots) -> None:
        """Remember slots that this machine has opened or written."""
        line = f"{seen.repository} {seen.generation} {seen.hash}\n"
        for path in (self._of(seen), self._place):
            if path is not None and _load(path) != seen:
                save(path, line)

    def _of(self, seen: SeenSlots) -> Path:
        return self._state / seen.repository / "keyslots"


def _load(path: Path | None) -> SeenSlots | None:
    """What a file remembers.  Raises `DamageError`."""
    if path is None:
        return None
    try:
        repository, generation, digest = path.read_text("ascii").split()
        return SeenSlots(repository, int(generation), digest)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamageError(
            f"{path} is damaged", hint="remove it if you are sure that nobody replaced the key slots"
        ) from error
