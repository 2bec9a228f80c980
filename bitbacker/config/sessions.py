"""What the settings of sessions give up, in the words of `bitbacker config show`."""

from __future__ import annotations

from bitbacker.config.schema import RepositorySpec
from bitbacker.config.units import size_text
from bitbacker.format.names import HEAD_SIZE_BYTES, SMALL_SEGMENT_SIZE_BYTES

_SESSIONS_OF_A_MONTH = 30 * 24
_MIB = 1024 * 1024


def given_up(spec: RepositorySpec) -> dict[str, str]:
    """A sentence for each key of `[repository]` that decides what sessions show, or what they cost."""
    return {"padding": _by_padding(spec), "floor": _by_floor(spec), "strict": _by_strict(spec)}


def _by_padding(spec: RepositorySpec) -> str:
    if spec.padding == "padme":
        return "a session of more than 8 MiB stores up to 3.1 % more than it needs"
    return (
        "the storage learns to 256 KiB how much a session needs,"
        " and can tell 'nothing changed' from 'a little changed'"
    )


def _by_floor(spec: RepositorySpec) -> str:
    if spec.padding == "none":
        return 'it does not count beside padding = "none"'
    floor = -(-max(spec.floor_bytes, 1) // SMALL_SEGMENT_SIZE_BYTES) * SMALL_SEGMENT_SIZE_BYTES
    month = (floor + HEAD_SIZE_BYTES) * _SESSIONS_OF_A_MONTH // _MIB
    return (
        f"every session stores {size_text(floor)} and a head, {month:,} MiB in a month of hourly sessions;"
        " larger changes show"
    )


def _by_strict(spec: RepositorySpec) -> str:
    if spec.strict:
        return (
            "each backup of a machine without a cache fetches the list, about 5.7 bytes a file, and the index"
        )
    return "what a machine without a cache fetches shows roughly how much changed"
