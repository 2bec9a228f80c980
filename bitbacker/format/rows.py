"""Packed metadata rows as arrays, and their column form: docs/format.md section 6.2.

A row is `bitbacker.spi.source.ROW`, 52 bytes.  On the wire rows are turned into byte planes of
columns, times and inode numbers as zigzag differences to the row before, because that is what
compresses; in memory and in the cache they stay rows, because rows compare as bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ROW_DTYPE = np.dtype(
    [
        ("mode", "<u4"),
        ("uid", "<u4"),
        ("gid", "<u4"),
        ("nlink", "<u4"),
        ("filesystem", "<u4"),
        ("size_bytes", "<i8"),
        ("mtime_ns", "<i8"),
        ("ctime_ns", "<i8"),
        ("inode", "<u8"),
    ]
)
ROW_SIZE_BYTES = ROW_DTYPE.itemsize

_PLAIN = ("mode", "uid", "gid", "nlink", "filesystem", "size_bytes")
_DIFFERENCES = ("mtime_ns", "ctime_ns", "inode")

Rows = npt.NDArray[np.void]


def as_rows(data: bytes | memoryview) -> Rows:
    """The rows in `data`, without a copy."""
    return np.frombuffer(data, dtype=ROW_DTYPE)


def to_planes(rows: Rows) -> bytes:
    """Byte planes of all columns; as long as the rows are."""
    planes = [_planes(np.ascontiguousarray(rows[name])) for name in _PLAIN]
    planes += [_planes(_zigzag(rows[name].astype(np.int64))) for name in _DIFFERENCES]
    return b"".join(planes)


def from_planes(data: memoryview, count: int) -> Rows:
    """The inverse of `to_planes`; `data` has exactly `count` rows."""
    rows = np.empty(count, dtype=ROW_DTYPE)
    at = 0
    for name in _PLAIN + _DIFFERENCES:
        dtype = ROW_DTYPE[name]
        size = dtype.itemsize * count
        column = np.frombuffer(data[at : at + size], dtype=np.uint8).reshape(dtype.itemsize, count)
        values: npt.NDArray[Any] = np.ascontiguousarray(column.T).reshape(-1).view(dtype)
        rows[name] = _unzigzag(values) if name in _DIFFERENCES else values
        at += size
    return rows


def _planes(column: npt.NDArray[Any]) -> bytes:
    planes: bytes = column.view(np.uint8).reshape(len(column), column.dtype.itemsize).T.tobytes()
    return planes


def _zigzag(column: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    unsigned = column.view(np.uint64)
    difference = np.diff(unsigned, prepend=np.uint64(0)).view(np.int64)
    return ((difference << 1) ^ (difference >> 63)).view(np.uint64)


def _unzigzag(column: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    unsigned = column.view("<u8")
    difference = (unsigned >> np.uint64(1)) ^ (np.uint64(0) - (unsigned & np.uint64(1)))
    return np.cumsum(difference, dtype=np.uint64)
