"""What a snapshot holds."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from bitbacker.app.access import Connection
from bitbacker.errors import PathUnknown
from bitbacker.format.catalog import Owner, Snapshot
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ, Directory
from bitbacker.format.rows import as_rows
from bitbacker.repo.tree import SnapshotTree

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a snapshot; `path` has no leading slash.

    `user` and `group` are names where the snapshot knows them, else empty.  `torn` says that the file
    changed while it was read.
    """

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    size_bytes: int
    mtime_ns: int
    link_target: bytes
    torn: bool


def path_in_snapshot(text: str) -> bytes:
    """An absolute path, or one that is relative to the top of the snapshot, as snapshots spell it."""
    return os.fsencode(posixpath.normpath("/" + text)).strip(b"/")


def list_entries(connection: Connection, snapshot: Snapshot, path: str = "") -> Iterator[Entry]:
    """All entries, or those at and below a path, in table order.

    Raises `PathUnknown`, `DamageError`, `StorageError`.
    """
    wanted = path_in_snapshot(path)
    names = _Names(_by_number(snapshot.users), _by_number(snapshot.groups))
    tree = SnapshotTree(connection.repository.tables, snapshot.tables)
    found = False
    for directory in tree.directories([wanted] if wanted else []):
        for entry in _entries(directory, names):
            if not wanted or entry.path == wanted or entry.path.startswith(wanted + b"/"):
                found = True
                yield entry
    if wanted and not found:
        raise PathUnknown(f"the snapshot does not hold {path!r}")


@dataclass(frozen=True, slots=True)
class _Names:
    users: dict[int, str]
    groups: dict[int, str]


def _by_number(owners: tuple[Owner, ...]) -> dict[int, str]:
    return {owner.number: owner.name for owner in owners}


def _entries(directory: Directory, names: _Names) -> Iterator[Entry]:
    prefix = directory.path + b"/" if directory.path else b""
    links = iter(directory.links)
    for name, row, mark in zip(directory.name_list, as_rows(directory.rows), directory.marks, strict=True):
        mode, uid, gid = int(row["mode"]), int(row["uid"]), int(row["gid"])
        kind = stat.S_IFMT(mode)
        yield Entry(
            prefix + name,
            KINDS.get(kind, "unknown"),
            stat.S_IMODE(mode),
            uid,
            gid,
            names.users.get(uid, ""),
            names.groups.get(gid, ""),
            int(row["size_bytes"]) if kind == stat.S_IFREG else 0,
            int(row["mtime_ns"]),
            next(links) if kind == stat.S_IFLNK else b"",
            bool(mark & MARK_CHANGED_WHILE_READ),
        )
