"""Requests on files and directories, as functions of a session.

Each raises `StatusError` for what the server refuses, and what the connection raises when it fails.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bitbacker.errors import StorageError
from bitbacker_plugins.sftp import protocol
from bitbacker_plugins.sftp.protocol import Attributes, Kind, Reader, Status, StatusError, string
from bitbacker_plugins.sftp.session import Reply, Request, Session, attributes_of, extended

_DIRECTORY_MODE = 0o700
# Who made a file may write on; later nobody may, unless the server lets them change the mode first.
_FILE_MODE = 0o400
_READ_ONLY = 0x1
# Answers to a listing are long, and a server makes them while nobody has asked for the next ones yet.
_READ_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory."""

    name: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What the server says of a file system."""

    identity: int
    free_bytes: int
    free_files: int | None
    read_only: bool

    def is_full(self, size_bytes: int) -> bool:
        """Whether a file of this size, or any file at all, has no room."""
        return self.free_bytes < max(size_bytes, 1) or self.free_files == 0


def open_read(path: bytes) -> Request:
    """Of a file, or on OpenSSH of a directory that is to be synced."""
    fields = string(path) + struct.pack(">I", protocol.OPEN_READ) + protocol.NO_ATTRIBUTES
    return Request(Kind.OPEN, fields)


def open_new(path: bytes) -> Request:
    """Of a file that does not exist yet."""
    fields = string(path) + struct.pack(">I", protocol.OPEN_NEW) + protocol.mode_field(_FILE_MODE)
    return Request(Kind.OPEN, fields)


def lstat(path: bytes) -> Request:
    return Request(Kind.LSTAT, string(path))


def remove(path: bytes) -> Request:
    return Request(Kind.REMOVE, string(path))


def close(handle: bytes) -> Request:
    return Request(Kind.CLOSE, string(handle))


def handle_of(reply: Reply) -> bytes:
    return reply.read(Kind.HANDLE).string()


def succeed(replies: Iterable[Reply]) -> None:
    """Raises the first refusal, when all answers are there."""
    for refusal in [reply.refusal for reply in replies]:
        if refusal is not None:
            raise refusal


def write_and_sync(session: Session, handle: bytes, data: memoryview) -> None:
    """Write all of `data` into an empty file, and have it on stable storage where the server can."""
    prefix = string(handle)

    def requests() -> Iterator[Request]:
        for start in range(0, len(data), session.write_bytes):
            part = data[start : start + session.write_bytes]
            yield Request(Kind.WRITE, prefix + struct.pack(">QI", start, len(part)), part)
        if protocol.FSYNC in session.extensions:
            yield extended(protocol.FSYNC, handle)
        yield Request(Kind.FSTAT, prefix)

    *written, status = session.ask_each(requests())
    succeed(written)
    size_bytes = attributes_of(status).size_bytes
    if size_bytes != len(data):
        raise StorageError(f"the server has stored {size_bytes} of {len(data)} bytes")


def read_whole(session: Session, handle: bytes, size_bytes: int) -> tuple[bytes, int]:
    """The bytes that a file of this size has, and the size that it has."""
    prefix = string(handle)
    starts = range(0, size_bytes, session.read_bytes)

    def requests() -> Iterator[Request]:
        yield Request(Kind.FSTAT, prefix)
        for start in starts:
            wanted_bytes = min(session.read_bytes, size_bytes - start)
            yield Request(Kind.READ, prefix + struct.pack(">QI", start, wanted_bytes))

    status, *replies = session.ask_each(requests())
    parts = [_data(reply) for reply in replies]
    for number, start in enumerate(starts):
        wanted_bytes = min(session.read_bytes, size_bytes - start)
        while parts[number] and len(parts[number]) < wanted_bytes:
            place = struct.pack(">QI", start + len(parts[number]), wanted_bytes - len(parts[number]))
            more = _data(session.ask(Request(Kind.READ, prefix + place)))
            if not more:
                break
            parts[number] += more
    return b"".join(parts), attributes_of(status).size_bytes


def entries(session: Session, path: bytes) -> Sequence[Entry]:
    """Everything in a directory, in the server's order."""
    handle = handle_of(session.ask(Request(Kind.OPENDIR, string(path))))
    found: list[Entry] = []
    refusal: StatusError | None = None
    try:
        while refusal is None:
            for reply in [*session.ask_each([Request(Kind.READDIR, string(handle))] * _READ_AHEAD)]:
                if reply.refusal is None:
                    found += _names(reply.read(Kind.NAME))
                elif refusal is None:
                    refusal = reply.refusal
    finally:
        if session.idle:
            session.tell(close(handle))
    if refusal.status != Status.EOF:
        raise refusal
    return found


def sync_directories(session: Session, paths: Sequence[bytes]) -> None:
    """Have the entries of these directories on stable storage, where the server can do that.

    OpenSSH can: it opens a directory like a file and syncs it.  What cannot be opened is left out.
    """
    answers = [*session.ask_each(map(open_read, paths))]
    handles = [handle_of(answer) for answer in answers if answer.refusal is None]
    try:
        sync_handles(session, handles)
    finally:
        for handle in handles if session.idle else ():
            session.tell(close(handle))


def sync_handles(session: Session, handles: Sequence[bytes]) -> None:
    """Sync directories that were opened by `open_read`."""
    if protocol.FSYNC not in session.extensions:
        return
    replies = [*session.ask_each(extended(protocol.FSYNC, handle) for handle in handles)]
    # Any other answer means that this server, or its file system, syncs no directories.
    succeed(reply for reply in replies if reply.refusal and reply.refusal.status == Status.FAILURE)


def make_directories(session: Session, path: bytes) -> None:
    """Make a directory and those above it that are absent; it may be reached through symlinks."""
    refusal = _make_directory(session, path)
    parent = parent_of(path)
    if refusal is not None and refusal.status == Status.NO_SUCH_FILE and parent != path:
        make_directories(session, parent)
        refusal = _make_directory(session, path)
    if refusal is not None:
        # It is there already, for which the server has no word of its own.
        status = session.ask(Request(Kind.STAT, string(path)))
        if status.refusal is None:
            if attributes_of(status).is_directory:
                return
            raise StatusError(refusal.status, f"{_shown(path)} is no directory")
        raise StatusError(refusal.status, f"the directory {_shown(path)} cannot be made: {refusal}")


def _shown(path: bytes) -> str:
    return repr(path.decode("utf-8", "backslashreplace"))


def _make_directory(session: Session, path: bytes) -> StatusError | None:
    fields = string(path) + protocol.mode_field(_DIRECTORY_MODE)
    return session.ask(Request(Kind.MKDIR, fields)).refusal


def link(session: Session, path: bytes, name: bytes) -> None:
    """Give a file another name, which must be free."""
    succeed([session.ask(extended(protocol.HARDLINK, path, name))])


def rename_over(session: Session, path: bytes, name: bytes) -> None:
    """Rename a file, over whatever has the name."""
    succeed([session.ask(extended(protocol.POSIX_RENAME, path, name))])


def file_system(session: Session, path: bytes) -> FileSystem | None:
    """What the server says of the file system of `path`; None when it cannot."""
    if protocol.STATVFS not in session.extensions:
        return None
    reply = session.ask(extended(protocol.STATVFS, path))
    return None if reply.refusal is not None else _file_system_of(reply)


def identity(session: Session, path: bytes) -> Request:
    """Ask which directory it is that `path` leads to."""
    if protocol.STATVFS in session.extensions:
        return extended(protocol.STATVFS, path)
    return Request(Kind.STAT, string(path))


def identity_of(reply: Reply) -> int:
    """The file system of a directory, as a number; 0 when the server does not say."""
    return _file_system_of(reply).identity if reply.kind == Kind.EXTENDED_REPLY else 0


def _file_system_of(reply: Reply) -> FileSystem:
    reader = reply.read(Kind.EXTENDED_REPLY)
    numbers = [reader.long_number() for _ in range(11)]
    _, block_bytes, _, _, free_blocks, files, _, free_files, identity, flags, _ = numbers
    # Some file systems count no files and say 0 of 0.
    return FileSystem(
        identity, free_blocks * block_bytes, free_files if files else None, bool(flags & _READ_ONLY)
    )


def parent_of(path: bytes) -> bytes:
    """The directory above."""
    parent, slash, _ = path.rpartition(b"/")
    return parent or (b"/" if slash else b".")


def _data(reply: Reply) -> bytes:
    """What a read has read; nothing at the end of the file."""
    refusal = reply.refusal
    if refusal is not None and refusal.status == Status.EOF:
        return b""
    return reply.read(Kind.DATA).string()


def _names(reader: Reader) -> Iterator[Entry]:
    for _ in range(reader.number()):
        name = reader.string()
        reader.string()
        yield Entry(name, reader.attributes())
