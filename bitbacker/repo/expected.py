"""How much a source held when it was last backed up from here, for a guess at how long it will take."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path


class Expected:
    """Kept in the state directory; nothing depends on it but what is shown."""

    def __init__(self, folder: Path, host: str, source: str) -> None:
        name = hashlib.blake2b(os.fsencode(f"{host}\0{source}"), digest_size=16).hexdigest()
        self._path = folder / f"expected-{name}"

    def load(self) -> tuple[int, int]:
        """Files and bytes; 0 and 0 when nothing is known."""
        try:
            files, size_bytes = self._path.read_text("ascii").split()
            return int(files), int(size_bytes)
        except (OSError, ValueError):
            return 0, 0

    def store(self, files: int, size_bytes: int) -> None:
        """Keep what a backup has just counted; a state directory that cannot be written is no error."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.write_text(f"{files} {size_bytes}\n", "ascii")
