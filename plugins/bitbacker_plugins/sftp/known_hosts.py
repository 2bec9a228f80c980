"""Host keys that this machine knows: the files that ssh writes, read as ssh reads them."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SSH_PORT = 22
_FIELDS_MIN = 3


@dataclass(frozen=True, slots=True)
class HostKey:
    """A key as the wire has it, and what ssh calls its type."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As ssh shows it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"{self.kind} SHA256:{digest}"


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """What is known of one host."""

    trusted: tuple[HostKey, ...]
    revoked: tuple[HostKey, ...]


def known_keys(paths: Sequence[str], host: str, port: int) -> KnownKeys:
    """The keys of `host` at `port` in these files; a file that cannot be read holds none.

    As with ssh, a key that is known without a port counts for every port where none is known with it.
    Authorities that sign host keys are not supported: their lines trust nothing.
    """
    lines = [line for path in paths for line in _lines(path)]
    plain = _keys(lines, host.lower())
    if port == _SSH_PORT:
        return plain
    special = _keys(lines, f"[{host.lower()}]:{port}")
    return KnownKeys(special.trusted or plain.trusted, special.revoked + plain.revoked)


def _lines(path: str) -> Sequence[Sequence[str]]:
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    return [row for row in rows if row and not row[0].startswith("#")]


def _keys(lines: Sequence[Sequence[str]], name: str) -> KnownKeys:
    trusted, revoked = [], []
    for marker, key in _matching(lines, name):
        if not marker:
            trusted.append(key)
        elif marker == "@revoked":
            revoked.append(key)
    return KnownKeys(tuple(trusted), tuple(revoked))


def _matching(lines: Sequence[Sequence[str]], name: str) -> Iterator[tuple[str, HostKey]]:
    """Marker and key of each line that is about `name`."""
    for line in lines:
        marker = line[0] if line[0].startswith("@") else ""
        fields = line[1:] if marker else line
        if len(fields) >= _FIELDS_MIN and _is_about(fields[0], name):
            try:
                yield marker, HostKey(fields[1], base64.b64decode(fields[2], validate=True))
            except (binascii.Error, ValueError):
                continue


def _is_about(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        return _hash_fits(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        if _fits(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _fits(pattern: str, name: str) -> bool:
    # Brackets stand around a host with a port here, and are no pattern.
    return fnmatch.fnmatchcase(name, re.sub(r"\[", "[[]", pattern))


def _hash_fits(hashed: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hashed.split("|")[2:])
    except (binascii.Error, ValueError):
        return False
    # ssh hides names this way; nothing here rests on the strength of SHA-1.
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
