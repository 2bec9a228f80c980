"""Bounded primitives of the format: docs/format.md section 2.

Integers are little-endian and fixed in width.  A byte string is its length as u32 and its bytes.
A `Reader` never reads behind its end, never allocates more than it was given, and raises
`FormatError` for everything that a writer would not have written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bitbacker.errors import FormatError

_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")

T = TypeVar("T")

Array = npt.NDArray[np.generic]


class Writer:
    """Appends primitives to a growing buffer."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def u8(self, value: int) -> None:
        self._parts.append(_U8.pack(value))

    def u16(self, value: int) -> None:
        self._parts.append(_U16.pack(value))

    def u32(self, value: int) -> None:
        self._parts.append(_U32.pack(value))

    def u64(self, value: int) -> None:
        self._parts.append(_U64.pack(value))

    def i64(self, value: int) -> None:
        self._parts.append(_I64.pack(value))

    def raw(self, value: bytes | memoryview) -> None:
        """Bytes whose length the reader knows."""
        self._parts.append(bytes(value))

    def blob(self, value: bytes) -> None:
        """Bytes with their length before them."""
        self.u32(len(value))
        self._parts.append(value)

    def text(self, value: str) -> None:
        """A string as UTF-8; file names that are not UTF-8 keep their bytes (surrogateescape)."""
        self.blob(value.encode("utf-8", "surrogateescape"))

    def array(self, value: npt.NDArray[np.generic]) -> None:
        """The bytes of a little-endian array whose length the reader knows."""
        self._parts.append(value.tobytes())

    def bytes(self) -> bytes:
        """Everything that was appended."""
        return b"".join(self._parts)


class Reader:
    """Takes primitives from a buffer, front to back."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data).toreadonly().cast("B")
        self._at = 0
        self._end = len(self._data)

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return self._end - self._at

    def _take(self, size: int) -> int:
        if size > self.left:
            raise FormatError(f"a value of {size} bytes with {self.left} bytes left")
        at = self._at
        self._at += size
        return at

    def u8(self) -> int:
        return self._data[self._take(1)]

    def flag(self) -> bool:
        """A byte of 0 or 1."""
        value = self.u8()
        if value > 1:
            raise FormatError(f"a flag of {value}")
        return bool(value)

    def u16(self) -> int:
        value: int = _U16.unpack_from(self._data, self._take(2))[0]
        return value

    def u32(self) -> int:
        value: int = _U32.unpack_from(self._data, self._take(4))[0]
        return value

    def u64(self) -> int:
        value: int = _U64.unpack_from(self._data, self._take(8))[0]
        return value

    def i64(self) -> int:
        value: int = _I64.unpack_from(self._data, self._take(8))[0]
        return value

    def view(self, size: int) -> memoryview:
        """The next `size` bytes without a copy."""
        at = self._take(size)
        return self._data[at : at + size]

    def raw(self, size: int) -> bytes:
        return bytes(self.view(size))

    def blob(self) -> bytes:
        return self.raw(self.u32())

    def text(self) -> str:
        return self.blob().decode("utf-8", "surrogateescape")

    def array(self, dtype: str, count: int) -> npt.NDArray[np.generic]:
        """`count` items of a little-endian dtype, without a copy."""
        item = np.dtype(dtype).itemsize
        return np.frombuffer(self.view(item * count), dtype=dtype, count=count)

    def many(self, read: Callable[[], T], size_min: int) -> tuple[T, ...]:
        """A u32 count and so many items, each of at least `size_min` bytes."""
        count = self.u32()
        if count * size_min > self.left:
            raise FormatError(f"{count} items with {self.left} bytes left")
        return tuple(read() for _ in range(count))

    def end(self) -> None:
        """Assert that nothing is left."""
        if self.left:
            raise FormatError(f"{self.left} bytes behind the end")
