"""Our ciphers keep the contract, and speak the standards that they name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bitbacker.spi import Cipher, NoConfig
from bitbacker.testing.cipher import CipherContract, Message, Sealed, seal, unseal
from bitbacker_plugins import aes256gcm, chacha20poly1305
from bitbacker_plugins.aes256gcm import Aes256Gcm
from bitbacker_plugins.chacha20poly1305 import ChaCha20Poly1305Cipher
from gil_hold import held_share


class TestAes256Gcm(CipherContract):
    @pytest.fixture
    def cipher(self) -> Cipher:
        return Aes256Gcm(NoConfig())


class TestChaCha20Poly1305(CipherContract):
    @pytest.fixture
    def cipher(self) -> Cipher:
        return ChaCha20Poly1305Cipher(NoConfig())


OURS = [Aes256Gcm(NoConfig()), ChaCha20Poly1305Cipher(NoConfig())]
ours = pytest.mark.parametrize("cipher", OURS, ids=lambda cipher: type(cipher).__name__)


def test_aes_256_gcm_is_the_one_of_the_specification() -> None:
    """Test cases 13 and 14 of McGrew and Viega, which use the zero key and the zero nonce."""
    cipher = Aes256Gcm(NoConfig())
    empty = seal(cipher, Message(bytes(32), b"", b"")).sealed
    block = seal(cipher, Message(bytes(32), b"", bytes(16))).sealed
    assert empty.hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert block.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


def test_chacha20_poly1305_is_the_one_of_the_specification() -> None:
    """The key stream is that of test vector 1 of RFC 8439, A.1, from its second block on (A.1, vector 2)."""
    sealed = seal(ChaCha20Poly1305Cipher(NoConfig()), Message(bytes(32), b"", bytes(64))).sealed
    assert sealed[:64].hex() == (
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    )


@ours
@pytest.mark.parametrize("size_bytes", [0, 16, 24, 31, 33, 64])
def test_a_key_of_another_size_is_refused(cipher: Cipher, size_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"key"):
        seal(cipher, Message(bytes(size_bytes), b"", b"data"))
    with pytest.raises(ValueError, match=r"key"):
        unseal(cipher, Sealed(bytes(size_bytes), b"", bytes(20)))


@ours
def test_a_broken_seal_leaves_zeros(cipher: Cipher) -> None:
    sealed = bytearray(seal(cipher, Message(bytes(32), b"", b"plaintext")).sealed)
    sealed[-1] ^= 1
    out = bytearray(b"\xff" * 9)
    with pytest.raises(Exception, match="seal"):
        cipher.open_into(bytes(32), b"", sealed, out)
    assert out == bytes(9)


@ours
def test_a_buffer_with_holes_is_refused(cipher: Cipher) -> None:
    with pytest.raises(BufferError):
        cipher.seal_into(bytes(32), b"", memoryview(bytes(20))[::2], bytearray(26))
    with pytest.raises(BufferError):
        cipher.seal_into(bytes(32), b"", bytes(10), memoryview(bytearray(52))[::2])


@ours
def test_the_gil_is_left(cipher: Cipher) -> None:
    plaintext = bytes(128 << 20)
    sealed = bytearray(len(plaintext) + cipher.tag_size_bytes)
    opened = bytearray(len(plaintext))
    assert held_share(lambda: cipher.seal_into(bytes(32), b"", plaintext, sealed)) < 0.5
    assert held_share(lambda: cipher.open_into(bytes(32), b"", sealed, opened)) < 0.5


@pytest.mark.parametrize(
    ("hook", "name", "made"),
    [
        (aes256gcm.bitbacker_cipher, "aes-256-gcm", Aes256Gcm),
        (chacha20poly1305.bitbacker_cipher, "chacha20-poly1305", ChaCha20Poly1305Cipher),
    ],
)
def test_the_hook_answers_to_its_own_name_only(
    hook: Callable[[str], type[Cipher] | None], name: str, made: type
) -> None:
    assert hook(name) is made
    assert hook("another") is None
