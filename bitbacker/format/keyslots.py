"""The layout of the keyslots object and of what its parts hold: docs/format.md section 10.

`7 slots of 508 bytes | directory of 508 bytes | checksum of 32 bytes`.  A slot opens with one
password and holds the root key; the directory opens with the root key and says which slots are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from bitbacker.errors import DamageError, FormatError, VersionUnknown
from bitbacker.format.names import KEYSLOTS_SIZE_BYTES
from bitbacker.format.wire import Reader, Writer

FORMAT_VERSION = 1
SLOTS = 7
PART_SIZE_BYTES = 508
ROOT_KEY_SIZE_BYTES = 32
HASH_SIZE_BYTES = 32
LABEL_MAX_BYTES = 40


class SlotKind(IntEnum):
    """What opens a slot."""

    UNUSED = 0
    PASSPHRASE = 1
    RECOVERY = 2


@dataclass(frozen=True, slots=True)
class PluginChoice:
    """A plugin that is part of the repository: name, parameters as JSON, what to install for it."""

    name: str
    parameters: str
    distribution: str


@dataclass(frozen=True, slots=True)
class Constants:
    """What was decided when the repository was made.

    `single_writer` says that its storage cannot decide between two writers: docs/format.md section 10.3.
    """

    cipher: PluginChoice
    chunker: PluginChoice
    single_writer: bool = False


@dataclass(frozen=True, slots=True)
class SlotContent:
    """What a slot holds for whoever can open it."""

    root_key: bytes
    constants: Constants

    def __repr__(self) -> str:
        return "SlotContent(***)"


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """A row of the directory; `label` is for people."""

    kind: SlotKind
    created_s: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which slots a directory describes: `generation` counts changes of keys, from 1.

    `slots_hash` is the BLAKE3 of the seven slots.  Generation 0 says that there is no stamp.
    """

    generation: int = 0
    slots_hash: bytes = bytes(HASH_SIZE_BYTES)


@dataclass(frozen=True, slots=True)
class Parts:
    """The sealed parts of a keyslots object."""

    slots: tuple[bytes, ...]
    directory: bytes


def encode_slot(content: SlotContent, size_bytes: int) -> bytes:
    """The plaintext of a slot, padded with zeros.  Raises `FormatError` when it does not fit."""
    writer = Writer()
    writer.u16(FORMAT_VERSION)
    writer.raw(content.root_key)
    for choice in (content.constants.cipher, content.constants.chunker):
        for text in (choice.name, choice.parameters, choice.distribution):
            writer.text(text)
    writer.u8(content.constants.single_writer)
    return _padded(writer.bytes(), size_bytes, "the plugin parameters do not fit into a key slot")


def decode_slot(plaintext: bytes | bytearray | memoryview) -> SlotContent:
    """Raises `VersionUnknown`, `FormatError`."""
    reader = Reader(plaintext)
    version = reader.u16()
    if version != FORMAT_VERSION:
        raise VersionUnknown(
            f"the repository has format version {version}, this program knows {FORMAT_VERSION}"
        )
    root_key = reader.raw(ROOT_KEY_SIZE_BYTES)
    cipher = PluginChoice(reader.text(), reader.text(), reader.text())
    chunker = PluginChoice(reader.text(), reader.text(), reader.text())
    # A slot that an earlier release filled to the last byte says nothing of writers.
    single_writer = bool(reader.left) and reader.flag()
    return SlotContent(root_key, Constants(cipher, chunker, single_writer))


def encode_directory(infos: tuple[SlotInfo, ...], size_bytes: int, stamp: Stamp | None = None) -> bytes:
    """The plaintext of the directory, padded with zeros; long labels are cut."""
    writer = Writer()
    for info in infos:
        writer.u8(info.kind)
        writer.u64(info.created_s)
        writer.blob(info.label.encode("utf-8", "replace")[:LABEL_MAX_BYTES])
    if stamp is not None:
        writer.u64(stamp.generation)
        writer.raw(stamp.slots_hash)
    return _padded(writer.bytes(), size_bytes, "the directory of key slots is too long")


def decode_directory(plaintext: bytes | bytearray | memoryview) -> tuple[SlotInfo, ...]:
    """Raises `FormatError`."""
    return _read_infos(Reader(plaintext))


def decode_stamp(plaintext: bytes | bytearray | memoryview) -> Stamp:
    """What stands behind the slots in a directory.  Raises `FormatError`."""
    reader = Reader(plaintext)
    _read_infos(reader)
    if reader.left < 8 + HASH_SIZE_BYTES:
        return Stamp()
    return Stamp(reader.u64(), reader.raw(HASH_SIZE_BYTES))


def _read_infos(reader: Reader) -> tuple[SlotInfo, ...]:
    infos: list[SlotInfo] = []
    for _ in range(SLOTS):
        kind, created_s, label = reader.u8(), reader.u64(), reader.blob()
        if kind not in tuple(SlotKind):
            raise FormatError("a key slot of an unknown kind")
        infos.append(SlotInfo(SlotKind(kind), created_s, label.decode("utf-8", "replace")))
    return tuple(infos)


def _padded(body: bytes, size_bytes: int, problem: str) -> bytes:
    if len(body) > size_bytes:
        raise FormatError(problem)
    return body + bytes(size_bytes - len(body))


def join(parts: Parts) -> bytes:
    """Everything but the checksum."""
    return b"".join(parts.slots) + parts.directory


def split(data: bytes) -> Parts:
    """The sealed parts of the object, without its checksum.  Raises `DamageError`."""
    if len(data) != KEYSLOTS_SIZE_BYTES:
        raise DamageError(f"the keyslots object has {len(data)} bytes instead of {KEYSLOTS_SIZE_BYTES}")
    parts = [
        data[at : at + PART_SIZE_BYTES] for at in range(0, (SLOTS + 1) * PART_SIZE_BYTES, PART_SIZE_BYTES)
    ]
    return Parts(tuple(parts[:SLOTS]), parts[SLOTS])
