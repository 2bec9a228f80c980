"""Object names and the sizes of objects: docs/format.md section 1."""

from __future__ import annotations

import re

from bitbacker.errors import FormatError

KEYSLOTS = "keyslots"
HEADS = "heads/"
SEGMENTS = "segments/"

KEYSLOTS_SIZE_BYTES = 4 * 1024
HEAD_SIZE_BYTES = 64 * 1024
SMALL_SEGMENT_SIZE_BYTES = 256 * 1024
LARGE_SEGMENT_SIZE_BYTES = 4 * 1024 * 1024

SEGMENT_ID_SIZE_BYTES = 16
_LAST = 2**64 - 1
_HEAD = re.compile(r"heads/([0-9a-f]{16})")
_SEGMENT = re.compile(r"segments/([0-9a-f]{32})")


def head_name(number: int) -> str:
    """The name of head `number`; it counts down, so that the newest head lists first."""
    return f"{HEADS}{_LAST - number:016x}"


def head_number(name: str) -> int:
    """The number of the head called `name`.  Raises `FormatError`."""
    match = _HEAD.fullmatch(name)
    if match is None:
        raise FormatError(f"{name!r} is not the name of a head")
    return _LAST - int(match[1], 16)


def segment_name(identity: bytes) -> str:
    """The name of the segment with this 16-byte identity."""
    return SEGMENTS + identity.hex()


def segment_identity(name: str) -> bytes:
    """The 16 bytes behind a segment's name.  Raises `FormatError`."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        raise FormatError(f"{name!r} is not the name of a segment")
    return bytes.fromhex(match[1])
