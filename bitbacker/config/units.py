"""Sizes and durations as people write them."""

from __future__ import annotations

import re

SIZE_UNITS = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTP", 1)},
    "KB": 1000,
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", 1)},
}
DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*")


def duration_text(seconds: float) -> str:
    """In the largest unit that divides it: `7d`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % DURATION_UNITS[unit] == 0:
            return f"{seconds / DURATION_UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"


def size_text(size: int) -> str:
    """In the largest binary unit that divides it: `512 KiB`."""
    for unit in ("PiB", "TiB", "GiB", "MiB", "KiB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]} {unit}"
    return f"{size} B"


def size_bytes(text: str) -> int:
    """`512 KiB`, `10GiB`, `1.5 GB`.  Raises `ValueError`, whose text tells what is expected."""
    found = _SIZE.fullmatch(text.strip())
    factor = SIZE_UNITS.get(found[2]) if found else None
    if found is None or factor is None:
        raise ValueError("a number of bytes or a size such as '512 KiB' or '10 GB'")
    return int(float(found[1]) * factor)


def duration_s(text: str) -> float:
    """`90s`, `12h`, `7d`, `1d12h`; in seconds.  Raises `ValueError`, whose text tells what is expected."""
    parts = _DURATION_PART.findall(text)
    if not parts or _DURATION_PART.sub("", text.strip()):
        raise ValueError("a number of seconds or a duration such as '90s', '12h' or '7d'")
    return sum(float(number) * DURATION_UNITS[unit] for number, unit in parts)
