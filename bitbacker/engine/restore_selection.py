"""Which entries of a snapshot a list of paths means."""

from __future__ import annotations

from collections.abc import Sequence

from bitbacker.engine.restore_entries import join


class Selection:
    """Paths that are wanted: files, or directories with all below them; none means everything.

    The directories on the way to a wanted path are selected too, without their other entries.
    """

    def __init__(self, paths: Sequence[bytes]) -> None:
        wanted = {b"/".join(filter(None, path.split(b"/"))) for path in paths}
        self.everything = not wanted or b"" in wanted
        self._wanted = frozenset() if self.everything else frozenset(wanted)
        self._missing = set(self._wanted)
        self._names: dict[bytes, set[bytes]] = {}
        for path in self._wanted:
            below = path
            while below:
                above, _, name = below.rpartition(b"/")
                self._names.setdefault(above, set()).add(name)
                below = above

    @property
    def paths(self) -> tuple[bytes, ...]:
        """The wanted paths, none for everything."""
        return tuple(sorted(self._wanted))

    @property
    def missing(self) -> list[bytes]:
        """Wanted paths that no directory had so far."""
        return sorted(self._missing)

    def positions(self, directory: bytes, names: Sequence[bytes]) -> list[int] | None:
        """The entries of a directory that are selected; None for all of them."""
        wanted = self._names.get(directory, set())
        self._missing.difference_update(join(directory, name) for name in wanted.intersection(names))
        if self.everything or self._inside(directory):
            return None
        return [position for position, name in enumerate(names) if name in wanted]

    def _inside(self, path: bytes) -> bool:
        while path:
            if path in self._wanted:
                return True
            path = path.rpartition(b"/")[0]
        return False
