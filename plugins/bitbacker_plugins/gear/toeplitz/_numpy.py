"""The scan of `toeplitz-aes` in NumPy: the oracle of the C paths, and their stand-in without a compiler.

As in `gear`, all hashes of a stretch are made at once by doubling, with x^n in place of 2^n.  AES comes
from OpenSSL.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from bitbacker.spi import Buffer
from bitbacker_plugins.gear._walk import cut_by
from bitbacker_plugins.gear.sizes import WINDOW_BYTES
from bitbacker_plugins.gear.toeplitz.rule import AES_KEY_BYTES, Rule, Table


def cut(data: Buffer, rule: Rule, final: bool, /) -> list[int]:
    """Ends of the chunks in `data`; the same as `_scan.cut_toeplitz` to the last bit."""
    _check(rule)
    return cut_by(lambda stretch: _numbers(stretch, rule), data, rule, final=final)


def encrypt(key: bytes, blocks: Buffer, /) -> bytes:
    """AES-128 of each block of 16 bytes."""
    # Each block is an input of its own to a pseudorandom function, which is what ECB computes.
    cipher = Cipher(algorithms.AES128(key), modes.ECB())  # noqa: S305  # nothing is kept secret by it
    return cipher.encryptor().update(blocks)


def _check(rule: Rule) -> None:
    """Raise `ValueError` where the C scan would, so that neither is used with a key by mistake."""
    if rule.table.shape != (256, 2) or len(rule.aes_key) != AES_KEY_BYTES:
        raise ValueError("a rule has 256 pairs of numbers and an AES key of 16 bytes")


def _numbers(data: NDArray[np.uint8], rule: Rule) -> NDArray[np.uint32]:
    """What decides at each whole window of `data`: the first four bytes that AES makes of its hash."""
    hashes = np.stack([_hashes(data, rule.table[:, half]) for half in (0, 1)], axis=1)
    encrypted = encrypt(rule.aes_key, hashes.astype("<u8", copy=False).data.cast("B"))
    return np.frombuffer(encrypted, "<u4")[::4].astype(np.uint32)


def _hashes(data: NDArray[np.uint8], table: Table) -> Table:
    """One half of the hash behind each whole window of `data`."""
    hashes = table[data]
    width = 1
    while width < WINDOW_BYTES:
        hashes = _times_x(hashes[:-width], np.uint64(width)) ^ hashes[width:]
        width *= 2
    return hashes


def _times_x(elements: Table, power: np.uint64) -> Table:
    """Elements of GF(2)[x] / (x^64 + x^4 + x^3 + x + 1) times x^power, for powers from 1 to 32."""
    over = elements >> (np.uint64(64) - power)
    product: Table = elements << power
    for term in (0, 1, 3, 4):
        product ^= over << np.uint64(term)
    return product
