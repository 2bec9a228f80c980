"""The layout of the keyslots object and of what a slot holds: docs/format.md section 10."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.errors import DamageError, FormatError, VersionUnknown
from bitbacker.format.names import KEYSLOTS_SIZE_BYTES
from bitbacker.format.wire import Reader, Writer

FORMAT_VERSION = 1
SLOTS = 8
SLOT_SIZE_BYTES = 508
CHECKSUM_SIZE_BYTES = 32
ROOT_KEY_SIZE_BYTES = 32

KIND_PASSPHRASE = 1
KIND_RECOVERY = 2


@dataclass(frozen=True, slots=True)
class PluginChoice:
    """A plugin that is part of the repository: name, parameters as JSON, what to install for it."""

    name: str
    parameters: str
    distribution: str


@dataclass(frozen=True, slots=True)
class Constants:
    """What was decided when the repository was made."""

    cipher: PluginChoice
    chunker: PluginChoice


@dataclass(frozen=True, slots=True)
class SlotContent:
    """What a slot holds for whoever can open it.  `label` is for `bitbacker key list`."""

    kind: int
    created_s: int
    label: str
    root_key: bytes
    constants: Constants


def encode_slot(content: SlotContent, size_bytes: int) -> bytes:
    """The plaintext of a slot, padded with zeros.  Raises `FormatError` when it does not fit."""
    writer = Writer()
    writer.u16(FORMAT_VERSION)
    writer.u8(content.kind)
    writer.u64(content.created_s)
    writer.text(content.label)
    writer.raw(content.root_key)
    for choice in (content.constants.cipher, content.constants.chunker):
        for text in (choice.name, choice.parameters, choice.distribution):
            writer.text(text)
    body = writer.bytes()
    if len(body) > size_bytes:
        raise FormatError("the label and the plugin parameters do not fit into a key slot")
    return body + bytes(size_bytes - len(body))


def decode_slot(plaintext: bytes | bytearray | memoryview) -> SlotContent:
    """Raises `VersionUnknown`, `FormatError`."""
    reader = Reader(plaintext)
    version = reader.u16()
    if version != FORMAT_VERSION:
        raise VersionUnknown(
            f"the repository has format version {version}, this program knows {FORMAT_VERSION}"
        )
    kind, created_s, label = reader.u8(), reader.u64(), reader.text()
    root_key = reader.raw(ROOT_KEY_SIZE_BYTES)
    cipher = PluginChoice(reader.text(), reader.text(), reader.text())
    chunker = PluginChoice(reader.text(), reader.text(), reader.text())
    return SlotContent(kind, created_s, label, root_key, Constants(cipher, chunker))


def split(data: bytes) -> list[bytes]:
    """The sealed slots of the object, without its checksum.  Raises `DamageError`."""
    if len(data) != KEYSLOTS_SIZE_BYTES:
        raise DamageError(f"the keyslots object has {len(data)} bytes instead of {KEYSLOTS_SIZE_BYTES}")
    return [data[at : at + SLOT_SIZE_BYTES] for at in range(0, SLOTS * SLOT_SIZE_BYTES, SLOT_SIZE_BYTES)]
