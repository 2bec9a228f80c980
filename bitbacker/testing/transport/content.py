"""What was put under a name is what is got."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bitbacker.errors import ObjectMissing, StorageError
from bitbacker.spi import Buffer, FetchesMany, ObjectInfo, Transport
from bitbacker.testing.transport.stage import KIB, MIB, OBJECT_SIZES_BYTES, Connected, head, payload, segment

ODD_SIZES_BYTES = (0, 1, 4 * KIB - 1, 64 * KIB + 1, 1_000_003, 4 * MIB - 1)
"""Around borders, and no round ones."""
REFUSED_NAMES = (
    "",
    "/",
    ".",
    "..",
    "../keyslots",
    "/keyslots",
    "keyslots/",
    "keyslots\n",
    "keyslots\0",
    "Keyslots",
    "k\u00e9yslots",
    ".tmp",
    "key.slots",
    "heads/0",
    "heads/" + "0" * 15,
    "heads/" + "0" * 17,
    "heads/" + "A" * 16,
    "heads//" + "0" * 16,
    "heads/../" + "0" * 16,
    "heads/heads/" + "0" * 16,
    "segments/" + "0" * 33,
    "segments/" + "0" * 31 + "\n",
    "segments\\" + "0" * 32,
)


class Content(Connected, kit=True):
    """Names and bytes."""

    @pytest.mark.parametrize("size_bytes", OBJECT_SIZES_BYTES + ODD_SIZES_BYTES)
    def test_what_was_put_is_got(self, transport: Transport, other: Transport, size_bytes: int) -> None:
        data = payload(size_bytes)
        transport.put(segment(1), data)
        for reader in (transport, other):
            got = reader.get(segment(1))
            assert type(got) is bytes
            assert got == data
            assert list(reader.list("segments/")) == [ObjectInfo(segment(1), size_bytes)]

    @pytest.mark.parametrize("name", ["keyslots", head(0), head(2**64 - 1), segment(0), segment(2**128 - 1)])
    def test_every_kind_of_name_can_be_used(self, transport: Transport, name: str) -> None:
        transport.put(name, b"abc")
        assert transport.get(name) == b"abc"
        assert list(transport.list("")) == [ObjectInfo(name, 3)]

    @pytest.mark.parametrize(
        "wrap",
        [
            bytes,
            bytearray,
            memoryview,
            lambda data: memoryview(bytearray(data)),
            lambda data: memoryview(b"before" + data + b"behind")[6:-6],
            lambda data: memoryview(bytearray(b"before" + data + b"behind"))[6:-6],
        ],
        ids=["bytes", "bytearray", "view", "writable view", "part", "writable part"],
    )
    @pytest.mark.parametrize("size_bytes", [0, 3, 64 * KIB])
    def test_every_buffer_is_taken(
        self, transport: Transport, wrap: Callable[[bytes], Buffer], size_bytes: int
    ) -> None:
        data = payload(size_bytes)
        transport.put(segment(1), wrap(data))
        transport.put(segment(2), wrap(data), replace=not transport.abilities.append_only)
        assert transport.get(segment(1)) == data
        assert transport.get(segment(2)) == data

    @pytest.mark.parametrize("size_bytes", [4 * KIB, 4 * MIB])
    def test_the_buffer_may_be_reused_after_put(self, transport: Transport, size_bytes: int) -> None:
        buffer = bytearray(size_bytes)
        contents = [payload(size_bytes, f"use {use}") for use in range(4)]
        for use, data in enumerate(contents):
            buffer[:] = data
            transport.put(segment(use), memoryview(buffer))
            assert bytes(buffer) == data, "put changed the caller's bytes"
        buffer[:] = bytes(size_bytes)
        assert [transport.get(segment(use)) for use in range(4)] == contents

    def test_an_absent_object_is_missing(self, transport: Transport) -> None:
        for name in ("keyslots", head(1), segment(1)):
            with pytest.raises(ObjectMissing) as caught:
                transport.get(name)
            assert caught.value.name == name
        transport.put(head(2), b"x")
        transport.put("keyslots", b"x")
        for name in (head(1), segment(1)):
            with pytest.raises(ObjectMissing):
                transport.get(name)

    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_name_out_of_pattern_is_refused(self, transport: Transport, name: str) -> None:
        with pytest.raises(StorageError):
            transport.put(name, b"x")
        with pytest.raises(StorageError):
            transport.put(name, b"x", replace=True)
        with pytest.raises(StorageError):
            transport.get(name)
        with pytest.raises(StorageError):
            transport.delete([name])
        assert list(transport.list("")) == []

    def test_many_objects_come_at_once_or_one_by_one(self, transport: Transport) -> None:
        objects = {segment(number): payload(1_000 + number) for number in range(50)}
        for name, data in objects.items():
            transport.put(name, data)
        if not isinstance(transport, FetchesMany):
            assert {name: transport.get(name) for name in objects} == objects
            return
        got = list(transport.get_many(iter(objects)))
        assert len(got) == len(objects)
        assert dict(got) == objects
        assert list(transport.get_many([])) == []
        with pytest.raises(ObjectMissing):
            list(transport.get_many([*objects, segment(1_000)]))
