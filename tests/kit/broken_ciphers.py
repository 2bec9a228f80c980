"""Ciphers that break one promise each, and a sound one.  Only `test_cipher_kit.py` runs this."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from typing import Any, ClassVar

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bitbacker.errors import SealBroken
from bitbacker.spi import Buffer, Cipher, NoConfig
from bitbacker.testing.cipher import CipherContract

NONCE = bytes(12)
Out = bytearray | memoryview


class Sound:
    """AES-GCM in the simplest words; the faulty ones override `seal` and `open`, or what is around them."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[Any]] = NoConfig
    key_size_bytes: ClassVar[int] = 32
    tag_size_bytes: ClassVar[int] = 16

    def seal_into(self, key: bytes, aad: bytes, plaintext: Buffer, out: Out) -> None:
        put(self.seal(key, aad, bytes(plaintext)), out)

    def open_into(self, key: bytes, aad: bytes, sealed: Buffer, out: Out) -> None:
        put(self.open(key, aad, bytes(sealed)), out)

    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return AESGCM(key).encrypt(NONCE, plaintext, aad)

    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        try:
            return AESGCM(key).decrypt(NONCE, sealed, aad)
        except InvalidTag as error:
            raise SealBroken("the seal does not hold") from error


def put(data: bytes, out: Out) -> None:
    if len(out) != len(data):
        raise ValueError("the buffer has another size")
    out[:] = data


class Broken(CipherContract, kit=True):
    plugin: ClassVar[type[Sound]]
    breaks: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def cipher(self) -> Cipher:
        return self.plugin()


class TestSound(Broken):
    plugin = Sound


class OfAnotherVersion(Sound):
    api_version = 99


class TestOfAnotherVersion(Broken):
    plugin = OfAnotherVersion
    breaks = ("test_version_and_schema_are_declared",)


class WithAShortTag(Sound):
    tag_size_bytes = 8


class TestWithAShortTag(Broken):
    plugin = WithAShortTag
    breaks = ("test_key_and_tag_have_sound_sizes",)


class LosingWholePages(Sound):
    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        lost = len(plaintext) >= 4096 and len(plaintext) % 4096 == 0
        return super().seal(key, aad, bytes(len(plaintext)) if lost else plaintext)


class TestLosingWholePages(Broken):
    plugin = LosingWholePages
    breaks = ("test_what_was_sealed_opens_again",)


class DroppingZeros(Sound):
    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        return super().open(key, aad, sealed).rstrip(b"\0")


class TestDroppingZeros(Broken):
    plugin = DroppingZeros
    breaks = ("test_any_plaintext_and_any_associated_data_will_do",)


class WithARandomNonce(Sound):
    tag_size_bytes = 28

    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], aad)


class TestWithARandomNonce(Broken):
    plugin = WithARandomNonce
    breaks = ("test_one_key_seals_one_message_always_alike",)


class WithAMark(Sound):
    tag_size_bytes = 17

    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return super().seal(key, aad, plaintext) + b"B"


class TestWithAMark(Broken):
    plugin = WithAMark
    breaks = ("test_no_byte_is_the_same_under_every_key",)


class WithoutAuthentication(Sound):
    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        del aad
        return AESGCM(key).encrypt(NONCE, sealed[:-16], b"")[:-16]


class TestWithoutAuthentication(Broken):
    plugin = WithoutAuthentication
    breaks = ("test_a_changed_byte_breaks_the_seal", "test_a_changed_byte_in_a_whole_object_breaks_the_seal")


class ContentWithLess(Sound):
    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        return super().open(key, aad, sealed) if len(sealed) >= 16 else b""


class TestContentWithLess(Broken):
    plugin = ContentWithLess
    breaks = ("test_missing_bytes_break_the_seal",)


class ContentWithMore(Sound):
    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        try:
            return super().open(key, aad, sealed)
        except SealBroken:
            return super().open(key, aad, sealed[:-1]) + b"?"


class TestContentWithMore(Broken):
    plugin = ContentWithMore
    breaks = ("test_additional_bytes_break_the_seal",)


class WithoutAssociatedData(Sound):
    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return super().seal(key, aad[:1], plaintext)

    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        return super().open(key, aad[:1], sealed)


class TestWithoutAssociatedData(Broken):
    plugin = WithoutAssociatedData
    breaks = ("test_other_associated_data_breaks_the_seal",)


class WithoutBorder(Sound):
    """Authenticates associated data and ciphertext as one row of bytes."""

    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        stream = hashlib.shake_256(key).digest(len(plaintext))
        hidden = bytes(left ^ right for left, right in zip(plaintext, stream, strict=True))
        return hidden + hmac.digest(key, aad + hidden, "sha256")[:16]

    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        if hmac.digest(key, aad + sealed[:-16], "sha256")[:16] != sealed[-16:]:
            raise SealBroken("the seal does not hold")
        return bytes(len(sealed) - 16)


class TestWithoutBorder(Broken):
    plugin = WithoutBorder
    breaks = ("test_associated_data_and_plaintext_are_kept_apart",)


class WithHalfAKey(Sound):
    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return super().seal(key[:16], aad, plaintext)

    def open(self, key: bytes, aad: bytes, sealed: bytes) -> bytes:
        return super().open(key[:16], aad, sealed)


class TestWithHalfAKey(Broken):
    plugin = WithHalfAKey
    breaks = ("test_another_key_breaks_the_seal",)


class LeavingPlaintext(Sound):
    def open_into(self, key: bytes, aad: bytes, sealed: Buffer, out: Out) -> None:
        try:
            AESGCM(key).decrypt_into(NONCE, sealed, aad, out)
        except InvalidTag as error:
            raise SealBroken("the seal does not hold") from error


class TestLeavingPlaintext(Broken):
    plugin = LeavingPlaintext
    breaks = ("test_a_broken_seal_reveals_nothing",)


class Cropping(Sound):
    def seal_into(self, key: bytes, aad: bytes, plaintext: Buffer, out: Out) -> None:
        sealed = self.seal(key, aad, bytes(plaintext))
        out[: len(sealed)] = sealed[: len(out)]

    def open_into(self, key: bytes, aad: bytes, sealed: Buffer, out: Out) -> None:
        plaintext = self.open(key, aad, bytes(sealed))
        out[: len(plaintext)] = plaintext[: len(out)]


class TestCropping(Broken):
    plugin = Cropping
    breaks = (
        "test_a_buffer_of_the_wrong_size_is_refused_by_seal",
        "test_a_buffer_of_the_wrong_size_is_refused_by_open",
    )


class OfBytesAlone(Sound):
    def open_into(self, key: bytes, aad: bytes, sealed: Buffer, out: Out) -> None:
        if not isinstance(sealed, bytes):
            raise TypeError("bytes, please")
        super().open_into(key, aad, sealed, out)


class TestOfBytesAlone(Broken):
    plugin = OfBytesAlone
    breaks = ("test_every_buffer_type_is_read",)


class WritingFromTheStart(Sound):
    """Looks behind a view at the whole buffer."""

    def seal_into(self, key: bytes, aad: bytes, plaintext: Buffer, out: Out) -> None:
        if isinstance(out, memoryview):
            out = memoryview(out.obj)[: len(out)]
        super().seal_into(key, aad, plaintext, out)


class TestWritingFromTheStart(Broken):
    plugin = WritingFromTheStart
    breaks = ("test_the_place_in_a_larger_buffer_is_written_and_nothing_else",)


class Scribbling(Sound):
    def seal_into(self, key: bytes, aad: bytes, plaintext: Buffer, out: Out) -> None:
        super().seal_into(key, aad, plaintext, out)
        if isinstance(plaintext, bytearray):
            plaintext[:] = bytes(len(plaintext))


class TestScribbling(Broken):
    plugin = Scribbling
    breaks = ("test_inputs_are_not_changed",)


class Keeping(Sound):
    def seal_into(self, key: bytes, aad: bytes, plaintext: Buffer, out: Out) -> None:
        self.kept = memoryview(out)
        super().seal_into(key, aad, plaintext, out)


class TestKeeping(Broken):
    plugin = Keeping
    breaks = ("test_buffers_are_not_kept",)


class WithASharedBuffer(Sound):
    scratch = b""

    def seal(self, key: bytes, aad: bytes, plaintext: bytes) -> bytes:
        self.scratch = plaintext
        time.sleep(0.001)
        return super().seal(key, aad, self.scratch)


class TestWithASharedBuffer(Broken):
    plugin = WithASharedBuffer
    breaks = ("test_many_threads_may_share_an_instance",)


class TestWithATestRemovedLater(Broken):
    plugin = Sound
    breaks = ("test_every_test_of_the_contract_is_run",)


without: Any = TestWithATestRemovedLater
without.test_buffers_are_not_kept = None
