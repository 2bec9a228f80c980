"""A process of its own with little memory, in which hostile bytes are decoded.

Prints a line `NAME OUTCOME` for each input: the class of our error, `taken`, or `MemoryError`.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

import numpy as np
import zstandard

from bitbacker.errors import BitBackerError
from bitbacker.format import catalog, entries, index
from bitbacker.format.block import BlockInfo, BlockKind, Codec, unpack
from bitbacker.format.head import SKETCH_SIZE_BYTES, decode_head
from bitbacker.format.root import decode_root
from bitbacker.format.sketch import decode_list, decode_sketch
from format.decoders import decoders
from format.test_decoders import extreme

ROOM_BYTES = 160 * 1024 * 1024
GIB = 1024**3


def unpacked(stored: bytes, raw_bytes: int) -> object:
    info = BlockInfo(
        BlockKind.ENTRIES, Codec.ZSTD, 8, len(stored), raw_bytes, memoryview(b""), np.empty(0, np.uint32)
    )
    return unpack(info, memoryview(stored), zstandard.ZstdDecompressor())


def zeros(size_bytes: int, *, content_size: bool = True) -> bytes:
    """A frame of so many zeros, made a piece at a time."""
    size = size_bytes if content_size else -1
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    piece = bytes(1024 * 1024)
    return b"".join(
        [*(compressor.compress(piece) for _ in range(size_bytes // len(piece))), compressor.flush()]
    )


def claiming(size_bytes: int) -> bytes:
    """A small frame whose header says that it holds this much."""
    header = b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + size_bytes.to_bytes(8, "little")
    return header + b"\x03\x00\x00" + b"\0"


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


MANY = 2**32 - 1
BOMB = zeros(2 * GIB)
INPUTS: dict[str, Callable[[], object]] = {
    "bomb that says its size": lambda: unpacked(BOMB, 1000),
    "bomb that says another size": lambda: unpacked(zeros(GIB, content_size=False), 1000),
    "bomb as large as a block may be, and more": lambda: unpacked(zeros(65 * 1024**2), 64 * 1024**2),
    "frame that claims a tebibyte": lambda: unpacked(claiming(1024 * GIB), 1000),
    "frame that claims what the block claims": lambda: unpacked(claiming(64 * 1024**2), 64 * 1024**2),
    "bomb in a frame": lambda: catalog.decode_page(
        unpacked(zstandard.compress(BOMB), len(BOMB))  # type: ignore[arg-type]  # bytes, as unpack says
    ),
    "directories without end": lambda: entries.decode_page(numbers(MANY, 0, 0, 0, 0, 0)),
    "entries without end": lambda: entries.decode_page(numbers(0, MANY, 0, 0, 0, 0)),
    "links without end": lambda: entries.decode_page(numbers(0, MANY, MANY, 0, 0, 0) + bytes(100)),
    "zero bytes for paths": lambda: entries.decode_page(
        numbers(7, 0, 0, 0, 0, 30 * 1024**2) + bytes(30 * 1024**2)
    ),
    "records without end": lambda: index.decode_page(numbers(MANY)),
    "catalog records without end": lambda: catalog.decode_page(numbers(MANY)),
    "pages without end": lambda: decode_root(b"\2" + numbers(0, MANY)),
    "rungs without end": lambda: decode_root(b"\2" + numbers(0, 0, MANY)),
    "ancestors without end": lambda: decode_head(
        numbers(116) + bytes(112) + numbers(MANY) + bytes(SKETCH_SIZE_BYTES)
    ),
    "tips without end": lambda: decode_head(
        numbers(129) + bytes(112) + numbers(0, 0, 0) + b"\1" + numbers(MANY) + bytes(SKETCH_SIZE_BYTES)
    ),
    "a list of fingerprints without end": lambda: decode_list(numbers(MANY, MANY)),
    "a sketch of more cells than bytes": lambda: decode_sketch(bytes(36), 2**16 - 1),
    "segments without end": lambda: decode_root(b"\3" + numbers(MANY, 0)),
}
CONTROLS: dict[str, Callable[[], object]] = {
    "control: a bomb unpacked without a limit": lambda: zstandard.ZstdDecompressor().decompress(BOMB),
    "control: a count that is trusted": lambda: [0] * MANY,
}


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except (BitBackerError, MemoryError) as error:
        return type(error).__name__
    except zstandard.ZstdError as error:
        return "MemoryError" if "memory" in str(error) or "allocat" in str(error) else repr(error)
    return "taken"


def all_extremes() -> None:
    """Every number of every example at its limits."""
    for decoder in decoders():
        for data in extreme(decoder.example):
            try:
                decoder.decode(data)
            except BitBackerError:
                continue


def main() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    decoders()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES,) * 2)
    for name, action in {**INPUTS, **CONTROLS}.items():
        sys.stdout.write(f"{name}\t{outcome(action)}\n")
    sys.stdout.write(f"extremes\t{outcome(all_extremes)}\n")


if __name__ == "__main__":
    main()
