"""The control: a small backup program of the usual kind.

Each content-defined chunk is an object of its own, named by its hash, with its exact compressed size; a
snapshot is a gzipped JSON listing with names and times.  It deduplicates, skips unchanged files, and
restores.  Whatever an experiment is meant to see must be seen here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import shutil
import stat
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from bitbacker.spi import NoConfig, Transport
from bitbacker_plugins.gear import GearChunker, GearConfig
from bitbacker_plugins.memory import MemoryTransport
from leak_lab.recording import RecordingTransport

CHUNKS = GearConfig(min_size_bytes=16 * 1024, average_size_bytes=64 * 1024, max_size_bytes=256 * 1024)
KEY = b"one key for all the world to see"

Row = dict[str, Any]


class PlainDesk:
    """The leaky program at a desk."""

    def __init__(self, folder: Path, *, keep_bytes: bool = False) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir(parents=True)
        self._url = f"memory://plain-{secrets.token_hex(8)}"
        self.transport = RecordingTransport(MemoryTransport(self._url, NoConfig()), keep_bytes=keep_bytes)
        self._transport: Transport = self.transport
        self._known: set[str] = set()

    def back_up(self, *paths: Path, **options: Any) -> str:
        """Store what is new and a listing of everything; returns the listing's name."""
        before = self._previous()
        rows = [row for path in paths or (self.source,) for row in self._rows(path, before)]
        document = {"rows": rows, "options": {name: str(value) for name, value in options.items()}}
        data = gzip.compress(json.dumps(document, ensure_ascii=False).encode(), mtime=0)
        name = f"snapshots/{self._number():032x}"
        self._transport.put(name, data)
        return name

    def restart(self, transport: Transport) -> None:
        """A new process, which has forgotten what was stored, on this transport."""
        self._transport = transport
        self._known.clear()

    def restore(self, name: str, target: Path) -> None:
        """Write the files of a listing below `target`."""
        for row in json.loads(gzip.decompress(self._transport.get(name)))["rows"]:
            path = target / row["path"]
            if row["chunks"] is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                parts = [zlib.decompress(self._transport.get(chunk)) for chunk in row["chunks"]]
                path.write_bytes(b"".join(parts))

    def close(self) -> None:
        MemoryTransport.drop(self._url)
        shutil.rmtree(self.folder)

    def _number(self) -> int:
        return sum(1 for _ in self._transport.list("snapshots/")) + 1

    def _previous(self) -> dict[str, Row]:
        newest = [info.name for info in self._transport.list("snapshots/")][-1:]
        if not newest:
            return {}
        rows = json.loads(gzip.decompress(self._transport.get(newest[0])))["rows"]
        return {row["path"]: row for row in rows}

    def _rows(self, top: Path, before: dict[str, Row]) -> Iterator[Row]:
        for folder, folders, files in os.walk(top):
            folders.sort()
            yield self._row(Path(folder), top, before)
            for name in sorted(files):
                yield self._row(Path(folder) / name, top, before)

    def _row(self, path: Path, top: Path, before: dict[str, Row]) -> Row:
        status = path.lstat()
        row: Row = {
            "path": str(path.relative_to(top)),
            "mode": status.st_mode,
            "size": 0 if path.is_dir() else status.st_size,
            "mtime": status.st_mtime_ns,
            "owner": [status.st_uid, status.st_gid],
            "link": str(path.readlink()) if path.is_symlink() else "",
            "xattrs": {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in _xattrs(path)},
        }
        old = before.get(row["path"])
        if old is not None and all(old[name] == row[name] for name in ("size", "mtime", "mode")):
            return row | {"chunks": old["chunks"]}
        return row | {"chunks": self._store(path) if stat.S_ISREG(status.st_mode) else None}

    def _store(self, path: Path) -> list[str]:
        data = path.read_bytes()
        ends = GearChunker(CHUNKS, KEY).cut(data, final=True) if data else []
        return [self._put(data[start:end]) for start, end in pairwise((0, *ends))]

    def _put(self, chunk: bytes) -> str:
        name = f"chunks/{hashlib.sha256(chunk).hexdigest()[:32]}"
        if name not in self._known:
            self._transport.put(name, zlib.compress(chunk), replace=True)
            self._known.add(name)
        return name


def _xattrs(path: Path) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def plain_keeping_bytes(folder: Path) -> PlainDesk:
    """The leaky program, with everything that was put."""
    return PlainDesk(folder, keep_bytes=True)
