"""From what the kernel says of files to packed rows."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence

from bitbacker.spi import ROW

_TYPE = 0o170000
_DIRECTORY = stat.S_IFDIR
_SIZED = frozenset({stat.S_IFREG, stat.S_IFLNK})
_DEVICES = frozenset({stat.S_IFBLK, stat.S_IFCHR})
_STAMP_LIMIT_NS = 2**63 - 1


class RowPacker:
    """Packs rows and numbers the file systems in the order in which it meets them.

    With `strong` the rows carry ctime and inode.  Without it both are 0, and every file has one link,
    because names can only be known to be one file by an inode that can be trusted.
    """

    def __init__(self, *, strong: bool) -> None:
        self.strong = strong
        self._filesystems: dict[int, int] = {}

    def filesystem(self, device: int) -> int:
        """The number of the mounted file system with this st_dev."""
        return self._filesystems.setdefault(device, len(self._filesystems))

    def pack(self, status: os.stat_result, *, size_bytes: int | None = None, racy: bool = False) -> bytes:
        """One row; `racy` leaves the ctime out, so that the file is read again the next time."""
        kind = status.st_mode & _TYPE
        mtime_ns = status.st_mtime_ns
        ctime_ns = status.st_ctime_ns if self.strong and not racy else 0
        if abs(mtime_ns) > _STAMP_LIMIT_NS or abs(ctime_ns) > _STAMP_LIMIT_NS:
            # A stamp beyond the year 2262 does not fit into 64 bits of nanoseconds.
            mtime_ns, ctime_ns = _clamped(mtime_ns), _clamped(ctime_ns)
        return ROW.pack(
            status.st_mode,
            status.st_uid,
            status.st_gid,
            1 if kind == _DIRECTORY or not self.strong else status.st_nlink,
            self.filesystem(status.st_dev),
            _size(status, kind) if size_bytes is None else size_bytes,
            mtime_ns,
            ctime_ns,
            status.st_ino if self.strong else 0,
        )

    def pack_all(self, statuses: Sequence[os.stat_result]) -> tuple[bytes, list[int]]:
        """The rows of a directory, joined, and the indexes of its subdirectories."""
        try:
            return self._pack_fast(statuses)
        except struct.error:
            # Some stamp has to be clamped.
            rows = b"".join([self.pack(status) for status in statuses])
            return rows, [i for i, status in enumerate(statuses) if stat.S_ISDIR(status.st_mode)]

    def _pack_fast(self, statuses: Sequence[os.stat_result]) -> tuple[bytes, list[int]]:
        # This loop runs once per file of the whole source: it calls nothing that it could avoid.
        rows: list[bytes] = []
        directories: list[int] = []
        add, pack, strong = rows.append, ROW.pack, self.strong
        device_before, filesystem = -1, 0
        for index, status in enumerate(statuses):
            mode, inode, device, links, uid, gid, size, _, _, _ = status
            kind = mode & _TYPE
            if kind not in _SIZED:
                size = status.st_rdev if kind in _DEVICES else 0
                if kind == _DIRECTORY:
                    links = 1
                    directories.append(index)
            if device != device_before:
                device_before, filesystem = device, self.filesystem(device)
            mtime_ns = status.st_mtime_ns
            if strong:
                add(pack(mode, uid, gid, links, filesystem, size, mtime_ns, status.st_ctime_ns, inode))
            else:
                add(pack(mode, uid, gid, 1, filesystem, size, mtime_ns, 0, 0))
        return b"".join(rows), directories


def _size(status: os.stat_result, kind: int) -> int:
    if kind in _SIZED:
        return status.st_size
    return status.st_rdev if kind in _DEVICES else 0


def _clamped(time_ns: int) -> int:
    return min(max(time_ns, -_STAMP_LIMIT_NS), _STAMP_LIMIT_NS)
