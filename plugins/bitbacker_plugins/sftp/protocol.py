"""Words of the SSH File Transfer Protocol, version 3: numbers, fields, attributes, status.

The numbers are those of draft-ietf-secsh-filexfer-02, the extensions those of OpenSSH's PROTOCOL.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from enum import IntEnum

from bitbacker.errors import StorageError

VERSION = 3


class Kind(IntEnum):
    """What a packet is."""

    INIT = 1
    SERVER_VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    STAT = 17
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """How a request ended."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    UNSUPPORTED = 8


OPEN_READ = 0x01
OPEN_NEW = 0x02 | 0x08 | 0x20  # write, create, exclusive

FSYNC = b"fsync@openssh.com"
HARDLINK = b"hardlink@openssh.com"
LIMITS = b"limits@openssh.com"
POSIX_RENAME = b"posix-rename@openssh.com"
STATVFS = b"statvfs@openssh.com"

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_MORE = 0x1, 0x2, 0x4, 0x8, 0x80000000


class ProtocolBroken(StorageError):
    """The server sends something that no SFTP server sends."""


class StatusError(Exception):
    """The server refused a request; the connection is as good as before."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text or _word(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the server says of a file; `mode` is None when it does not say what kind of file it is."""

    size_bytes: int
    mode: int | None
    modified_s: int

    @property
    def is_file(self) -> bool:
        """A server that does not say is believed to speak of a file."""
        return self.mode is None or stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        return self.mode is not None and stat.S_ISDIR(self.mode)


class Reader:
    """Takes the fields of a packet off its front."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self) -> int:
        return int(self._unpack(">I", 4))

    def long_number(self) -> int:
        return int(self._unpack(">Q", 8))

    def string(self) -> bytes:
        size_bytes = self.number()
        taken = self._body[self._at : self._at + size_bytes]
        if len(taken) != size_bytes:
            raise ProtocolBroken("the server sent a packet that ends in the middle of a field")
        self._at += size_bytes
        return taken

    def attributes(self) -> Attributes:
        flags = self.number()
        size_bytes = self.long_number() if flags & _HAS_SIZE else 0
        if flags & _HAS_OWNER:
            self.long_number()
        mode = self.number() if flags & _HAS_MODE else None
        modified_s = self.long_number() & 0xFFFFFFFF if flags & _HAS_TIMES else 0
        if flags & _HAS_MORE:
            for _ in range(self.number()):
                self.string()
                self.string()
        return Attributes(size_bytes, mode, modified_s)

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._body)

    def _unpack(self, form: str, size_bytes: int) -> int:
        try:
            (value,) = struct.unpack_from(form, self._body, self._at)
        except struct.error as error:
            raise ProtocolBroken("the server sent a packet that ends in the middle of a field") from error
        self._at += size_bytes
        return int(value)


def string(value: bytes | memoryview) -> bytes:
    """A field that holds bytes."""
    return struct.pack(">I", len(value)) + value


def mode_field(mode: int) -> bytes:
    """Attributes that hold nothing but the permissions of a new file."""
    return struct.pack(">II", _HAS_MODE, mode)


NO_ATTRIBUTES = struct.pack(">I", 0)


def _word(status: int) -> str:
    try:
        return Status(status).name.lower().replace("_", " ")
    except ValueError:
        return f"status {status}"
