"""All scans of the toeplitz-aes chunker are one function: that of docs/chunkers.md."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from bitbacker.testing.chunker import KINDS, made_stream
from bitbacker_plugins.gear.toeplitz import ToeplitzAesChunker, ToeplitzAesConfig, _numpy
from bitbacker_plugins.gear.toeplitz.rule import Rule, rule_of
from gil_hold import held_share

_scan = pytest.importorskip(
    "bitbacker_plugins.gear._scan", reason="the C extension was not built: the NumPy scan has no peer"
)

Scan = Callable[[Any, Rule, bool], list[int]]


def c_scan(path: str) -> Scan:
    return lambda data, rule, final: list(_scan.cut_toeplitz(data, rule, final, path))


PATHS: list[str] = _scan.paths()
C_SCANS = {path: c_scan(path) for path in PATHS}
SCANS = {**C_SCANS, "numpy": _numpy.cut}
scans = pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
c_scans = pytest.mark.parametrize("scan", C_SCANS.values(), ids=C_SCANS)

KEY = bytes(range(32))
SECRETS = rule_of(ToeplitzAesConfig(), KEY)[:2]
SMALL = ToeplitzAesConfig(min_size_bytes=256, average_size_bytes=1024, max_size_bytes=4096)

# What the C paths for x86 look at in one go: two vectors of up to four lanes.
LANE_BYTES = 2048
WIDEST_BYTES = 8 * LANE_BYTES

rules = st.builds(
    lambda loose, more, small, middle, large: Rule(
        *SECRETS,
        strict_bits=loose + more,
        loose_bits=loose,
        min_size_bytes=small,
        switch_size_bytes=small + middle,
        max_size_bytes=small + middle + large,
    ),
    loose=st.integers(1, 18),
    more=st.integers(0, 8),
    small=st.integers(64, 3000),
    middle=st.integers(0, 60_000),
    large=st.integers(0, 60_000),
)


def times_x(element: int) -> int:
    """In GF(2)[x] / (x^64 + x^4 + x^3 + x + 1), the coefficient of x^i being bit i."""
    return (element << 1) ^ (0b11011 | 1 << 64 if element >> 63 else 0)


def number(window: bytes, rule: Rule) -> int:
    """What decides behind a window, word for word as in docs/chunkers.md."""
    halves = [0, 0]
    for byte in window:
        halves = [times_x(half) ^ int(rule.table[byte][side]) for side, half in enumerate(halves)]
    block = b"".join(half.to_bytes(8, "little") for half in halves)
    encryptor = Cipher(algorithms.AES128(rule.aes_key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(block)[:4], "little")


def by_the_book(data: bytes, rule: Rule, *, final: bool) -> list[int]:
    """The rules of docs/chunkers.md, word for word, for streams of some hundred bytes."""
    ends: list[int] = []
    start = 0
    while start < len(data):
        size = 1
        while True:
            if size == rule.max_size_bytes:
                break
            if start + size == len(data):
                if final:
                    break
                return ends
            if size >= rule.min_size_bytes:
                bits = rule.strict_bits if size < rule.switch_size_bytes else rule.loose_bits
                if number(data[start + size - 64 : start + size], rule) < 2 ** (32 - bits):
                    break
            size += 1
        start += size
        ends.append(start)
    return ends


def test_the_portable_path_is_tested_beside_what_this_processor_has() -> None:
    print("paths on this processor:", PATHS)
    assert PATHS[-1] == "portable"
    assert ToeplitzAesChunker.implementation == f"c {PATHS[0]}"


# FIPS 197, appendix C.1; the key and first block of its appendix B; SP 800-38A, F.1.1, all four blocks.
AES_VECTORS = [
    (
        "000102030405060708090a0b0c0d0e0f",
        "00112233445566778899aabbccddeeff",
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
    (
        "2b7e151628aed2a6abf7158809cf4f3c",
        "3243f6a8885a308d313198a2e0370734",
        "3925841d02dc09fbdc118597196a0b32",
    ),
    (
        "2b7e151628aed2a6abf7158809cf4f3c",
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
        ),
        (
            "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
            "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"
        ),
    ),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("key", "plain", "expected"), AES_VECTORS, ids=["C.1", "B", "SP 800-38A"])
def test_aes_gives_what_its_standard_gives(path: str, key: str, plain: str, expected: str) -> None:
    assert _scan.encrypt(bytes.fromhex(key), bytes.fromhex(plain), path).hex() == expected


@pytest.mark.parametrize("path", PATHS)
def test_aes_gives_what_openssl_gives_for_any_number_of_blocks(rng: random.Random, path: str) -> None:
    for count in (0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 127, 128, 129, 1000):
        key, plain = rng.randbytes(16), rng.randbytes(16 * count)
        assert _scan.encrypt(key, plain, path) == _numpy.encrypt(key, plain), count


@settings(max_examples=25)
@given(
    rule=st.builds(
        lambda loose, small, middle, large: Rule(
            *SECRETS, loose + 2, loose, small, small + middle, small + middle + large
        ),
        *(st.integers(1, 9), st.integers(64, 200), st.integers(0, 300), st.integers(0, 300)),
    ),
    kind=st.sampled_from(KINDS),
    own_seed=st.integers(0, 2**32),
    size=st.integers(0, 800),
    final=st.booleans(),
)
def test_every_scan_follows_the_book(rule: Rule, kind: str, own_seed: int, size: int, final: bool) -> None:
    data = made_stream(kind, own_seed, size)
    expected = by_the_book(data, rule, final=final)
    for name, scan in SCANS.items():
        assert scan(data, rule, final) == expected, name


@settings(max_examples=100)
@given(
    rule=rules,
    kind=st.sampled_from(KINDS),
    own_seed=st.integers(0, 2**32),
    size=st.integers(0, 200_000),
    final=st.booleans(),
)
def test_every_scan_agrees_on_any_data_under_any_rule(
    rule: Rule, kind: str, own_seed: int, size: int, final: bool
) -> None:
    data = made_stream(kind, own_seed, size)
    expected = _numpy.cut(data, rule, final)
    for name, scan in C_SCANS.items():
        assert scan(data, rule, final) == expected, name


@settings(max_examples=30)
@given(own_seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_every_scan_agrees_under_any_table_and_key(own_seed: int, kind: str) -> None:
    secrets = made_stream(kind, own_seed, 4096 + 16)
    table = np.frombuffer(secrets[16:], np.uint64).reshape(256, 2)
    rule = Rule(table, secrets[:16], 12, 8, 64, 1000, 60_000)
    data = made_stream("random", own_seed, 50_000)
    expected = _numpy.cut(data, rule, True)
    for name, scan in C_SCANS.items():
        assert scan(data, rule, True) == expected, name


@c_scans
@pytest.mark.parametrize("config", [SMALL, ToeplitzAesConfig()], ids=["small", "default"])
def test_c_and_numpy_agree_around_every_size_that_matters(
    rng: random.Random, scan: Scan, config: ToeplitzAesConfig
) -> None:
    rule = rule_of(config, KEY)
    data = bytearray(rng.randbytes(config.average_size_bytes + 200))
    edges = (1, 64, rule.min_size_bytes, rule.switch_size_bytes, config.average_size_bytes)
    for size in (edge + step for edge in edges for step in (-1, 0, 1)):
        for final in (False, True):
            view = memoryview(data)[:size]
            assert scan(view, rule, final) == _numpy.cut(view, rule, final), (size, final)


@c_scans
@pytest.mark.parametrize(
    "make",
    [
        lambda _, size: bytes(size),
        lambda _, size: b"\xff" * size,
        lambda rng, size: bytes(rng.choices(b"ab", k=size)),
        lambda rng, size: rng.randbytes(64) * (size // 64),
        lambda rng, size: rng.randbytes(LANE_BYTES) * (size // LANE_BYTES),
        lambda rng, size: rng.randbytes(1) * (size // 2) + rng.randbytes(size // 2),
    ],
    ids=["zeros", "ones", "two symbols", "period 64", "period of a lane", "half of it random"],
)
def test_c_and_numpy_agree_on_a_megabyte_of_hard_data(
    rng: random.Random, scan: Scan, make: Callable[[random.Random, int], bytes]
) -> None:
    data = make(rng, 1 << 20)
    for config in (ToeplitzAesConfig(8 << 10, 32 << 10, 128 << 10), SMALL):
        rule = rule_of(config, KEY)
        assert scan(data, rule, True) == _numpy.cut(data, rule, True)


def matching_window(rule: Rule) -> bytes:
    """64 bytes behind which a strict end may lie."""
    data = made_stream("random", 1, 4 << 20)
    rule = rule._replace(min_size_bytes=64, switch_size_bytes=len(data), max_size_bytes=len(data))
    end = C_SCANS[PATHS[0]](data, rule, True)[0]
    assert end < len(data)
    return data[end - 64 : end]


ROOMY = rule_of(ToeplitzAesConfig(1024, 65_536, 131_072), KEY)
WINDOW = matching_window(ROOMY)


@scans
@pytest.mark.parametrize(
    "place",
    [
        *(ROOMY.min_size_bytes + step for step in (0, 1, 63, 64, 65)),
        *(ROOMY.min_size_bytes + lane * LANE_BYTES + step for lane in range(1, 10) for step in (-1, 0, 1, 8)),
        *(ROOMY.switch_size_bytes + step for step in (-WIDEST_BYTES, -64, -1, 0, 1, 63, WIDEST_BYTES)),
        ROOMY.max_size_bytes - 1,
    ],
)
def test_the_one_match_is_found_wherever_it_is(scan: Scan, place: int) -> None:
    data = bytearray(ROOMY.max_size_bytes)
    data[place - 64 : place] = WINDOW
    assert scan(data, ROOMY, True) == [place, len(data)]


@scans
@pytest.mark.parametrize("place", [64, ROOMY.min_size_bytes - 1, ROOMY.max_size_bytes])
def test_a_match_before_the_minimum_or_at_the_maximum_changes_nothing(scan: Scan, place: int) -> None:
    data = bytearray(ROOMY.max_size_bytes + 9)
    data[place - 64 : place] = WINDOW
    assert scan(data, ROOMY, True) == [ROOMY.max_size_bytes, len(data)]


@c_scans
def test_the_earliest_of_many_matches_wins_across_lanes(rng: random.Random, scan: Scan) -> None:
    for _ in range(50):
        data = bytearray(ROOMY.max_size_bytes)
        places = rng.sample(range(ROOMY.min_size_bytes, ROOMY.min_size_bytes + 2 * WIDEST_BYTES, 64), 3)
        for place in places:
            data[place - 64 : place] = WINDOW
        assert scan(data, ROOMY, True)[0] == min(places), places


GUARDED = """
import ctypes, mmap, random, sys
from bitbacker_plugins.gear import _scan
from bitbacker_plugins.gear.toeplitz.rule import ToeplitzAesConfig, rule_of

path, over = sys.argv[1], int(sys.argv[2])
page, pages = mmap.PAGESIZE, 20
memory = mmap.mmap(-1, (pages + 2) * page)
memory[page:-page] = random.Random(1).randbytes(pages * page)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
protect = ctypes.CDLL(None, use_errno=True).mprotect
for guard in (base, base + (pages + 1) * page):
    assert protect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0

rule = rule_of(ToeplitzAesConfig(64, 1 << 29, 1 << 30), bytes(32))
for size in (64, 65, 66, 4096, 4160, 4161, 8256, 8257, 16447, 16448, 16449, 16450, 50_000, pages * page):
    for start in (base + page, base + (pages + 1) * page - size):
        data = memoryview((ctypes.c_char * (size + over)).from_address(start)).cast("B")
        _scan.cut_toeplitz(data, rule, False, path)
print("done")
"""


def guarded(path: str, over: int) -> subprocess.CompletedProcess[str]:
    """Cut data that lies against pages that nobody may read, `over` bytes of it within one."""
    command = [sys.executable, "-c", GUARDED, path, str(over)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mprotect")
@pytest.mark.parametrize("path", PATHS)
def test_nothing_beside_the_data_is_read(path: str) -> None:
    run = guarded(path, over=0)
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mprotect")
@pytest.mark.parametrize("path", PATHS)
def test_a_read_beside_the_data_would_be_seen(path: str) -> None:
    """The control: with a few bytes more there is something to trip over."""
    assert guarded(path, over=2).returncode == -signal.SIGSEGV


@scans
def test_a_buffer_with_holes_is_refused(scan: Scan) -> None:
    with pytest.raises(BufferError):
        scan(memoryview(bytes(10_000))[::2], ROOMY, True)


@scans
def test_a_view_of_wider_items_is_read_as_bytes(scan: Scan) -> None:
    data = made_stream("random", 8, 8000)
    rule = rule_of(SMALL, KEY)
    assert scan(memoryview(data).cast("Q"), rule, True) == scan(data, rule, True)


@scans
@pytest.mark.parametrize(
    "changes",
    [{"table": SECRETS[0][:255]}, {"table": np.zeros((257, 2), np.uint64)}, {"aes_key": bytes(32)}],
    ids=["short table", "long table", "long key"],
)
def test_secrets_of_another_size_are_refused(scan: Scan, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"256 pairs|16 bytes"):
        scan(bytes(5000), rule_of(SMALL, KEY)._replace(**changes), True)


@c_scans
@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"loose_bits": 0}, "bits"),
        ({"strict_bits": 32}, "bits"),
        ({"strict_bits": 3, "loose_bits": 4}, "bits"),
        ({"min_size_bytes": 63}, "sizes"),
        ({"switch_size_bytes": 255}, "sizes"),
        ({"max_size_bytes": 256}, "sizes"),
    ],
)
def test_c_refuses_a_rule_that_would_leave_its_bounds(
    scan: Scan, changes: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        scan(bytes(5000), rule_of(SMALL, KEY)._replace(**changes), True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"data", ROOMY, True),
        ("text", ROOMY, True, "portable"),
        (b"data", None, True, "portable"),
        (b"data", ROOMY[:6], True, "portable"),
        (b"data", (ROOMY[0], None, *ROOMY[2:]), True, "portable"),
        (b"data", ROOMY, True, None),
    ],
)
def test_c_refuses_arguments_of_other_types(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        _scan.cut_toeplitz(*arguments)


@pytest.mark.parametrize(
    "call",
    [partial(_scan.cut_toeplitz, b"data", ROOMY, True), partial(_scan.encrypt, bytes(16), bytes(16))],
    ids=["cut", "encrypt"],
)
def test_a_path_that_this_processor_does_not_have_is_refused(call: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="no path called 'quantum'"):
        call("quantum")


@pytest.mark.parametrize(("key", "blocks"), [(bytes(15), bytes(16)), (bytes(16), bytes(17))])
def test_encrypt_refuses_what_is_not_made_of_blocks(key: bytes, blocks: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        _scan.encrypt(key, blocks, "portable")


@pytest.mark.parametrize(
    "arguments", [(ROOMY._replace(strict_bits=99), "portable"), (ROOMY, "quantum")], ids=["bits", "path"]
)
def test_c_lets_go_of_its_buffers_after_an_error(arguments: tuple[Rule, str]) -> None:
    data = bytearray(5000)
    with pytest.raises(ValueError, match=r"bits|quantum"):
        _scan.cut_toeplitz(data, arguments[0], True, arguments[1])
    data.clear()


def test_c_leaves_the_gil() -> None:
    data = bytes(64 << 20)
    chunker = ToeplitzAesChunker(ToeplitzAesConfig(), KEY)
    assert held_share(lambda: chunker.cut(data, final=True)) < 0.5
