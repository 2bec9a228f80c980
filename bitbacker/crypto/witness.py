"""A witness: one short line that says which head was the newest, to be kept where the storage is not.

`bbw1-<number>-<6 groups of 4 digits>-<4 check digits>`: the first 96 bits of the head's hash, in
hexadecimal, and 16 bits that find typing errors.  It tells whoever reads it nothing that the storage
does not know.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from blake3 import blake3

from bitbacker.errors import UsageError

PREFIX_SIZE_BYTES = 12
_FORM = re.compile(r"bbw1-(?P<number>[1-9][0-9]{0,19})-(?P<digits>([0-9a-f]{4}-){6})(?P<check>[0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class Witness:
    """The number of a head and the first 12 bytes of its hash."""

    number: int
    prefix: bytes


def encode_witness(witness: Witness) -> str:
    """The line."""
    digits = witness.prefix.hex()
    groups = "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))
    return f"bbw1-{witness.number}-{groups}-{_check(witness)}"


def decode_witness(text: str) -> Witness:
    """Raises `UsageError` for what is no witness, or is one with a typing error."""
    match = _FORM.fullmatch("".join(text.split()).lower())
    if match is None:
        raise UsageError(
            "this is not a witness",
            hint="one is bbw1, a number and seven groups of four digits, with hyphens",
        )
    witness = Witness(int(match["number"]), bytes.fromhex(match["digits"].replace("-", "")))
    if not hmac.compare_digest(_check(witness), match["check"]):
        raise UsageError("the witness has a typing error", hint="compare it with where it was written down")
    return witness


def _check(witness: Witness) -> str:
    data = witness.number.to_bytes(16, "big") + witness.prefix
    return blake3(data, derive_key_context="bitbacker 2026 witness").digest(2).hex()
