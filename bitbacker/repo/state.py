"""Small files in the state directory, replaced as a whole."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def save(path: Path, text: str) -> None:
    """Write a file durably; nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with temporary.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
