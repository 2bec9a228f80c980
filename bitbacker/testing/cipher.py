"""The conformance suite of ciphers: every sentence of `bitbacker.spi.cipher` as a test.

::

    class TestMyCipher(CipherContract):
        @pytest.fixture
        def cipher(self) -> Cipher:
            return MyCipher(MyCipher.Config())
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitbacker.errors import BitBackerError, SealBroken
from bitbacker.spi import Cipher
from bitbacker.testing.contract import Contract, assert_declared, promise_settings

SIZES = (0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 65_537, 1 << 20, 4 << 20)
"""Plaintext sizes around the blocks of known ciphers, and the sizes of whole objects."""

LEAST_KEY_BYTES = LEAST_TAG_BYTES = 16
"""Anything shorter can be guessed."""

MOST_KEY_BYTES = 64

UNTOUCHED = 0xA5
GUARD_BYTES = 32
REVEALING_BYTES = 8


@dataclass(frozen=True, slots=True)
class Sealed:
    """What `open_into` is given."""

    key: bytes
    aad: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """What `seal_into` is given, made from a seed."""

    key: bytes
    aad: bytes
    plaintext: bytes

    @staticmethod
    def made(cipher: Cipher, seed: int, size_bytes: int) -> Message:
        """A random message of this size under a random key."""
        rng = random.Random(seed)  # noqa: S311  # test data, not a secret
        key = rng.randbytes(cipher.key_size_bytes)
        return Message(key, rng.randbytes(24), rng.randbytes(size_bytes))


def seal(cipher: Cipher, message: Message) -> Sealed:
    """Seal a message into a buffer of the right size."""
    out = bytearray(len(message.plaintext) + cipher.tag_size_bytes)
    cipher.seal_into(message.key, message.aad, message.plaintext, out)
    return Sealed(message.key, message.aad, bytes(out))


def unseal(cipher: Cipher, given: Sealed) -> bytes:
    """Open a sealed message into a buffer of the right size."""
    out = bytearray(max(0, len(given.sealed) - cipher.tag_size_bytes))
    cipher.open_into(given.key, given.aad, given.sealed, out)
    return bytes(out)


def flips(data: bytes) -> Iterator[bytes]:
    """`data` with one bit changed: another bit in each byte."""
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        yield bytes(changed)


def assert_broken(cipher: Cipher, given: Sealed) -> None:
    """Assert that opening raises `SealBroken`."""
    with pytest.raises(SealBroken):
        unseal(cipher, given)


class CipherContract(Contract, kit=True):
    """Subclass it and override `cipher`."""

    @pytest.fixture
    def cipher(self) -> Cipher:
        """Build the plugin under test; to be overridden."""
        raise NotImplementedError

    @pytest.fixture(params=range(3), ids="seed {}".format)
    def message(self, request: pytest.FixtureRequest, cipher: Cipher) -> Message:
        """A short random message."""
        return Message.made(cipher, request.param, 100 + request.param)

    def test_version_and_schema_are_declared(self, cipher: Cipher) -> None:
        assert_declared(cipher)

    def test_key_and_tag_have_sound_sizes(self, cipher: Cipher) -> None:
        assert LEAST_KEY_BYTES <= cipher.key_size_bytes <= MOST_KEY_BYTES
        assert cipher.tag_size_bytes >= LEAST_TAG_BYTES

    @pytest.mark.parametrize("size_bytes", SIZES)
    def test_what_was_sealed_opens_again(self, cipher: Cipher, size_bytes: int) -> None:
        message = Message.made(cipher, size_bytes, size_bytes)
        assert unseal(cipher, seal(cipher, message)) == message.plaintext

    @promise_settings
    @given(plaintext=st.binary(max_size=300), aad=st.binary(max_size=300))
    @example(plaintext=b"text\0\0", aad=b"\0")
    @example(plaintext=b"\0\0text", aad=b"")
    def test_any_plaintext_and_any_associated_data_will_do(
        self, cipher: Cipher, plaintext: bytes, aad: bytes
    ) -> None:
        message = Message(bytes(cipher.key_size_bytes), aad, plaintext)
        assert unseal(cipher, seal(cipher, message)) == plaintext

    def test_one_key_seals_one_message_always_alike(self, cipher: Cipher, message: Message) -> None:
        assert seal(cipher, message) == seal(cipher, message)

    def test_no_byte_is_the_same_under_every_key(self, cipher: Cipher) -> None:
        """A byte that never changes is a mark by which the storage knows the objects."""
        keys = [Message.made(cipher, seed, 0).key for seed in range(64)]
        sealed = [seal(cipher, Message(key, b"", bytes(100))).sealed for key in keys]
        assert [
            place for place, column in enumerate(zip(*sealed, strict=True)) if len(set(column)) == 1
        ] == []

    def test_a_changed_byte_breaks_the_seal(self, cipher: Cipher, message: Message) -> None:
        right = seal(cipher, message)
        for wrong in flips(right.sealed):
            assert_broken(cipher, replace(right, sealed=wrong))

    def test_a_changed_byte_in_a_whole_object_breaks_the_seal(self, cipher: Cipher) -> None:
        right = seal(cipher, Message.made(cipher, 1, 4 << 20))
        for place in (0, len(right.sealed) // 2, -cipher.tag_size_bytes - 1, -1):
            changed = bytearray(right.sealed)
            changed[place] ^= 0x80
            assert_broken(cipher, replace(right, sealed=bytes(changed)))

    def test_missing_bytes_break_the_seal(self, cipher: Cipher, message: Message) -> None:
        right = seal(cipher, message)
        for size in range(len(right.sealed)):
            assert_broken(cipher, replace(right, sealed=right.sealed[:size]))
            assert_broken(cipher, replace(right, sealed=right.sealed[len(right.sealed) - size :]))

    @pytest.mark.parametrize("more", [b"\0", b"\x80", bytes(16), bytes(64)], ids=len)
    def test_additional_bytes_break_the_seal(self, cipher: Cipher, message: Message, more: bytes) -> None:
        right = seal(cipher, message)
        assert_broken(cipher, replace(right, sealed=right.sealed + more))
        assert_broken(cipher, replace(right, sealed=more + right.sealed))

    def test_other_associated_data_breaks_the_seal(self, cipher: Cipher, message: Message) -> None:
        right = seal(cipher, message)
        for wrong in (b"", message.aad[:-1], message.aad + b"\0", b"\0" + message.aad, *flips(message.aad)):
            assert_broken(cipher, replace(right, aad=wrong))

    def test_associated_data_and_plaintext_are_kept_apart(self, cipher: Cipher, message: Message) -> None:
        right = seal(cipher, message)
        moved = replace(right, aad=message.aad + right.sealed[:1], sealed=right.sealed[1:])
        assert_broken(cipher, moved)

    def test_another_key_breaks_the_seal(self, cipher: Cipher, message: Message) -> None:
        right = seal(cipher, message)
        for wrong in flips(message.key):
            assert_broken(cipher, replace(right, key=wrong))

    def test_a_broken_seal_reveals_nothing(self, cipher: Cipher) -> None:
        message = Message.made(cipher, 1, 4096)
        right = seal(cipher, message)
        out = bytearray([UNTOUCHED]) * len(message.plaintext)
        wrong = bytearray(right.sealed)
        wrong[-1] ^= 1
        with pytest.raises(SealBroken) as caught:
            cipher.open_into(right.key, right.aad, wrong, out)
        pieces = range(0, len(out), REVEALING_BYTES)
        revealed = [at for at in pieces if message.plaintext[at : at + REVEALING_BYTES] in out]
        assert revealed == [], "the plaintext stands in the buffer although nobody vouches for it"
        assert message.key.hex() not in str(caught.value)

    @pytest.mark.parametrize("difference", [-1, 1, 16])
    def test_a_buffer_of_the_wrong_size_is_refused_by_seal(
        self, cipher: Cipher, message: Message, difference: int
    ) -> None:
        out = bytearray(len(message.plaintext) + cipher.tag_size_bytes + difference)
        with pytest.raises((ValueError, BitBackerError)):
            cipher.seal_into(message.key, message.aad, message.plaintext, out)

    @pytest.mark.parametrize("difference", [-1, 1, 16])
    def test_a_buffer_of_the_wrong_size_is_refused_by_open(
        self, cipher: Cipher, message: Message, difference: int
    ) -> None:
        right = seal(cipher, message)
        out = bytearray(len(message.plaintext) + difference)
        with pytest.raises((ValueError, BitBackerError)) as caught:
            cipher.open_into(right.key, right.aad, right.sealed, out)
        assert not isinstance(caught.value, SealBroken), "the seal is whole, the buffer is wrong"

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview], ids=lambda wrap: str(wrap.__name__))
    def test_every_buffer_type_is_read(
        self, cipher: Cipher, message: Message, wrap: Callable[[bytes], Any]
    ) -> None:
        expected = seal(cipher, message).sealed
        out = bytearray(len(expected))
        cipher.seal_into(message.key, message.aad, wrap(message.plaintext), out)
        assert out == expected
        plaintext = bytearray(len(message.plaintext))
        cipher.open_into(message.key, message.aad, wrap(expected), plaintext)
        assert plaintext == message.plaintext

    @pytest.mark.parametrize("offset", [0, 1, 3, GUARD_BYTES])
    def test_the_place_in_a_larger_buffer_is_written_and_nothing_else(
        self, cipher: Cipher, message: Message, offset: int
    ) -> None:
        right = seal(cipher, message)
        sealed, opened = _guarded(len(right.sealed), offset), _guarded(len(message.plaintext), offset)
        cipher.seal_into(message.key, message.aad, message.plaintext, _inner(sealed, offset))
        cipher.open_into(right.key, right.aad, right.sealed, _inner(opened, offset))
        assert sealed == _guard(offset) + right.sealed + _guard(GUARD_BYTES)
        assert opened == _guard(offset) + message.plaintext + _guard(GUARD_BYTES)

    def test_inputs_are_not_changed(self, cipher: Cipher, message: Message) -> None:
        right = seal(cipher, message)
        plaintext, sealed = bytearray(message.plaintext), bytearray(right.sealed)
        cipher.seal_into(message.key, message.aad, plaintext, bytearray(len(sealed)))
        cipher.open_into(message.key, message.aad, sealed, bytearray(len(plaintext)))
        assert plaintext == message.plaintext
        assert sealed == right.sealed

    def test_buffers_are_not_kept(self, cipher: Cipher, message: Message) -> None:
        plaintext, sealed = bytearray(message.plaintext), bytearray(seal(cipher, message).sealed)
        cipher.seal_into(message.key, message.aad, plaintext, sealed)
        cipher.open_into(message.key, message.aad, sealed, plaintext)
        try:
            plaintext.clear()
            sealed.clear()
        except BufferError:
            pytest.fail("the cipher holds on to a buffer that belongs to its caller again")

    def test_many_threads_may_share_an_instance(self, cipher: Cipher) -> None:
        messages = [Message.made(cipher, seed, 20_000 + seed) for seed in range(64)]
        expected = [seal(cipher, message) for message in messages]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(5):
                sealed = list(pool.map(lambda message: seal(cipher, message), messages))
                opened = list(pool.map(lambda given: unseal(cipher, given), sealed))
                assert sealed == expected
                assert opened == [message.plaintext for message in messages]


def _guard(size: int) -> bytes:
    return bytes([UNTOUCHED]) * size


def _guarded(size: int, offset: int) -> bytearray:
    return bytearray(_guard(offset + size + GUARD_BYTES))


def _inner(buffer: bytearray, offset: int) -> memoryview:
    return memoryview(buffer)[offset : len(buffer) - GUARD_BYTES]
