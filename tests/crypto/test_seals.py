"""A sealed object opens as what it was, or not at all."""

from __future__ import annotations

import multiprocessing
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.crypto.seal import SALT_SIZE_BYTES, Sealer
from bitbacker.errors import SealBroken
from bitbacker.spi import Cipher, NoConfig
from bitbacker_plugins.aes256gcm import Aes256Gcm
from bitbacker_plugins.chacha20poly1305 import ChaCha20Poly1305Cipher
from vectors.generators import builder

KEY = bytes(range(32))
NAME = "segments/000102030405060708090a0b0c0d0e0f"
PLAINTEXT = b"what nobody may read"
CIPHERS: dict[str, Cipher] = {
    "aes-256-gcm": Aes256Gcm(NoConfig()),
    "chacha20-poly1305": ChaCha20Poly1305Cipher(NoConfig()),
}
KNOWN = {
    "aes-256-gcm": (
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1ff7937761362a977b"
        "caa73f8f05963d59e20719100573f3597c78432d7c66e6b88cd8709817f71157bbd5b971b4ece324"
        "befbf106d8d27edd9fa8b92091f118959a175ed6"
    ),
    "chacha20-poly1305": (
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1ff7937761362a977b"
        "caa73f8f05963d59e20719100573f3597c78432d7c66e6b8c13bd929b2b32a588f94248633e5ea38"
        "2148a1c38c0200ccdc3757832d9975a64e1c4ccb"
    ),
}
SHARED_STATE = random.Random(1)
every_cipher = pytest.mark.parametrize("cipher", CIPHERS)


def sealer(cipher: str = "aes-256-gcm", key: bytes = KEY) -> Sealer:
    return Sealer(CIPHERS[cipher], key)


@every_cipher
@given(plaintext=st.binary(max_size=200), key=st.binary(min_size=32, max_size=32))
def test_what_is_sealed_is_opened(cipher: str, plaintext: bytes, key: bytes) -> None:
    sealed = sealer(cipher, key).seal(NAME, plaintext)
    assert len(sealed) == len(plaintext) + 80 == len(plaintext) + sealer(cipher, key).overhead_bytes
    assert sealer(cipher, key).open(NAME, sealed) == plaintext


@every_cipher
def test_a_known_object_opens(cipher: str) -> None:
    """Sealed once with the salt 00 to 1f."""
    sealed = bytes.fromhex(KNOWN[cipher])
    assert sealed[:SALT_SIZE_BYTES] == bytes(range(32))
    assert sealer(cipher).open(NAME, sealed) == PLAINTEXT


@every_cipher
def test_the_seal_is_the_one_that_the_document_describes(
    cipher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda size: bytes(range(size)))
    expected = builder.seal(cipher, KEY, NAME, PLAINTEXT, bytes(range(32))).sealed
    assert sealer(cipher).seal(NAME, PLAINTEXT) == expected == bytes.fromhex(KNOWN[cipher])


@every_cipher
def test_buffers_are_filled_and_reused(cipher: str) -> None:
    out, back = bytearray(len(PLAINTEXT) + 80), bytearray(len(PLAINTEXT))
    for plaintext in (PLAINTEXT, PLAINTEXT[::-1]):
        sealer(cipher).seal_into(NAME, plaintext, out)
        sealer(cipher).open_into(NAME, memoryview(out), back)
        assert back == plaintext


def spoiled(sealed: bytes) -> Iterator[bytes]:
    """Each bit flipped, each length it could be cut to, and longer ones."""
    for position in range(len(sealed)):
        for bit in range(8):
            yield sealed[:position] + bytes([sealed[position] ^ 1 << bit]) + sealed[position + 1 :]
    yield from (sealed[:size] for size in range(len(sealed)))
    yield from (sealed + tail for tail in (b"\0", bytes(16), sealed))


def opened(candidate: Sealer, name: str, sealed: bytes) -> bool:
    try:
        candidate.open(name, sealed)
    except SealBroken:
        return False
    return True


@every_cipher
def test_no_changed_object_opens(cipher: str) -> None:
    sealed = sealer(cipher).seal(NAME, PLAINTEXT)
    assert opened(sealer(cipher), NAME, sealed)
    assert [data.hex() for data in spoiled(sealed) if opened(sealer(cipher), NAME, data)] == []


@every_cipher
def test_an_object_opens_under_its_own_name_and_key_only(cipher: str) -> None:
    sealed = sealer(cipher).seal(NAME, PLAINTEXT)
    others = [NAME[:-1] + "0", "heads/" + "0" * 16, "", NAME + "0"]
    assert not any(opened(sealer(cipher), name, sealed) for name in others)
    assert not opened(sealer(cipher, bytes(32)), NAME, sealed)


def test_an_object_does_not_open_with_another_cipher() -> None:
    sealed = sealer("aes-256-gcm").seal(NAME, PLAINTEXT)
    assert not opened(sealer("chacha20-poly1305"), NAME, sealed)


def test_the_commitment_is_checked_by_the_seal_and_not_by_the_cipher() -> None:
    """The control: the cipher alone takes what the seal refuses."""
    parts = builder.seal("aes-256-gcm", KEY, NAME, PLAINTEXT, bytes(32))
    other = builder.seal("aes-256-gcm", bytes(32), NAME, PLAINTEXT, bytes(32))
    spliced = parts.sealed[:32] + other.commitment + parts.sealed[64:]
    assert not opened(sealer(), NAME, spliced)
    out = bytearray(len(PLAINTEXT))
    CIPHERS["aes-256-gcm"].open_into(parts.key, NAME.encode(), spliced[64:], out)
    assert out == PLAINTEXT


def test_an_error_names_the_object_and_no_secret() -> None:
    sealed = bytearray(sealer().seal(NAME, PLAINTEXT))
    for position in (40, 70):
        spoiled_one = bytes(sealed[:position]) + bytes([sealed[position] ^ 1]) + bytes(sealed[position + 1 :])
        with pytest.raises(SealBroken, match=NAME) as caught:
            sealer().open(NAME, spoiled_one)
        text = f"{caught.value} {caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
        assert not any(secret in text for secret in (KEY.hex(), repr(KEY), PLAINTEXT.decode()))


def salts(count: int) -> list[bytes]:
    own = sealer()
    return [own.seal(NAME, b"")[:SALT_SIZE_BYTES] for _ in range(count)]


def test_no_salt_repeats_between_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [salt for part in pool.map(salts, [200] * 8) for salt in part]
    assert len(set(found)) == len(found) == 1600


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_no_salt_repeats_between_forks() -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = [salt for part in pool.map(salts, [100] * 8, chunksize=1) for salt in part] + salts(100)
    assert len(set(found)) == len(found) == 900


def sloppy_salts(count: int) -> list[bytes]:
    return [SHARED_STATE.randbytes(SALT_SIZE_BYTES) for _ in range(count)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_generator_whose_state_forks_share_would_repeat() -> None:
    """The control of the test above."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = [salt for part in pool.map(sloppy_salts, [100] * 8, chunksize=1) for salt in part]
    found += sloppy_salts(100)
    assert len(set(found)) < len(found) == 900
