"""Key slots: how a passphrase or a recovery code opens the root key.  docs/format.md section 10.

A slot is `salt (32) | commitment (32) | AES-256-GCM(content)`.  The cost of Argon2id is one of few
levels, and the level is implied by the salt, which is drawn until its hash says so; so nothing in
the object is readable.  Unused slots are random bytes whose salts imply the same level.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
import time
from dataclasses import dataclass

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from bitbacker.crypto.keys import derive
from bitbacker.errors import DamageError, WrongPassword

SALT_SIZE_BYTES = 32
COMMITMENT_SIZE_BYTES = 32
CHECKSUM_SIZE_BYTES = 32
_TAG_SIZE_BYTES = 16
_NONCE = bytes(12)

ARGON2_MEMORY_KIB = 64 * 1024
ARGON2_LANES = 4
ARGON2_PASSES = (3, 6, 12, 24)
"""Passes of each cost level; memory and lanes are the same for all (RFC 9106): docs/decisions/0009."""

_TARGET_S = 0.3
# Two derivations with several lanes at once wait for each other's threads for ever (OpenSSL 3 and 4).
_one_at_a_time = threading.Lock()
_RECOVERY = re.compile(r"bbr1(-[0-9a-f]{4}){17}")


@dataclass(frozen=True, slots=True, repr=False)
class Unlocker:
    """A passphrase or a recovery code; never shown."""

    secret: str

    def __repr__(self) -> str:
        return "Unlocker(***)"

    @property
    def is_recovery_code(self) -> bool:
        return _RECOVERY.fullmatch(self.secret.strip()) is not None

    def key(self, salt: bytes) -> tuple[bytes, bytes]:
        """The key of a slot with this salt, and its commitment."""
        if self.is_recovery_code:
            strong = recovery_entropy(self.secret)
        else:
            strong = _argon2(self.secret.encode("utf-8", "surrogateescape"), salt, cost_level(salt))
        material = derive(strong, salt, b"bitbacker/1/slot", 32 + COMMITMENT_SIZE_BYTES)
        return material[:32], material[32:]


def _argon2(secret: bytes, salt: bytes, level: int) -> bytes:
    with _one_at_a_time:
        return Argon2id(
            salt=salt,
            length=32,
            iterations=ARGON2_PASSES[level],
            lanes=ARGON2_LANES,
            memory_cost=ARGON2_MEMORY_KIB,
        ).derive(secret)


def cost_level(salt: bytes) -> int:
    """The level that a salt implies: two bits of its hash."""
    return blake3(salt, derive_key_context="bitbacker 2026 slot cost level").digest(1)[0] & 3


def calibrated_level() -> int:
    """The highest level that takes about 0.3 s on this machine."""
    started = time.perf_counter()
    _argon2(b"calibration", bytes(SALT_SIZE_BYTES), 0)
    took_s = time.perf_counter() - started
    level = 0
    while level + 1 < len(ARGON2_PASSES) and took_s * 2 ** (level + 1) <= _TARGET_S * 1.25:
        level += 1
    return level


def salt_of_level(level: int) -> bytes:
    """A random salt that implies this level."""
    while True:
        salt = secrets.token_bytes(SALT_SIZE_BYTES)
        if cost_level(salt) == level:
            return salt


def content_size_bytes(slot_size_bytes: int) -> int:
    """How much plaintext a slot holds."""
    return slot_size_bytes - SALT_SIZE_BYTES - COMMITMENT_SIZE_BYTES - _TAG_SIZE_BYTES


def seal_slot(unlocker: Unlocker, content: bytes, level: int) -> bytes:
    """A slot that this unlocker opens."""
    salt = salt_of_level(level)
    key, commitment = unlocker.key(salt)
    return salt + commitment + AESGCM(key).encrypt(_NONCE, content, b"slot")


def unused_slot(size_bytes: int, level: int) -> bytes:
    """Random bytes that nobody can tell from a used slot."""
    return salt_of_level(level) + secrets.token_bytes(size_bytes - SALT_SIZE_BYTES)


def open_slot(unlocker: Unlocker, slot: bytes) -> bytes | None:
    """The content, or None when another unlocker made this slot.  Raises `DamageError`."""
    key, commitment = unlocker.key(slot[:SALT_SIZE_BYTES])
    sealed_at = SALT_SIZE_BYTES + COMMITMENT_SIZE_BYTES
    if not hmac.compare_digest(commitment, slot[SALT_SIZE_BYTES:sealed_at]):
        return None
    try:
        return AESGCM(key).decrypt(_NONCE, slot[sealed_at:], b"slot")
    except InvalidTag as error:
        raise DamageError("a key slot is damaged") from error


def directory_size_bytes(part_size_bytes: int) -> int:
    """How much plaintext the directory holds."""
    return part_size_bytes - SALT_SIZE_BYTES - _TAG_SIZE_BYTES


def seal_directory(root_key: bytes, content: bytes) -> bytes:
    """The directory of slots, for everybody who has the root key: `salt (32) | AES-256-GCM`."""
    salt = secrets.token_bytes(SALT_SIZE_BYTES)
    return salt + AESGCM(_directory_key(root_key, salt)).encrypt(_NONCE, content, b"directory")


def open_directory(root_key: bytes, sealed: bytes) -> bytes:
    """Raises `DamageError`."""
    salt = sealed[:SALT_SIZE_BYTES]
    try:
        return AESGCM(_directory_key(root_key, salt)).decrypt(_NONCE, sealed[SALT_SIZE_BYTES:], b"directory")
    except InvalidTag as error:
        raise DamageError("the directory of key slots is damaged") from error


def _directory_key(root_key: bytes, salt: bytes) -> bytes:
    return derive(root_key, salt, b"bitbacker/1/slot-directory", 32)


def with_checksum(slots: bytes) -> bytes:
    """The keyslots object: its slots and a checksum that tells damage from a wrong password."""
    return slots + _checksum(slots)


def verify_checksum(data: bytes) -> bytes:
    """The slots of a keyslots object.  Raises `DamageError`."""
    slots, checksum = data[:-CHECKSUM_SIZE_BYTES], data[-CHECKSUM_SIZE_BYTES:]
    if not hmac.compare_digest(_checksum(slots), checksum):
        raise DamageError("the keyslots object is damaged", hint="restore it from a copy of the storage")
    return slots


def _checksum(slots: bytes) -> bytes:
    return blake3(slots, derive_key_context="bitbacker 2026 keyslots checksum").digest()


def new_recovery_code() -> str:
    """256 random bits and 16 bits of checksum, for paper."""
    entropy = secrets.token_bytes(32)
    digits = (entropy + _recovery_checksum(entropy)).hex()
    return "bbr1-" + "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def recovery_entropy(code: str) -> bytes:
    """The bits behind a recovery code.  Raises `WrongPassword` for a mistyped one."""
    data = bytes.fromhex(code.strip().removeprefix("bbr1").replace("-", ""))
    entropy, checksum = data[:32], data[32:]
    if not hmac.compare_digest(_recovery_checksum(entropy), checksum):
        raise WrongPassword("the recovery code has a typing error")
    return entropy


def _recovery_checksum(entropy: bytes) -> bytes:
    return blake3(entropy, derive_key_context="bitbacker 2026 recovery code").digest(2)
