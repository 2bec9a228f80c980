"""Keys, ids and fingerprints are those of docs/format.md, to the bit."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitbacker.crypto.keys import Keys, derive, expand, keys_of, object_hash
from bitbacker.spi import ROW

ROOT_KEY = bytes(range(32))
KNOWN = {
    "chunk_id": "01c49cb468fa14d74a9700b39cea4d04c0792fccd734b328518d246163125c76",
    "chunker": "d9e76d027668a433376251206f5eb410d6eccfb8f813940f775831d86babbb90",
    "stat": "2cf78c12f6ed7fe0218da33502766c8d8f470f9b9218f0d1c2a694718fab0915",
    "segment": "e723b06461229cbe28fb14740c83a54c0edf7b10bd85687219363e3a65ea7747",
    "head": "caaa7133cafa8c0bb25f720af585a5bd2916a04fecc2362f31f1e47340660ba3",
    "sketch": "0c2d2c4f2e46de718936ad1934f61b50ba65d356d6d62afcf5f61b6877dc997f",
    "source": "b9fcd152fe5884a3ef14dc4a3f68172ce45924f9a1d85d6fd4b0654edd45e32f",
    "repository_id": "eea7a4ffbc126d5c988449744dcc3e08",
}


def hkdf_expand(key: bytes, info: bytes, size_bytes: int) -> bytes:
    """RFC 5869, section 2.3, by hand."""
    blocks, last = b"", b""
    for number in range(1, size_bytes // 32 + 2):
        last = hmac.digest(key, last + info + bytes([number]), "sha256")
        blocks += last
    return blocks[:size_bytes]


@pytest.mark.parametrize("name", KNOWN)
def test_keys_of_a_known_root_key(name: str) -> None:
    value = getattr(keys_of(ROOT_KEY), name)
    assert (value if isinstance(value, str) else value.hex()) == KNOWN[name]


def test_every_key_has_a_known_answer() -> None:
    assert {field.name for field in fields(Keys)} == set(KNOWN)


def test_no_two_purposes_share_a_key() -> None:
    assert len({KNOWN[name][:32] for name in KNOWN}) == len(KNOWN)


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["stat", "head", "x"]), st.integers(1, 64))
def test_expansion_is_that_of_the_rfc(key: bytes, purpose: str, size_bytes: int) -> None:
    assert expand(key, purpose, size_bytes) == hkdf_expand(
        key, b"bitbacker/1/" + purpose.encode(), size_bytes
    )


@given(st.binary(max_size=40), st.binary(min_size=32, max_size=32), st.binary(max_size=20))
def test_derivation_is_that_of_the_rfc(secret: bytes, salt: bytes, info: bytes) -> None:
    assert derive(secret, salt, info, 64) == hkdf_expand(hmac.digest(salt, secret, "sha256"), info, 64)


def test_derivation_of_the_first_test_case_of_rfc_5869() -> None:
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert derive(b"\x0b" * 22, salt, info, 42).hex() == expected


def test_the_id_of_a_known_chunk() -> None:
    assert keys_of(ROOT_KEY).chunk_identity(b"Hello, world!\n").hex() == "3d07b6653d5dc1eeb79a411e385f81d0"


def test_an_id_does_not_depend_on_the_kind_of_buffer() -> None:
    keys = keys_of(ROOT_KEY)
    assert {keys.chunk_identity(kind(b"chunk")) for kind in (bytes, bytearray, memoryview)} == {
        keys.chunk_identity(b"chunk")
    }


def test_ids_depend_on_the_repository() -> None:
    assert keys_of(ROOT_KEY).chunk_identity(b"chunk") != keys_of(bytes(32)).chunk_identity(b"chunk")


def test_a_fingerprint_is_a_keyed_hash_of_row_path_and_target() -> None:
    keys, row = keys_of(ROOT_KEY), ROW.pack(0o120777, 1, 2, 1, 0, 6, 3, 4, 5)
    expected = hashlib.blake2b(row + b"a/link" + b"\0" + b"target", key=keys.stat, digest_size=8)
    assert keys.fingerprint(b"a/link", row, b"target") == expected.digest()
    assert expected.hexdigest() == "7e366e84cb920ed5"


@pytest.mark.parametrize("change", [(b"b", b"", b""), (b"", b"\1", b""), (b"", b"", b"b")])
def test_every_part_of_an_entry_changes_its_fingerprint(change: tuple[bytes, bytes, bytes]) -> None:
    keys = keys_of(ROOT_KEY)
    path, row, target = b"path", bytes(51), b"target"
    more_path, more_row, more_target = change
    changed = keys.fingerprint(path + more_path, row + (more_row or b"\0"), target + more_target)
    assert changed != keys.fingerprint(path, row + b"\0", target)


def test_a_path_cannot_be_shifted_into_the_target() -> None:
    keys, row = keys_of(ROOT_KEY), bytes(52)
    assert keys.fingerprint(b"ab", row, b"c") != keys.fingerprint(b"a", row, b"bc")


def test_the_hash_of_a_segment_is_a_little_endian_number() -> None:
    assert keys_of(ROOT_KEY).segment_hash(bytes(16)) == int(
        "4870a3fb0866b47aefcdd66eb41496997e881beb34c78d6d46954c67d58bb9d6", 16
    )


def test_the_name_of_a_source_keeps_host_and_source_apart() -> None:
    keys = keys_of(ROOT_KEY)
    assert keys.source_identity("host", "home").hex() == "c38de5f787ada654f5dd6db743a4416c"
    assert keys.source_identity("ab", "c") != keys.source_identity("a", "bc")


def test_the_hash_of_an_object_is_blake3() -> None:
    """The first test vector that the authors of BLAKE3 published: the empty input."""
    expected = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert object_hash(b"").hex() == expected


def test_keys_do_not_show_themselves() -> None:
    keys = keys_of(ROOT_KEY)
    for text in (repr(keys), str(keys), f"{keys}"):
        assert text == "Keys(***)"
