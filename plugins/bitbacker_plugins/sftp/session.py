"""One SFTP session over one channel: requests go out in a row, answers are taken as they come.

paramiko's own SFTP client offers no fsync, hard link, statvfs or limits, tells a refusal from an
unknown request by its text only, and reads ahead in a thread that cannot be stopped.  What is needed
here is so little that it is spoken directly over paramiko's channel.

A session is used by one thread at a time.  A refusal leaves it as good as before, so one that is
`idle` is used again; one with requests under way is thrown away.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bitbacker_plugins.sftp import protocol
from bitbacker_plugins.sftp.protocol import Attributes, Kind, ProtocolBroken, Reader, Status, StatusError

_HEADER = struct.Struct(">IBI")
# Kind and number, which the size that stands before them counts.
_HEAD_BYTES = 5
_RECEIVE_BYTES = 1024 * 1024
_PACKET_MAX_BYTES = 256 * 1024
# What every server must take, and what one that tells its limits is asked for at most.
_DATA_BYTES = 32 * 1024
_DATA_MAX_BYTES = 255 * 1024
_UNDER_WAY = 64
# What paramiko sends in one SSH packet to a server that takes the usual 32 KiB; it would cut a longer
# string there and copy the rest.
_PIECE_BYTES = 32 * 1024 - 64


@dataclass(frozen=True, slots=True)
class Request:
    """A packet to be sent: its kind, its fields without the number, and data that ends it."""

    kind: Kind
    fields: bytes
    data: bytes | memoryview = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer to one request."""

    kind: int
    body: bytes

    @property
    def refusal(self) -> StatusError | None:
        """What the server says against the request, if it does."""
        if self.kind != Kind.STATUS:
            return None
        reader = Reader(self.body)
        status = reader.number()
        if status == Status.OK:
            return None
        return StatusError(status, "" if reader.at_end else reader.string().decode("utf-8", "replace"))

    def read(self, kind: Kind) -> Reader:
        """The fields of an answer of this kind.  Raises `StatusError`, `ProtocolBroken`."""
        refusal = self.refusal
        if refusal is not None:
            raise refusal
        if self.kind != kind:
            raise ProtocolBroken(f"the server answers with packet {self.kind} instead of {kind.value}")
        return Reader(self.body)


class Session:
    """Speaks with an SFTP server through `channel`, whose timeout says how long nothing may move."""

    def __init__(self, channel: Any) -> None:
        """Greets the server.  Raises what the channel raises, `EOFError`, `ProtocolBroken`."""
        self._channel = channel
        self._received = bytearray()
        self._number = 0
        self._early: dict[int, Reply] = {}
        self._waiting: set[int] = set()
        self._unheard: set[int] = set()
        self.extensions = self._greet()
        self.read_bytes, self.write_bytes = self._limits()

    @property
    def idle(self) -> bool:
        """Whether every request has had its answer, so that the session can be used again."""
        return not self._waiting

    def ask(self, request: Request) -> Reply:
        """The answer to one request."""
        return self._take(self._send(request))

    def ask_each(self, requests: Iterable[Request], under_way: int = _UNDER_WAY) -> Iterator[Reply]:
        """The answers to many requests in their order; a bounded number is under way at once."""
        numbers: deque[int] = deque()
        for request in requests:
            if len(numbers) >= under_way:
                yield self._take(numbers.popleft())
            numbers.append(self._send(request))
        while numbers:
            yield self._take(numbers.popleft())

    def tell(self, request: Request) -> None:
        """Send a request whose answer matters to nobody, and do not wait for it."""
        number = self._send(request)
        self._waiting.remove(number)
        self._unheard.add(number)

    def settle(self, timeout_s: float) -> None:
        """Wait until the server has done what it was told, but no longer; the session is over then."""
        self._channel.settimeout(timeout_s)
        while self._unheard:
            self._hear()

    def _greet(self) -> dict[bytes, bytes]:
        self._channel.sendall(_HEADER.pack(_HEAD_BYTES, Kind.INIT, protocol.VERSION))
        size_bytes, kind, version = _HEADER.unpack(self._exactly(_HEADER.size))
        if kind != Kind.SERVER_VERSION or not _HEAD_BYTES <= size_bytes <= _PACKET_MAX_BYTES:
            raise ProtocolBroken(
                "the server does not speak SFTP",
                hint="a login script may print something: ssh user@host true must print nothing",
            )
        if version < protocol.VERSION:
            raise ProtocolBroken(f"the server speaks version {version} of SFTP, and 3 is needed")
        reader = Reader(self._exactly(size_bytes - _HEAD_BYTES))
        extensions = {}
        while not reader.at_end:
            name = reader.string()
            extensions[name] = reader.string()
        return extensions

    def _limits(self) -> tuple[int, int]:
        """How much one read and one write may carry."""
        if protocol.LIMITS not in self.extensions:
            return _DATA_BYTES, _DATA_BYTES
        reply = self.ask(extended(protocol.LIMITS))
        if reply.refusal is not None:
            return _DATA_BYTES, _DATA_BYTES
        reader = reply.read(Kind.EXTENDED_REPLY)
        reader.long_number()
        read_bytes, write_bytes = reader.long_number(), reader.long_number()
        return min(read_bytes or _DATA_BYTES, _DATA_MAX_BYTES), min(
            write_bytes or _DATA_BYTES, _DATA_MAX_BYTES
        )

    def _send(self, request: Request) -> int:
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        self._waiting.add(number)
        size_bytes = len(request.fields) + len(request.data) + _HEAD_BYTES
        packet = b"".join((_HEADER.pack(size_bytes, request.kind, number), request.fields, request.data))
        sent = 0
        while sent < len(packet):
            taken = self._channel.send(packet[sent : sent + _PIECE_BYTES])
            if not taken:
                raise EOFError
            sent += taken
        return number

    def _take(self, number: int) -> Reply:
        """The answer to request `number`, which may come behind answers to later ones."""
        while number not in self._early:
            self._hear()
        self._waiting.remove(number)
        return self._early.pop(number)

    def _hear(self) -> None:
        """Take the next answer from the server."""
        size_bytes, kind, answered = _HEADER.unpack(self._exactly(_HEADER.size))
        if not _HEAD_BYTES <= size_bytes <= _PACKET_MAX_BYTES + 1024:
            raise ProtocolBroken(f"the server sent a packet of {size_bytes} bytes")
        reply = Reply(kind, self._exactly(size_bytes - _HEAD_BYTES))
        if answered in self._unheard:
            self._unheard.remove(answered)
        elif answered in self._waiting:
            self._early[answered] = reply
        else:
            raise ProtocolBroken("the server sent a packet that answers nothing")

    def _exactly(self, size_bytes: int) -> bytes:
        received = self._received
        while len(received) < size_bytes:
            more = self._channel.recv(_RECEIVE_BYTES)
            if not more:
                raise EOFError
            received += more
        with memoryview(received) as view:
            taken = bytes(view[:size_bytes])
        del received[:size_bytes]
        return taken


def extended(name: bytes, *strings: bytes) -> Request:
    """A request of an extension, whose fields are all strings."""
    return Request(Kind.EXTENDED, b"".join(map(protocol.string, (name, *strings))))


def attributes_of(reply: Reply) -> Attributes:
    """Raises `StatusError`, `ProtocolBroken`."""
    return reply.read(Kind.ATTRS).attributes()
