"""A repository on a desk: real plugins, a store in memory, and clients with machines of their own."""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitbacker.engine.backup import BackupOptions, BackupResult, backup
from bitbacker.engine.observe import SilentObserver
from bitbacker.errors import ObjectExists
from bitbacker.format.catalog import Snapshot
from bitbacker.format.extras import decode_extras
from bitbacker.format.head import HASH_SIZE_BYTES, Head
from bitbacker.format.keyslots import Constants, PluginChoice, SlotContent
from bitbacker.format.rows import as_rows
from bitbacker.repo.index import ChunkIndex
from bitbacker.repo.open import Repository
from bitbacker.repo.settings import LocalPaths
from bitbacker.repo.storage import Storage
from bitbacker.repo.tree import SnapshotTree
from bitbacker.spi import Chunker, Cipher, Located, NoConfig, Transport
from bitbacker_plugins.aes256gcm import bitbacker_cipher
from bitbacker_plugins.files import bitbacker_source
from bitbacker_plugins.gear import bitbacker_chunker
from bitbacker_plugins.memory import MemoryTransport

_numbers = itertools.count()
_times = itertools.count(1_000_000_000_000_000_000, 1_000_000_000)

CONSTANTS = Constants(PluginChoice("aes-256-gcm", "{}", "bitbacker"), PluginChoice("gear", "{}", "bitbacker"))


class Maker:
    """Makes the reference plugins with their defaults."""

    def cipher(self, choice: PluginChoice) -> Cipher:
        offered = bitbacker_cipher(choice.name)
        assert offered is not None
        return offered(offered.Config())

    def chunker(self, choice: PluginChoice, key: bytes) -> Chunker:
        offered = bitbacker_chunker(choice.name)
        assert offered is not None
        return offered(offered.Config(), key)


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a snapshot, read without the restore engine."""

    kind: int
    mode: int
    content: bytes
    link: bytes


class Lab:
    """A store that can be copied, and clients of it."""

    def __init__(self, folder: Path, content: SlotContent | None = None) -> None:
        self._folder = folder
        self.content = content or SlotContent(secrets.token_bytes(32), CONSTANTS)
        self.url = f"memory://lab-{os.getpid()}-{next(_numbers)}"
        self.transport: Transport = MemoryTransport(self.url, NoConfig())

    def use(self, transport: Transport) -> None:
        """Keep the repository somewhere else."""
        self.transport = transport

    def client(
        self, name: str = "one", transport: Transport | None = None, *, wait: bool = False
    ) -> Repository:
        """A machine of this name with its own cache and state; without `wait` retries do not wait."""
        paths = LocalPaths(self._folder / name / "cache", self._folder / name / "state")
        storage = Storage(transport or self.transport)
        if not wait:
            storage._sleep = lambda _: None
        return Repository(storage, self.content, Maker(), paths)

    def begin(self) -> None:
        """The first head, as `create` writes it."""
        repository = self.client()
        head = Head(1, bytes(HASH_SIZE_BYTES), 0, bytes(16), 0, 0, 0, (), ())
        try:
            repository.heads.acknowledge(repository.heads.put(head))
        except ObjectExists:
            raise AssertionError("the lab was begun before") from None

    def copy(self, folder: Path) -> Lab:
        """Another store with the same objects."""
        other = Lab(folder, self.content)
        for info in self.transport.list(""):
            other.transport.put(info.name, self.transport.get(info.name))
        return other

    def objects(self) -> dict[str, bytes]:
        return {info.name: self.transport.get(info.name) for info in self.transport.list("")}


def back_up(repository: Repository, *paths: Path, source: str = "src", **options: Any) -> BackupResult:
    """One backup of these paths by the real source."""
    offered = bitbacker_source("files")
    assert offered is not None
    config = offered.Config(paths=tuple(Located(str(path)) for path in paths))
    wanted = replace(BackupOptions("host", source, (), next(_times), "test"), **options)
    made = offered(config)
    try:
        return backup(repository, made, wanted, SilentObserver())
    finally:
        made.close()


def contents(repository: Repository, snapshot: Snapshot) -> dict[bytes, Found]:
    """Everything that a snapshot shows, chunk by chunk from the segments."""
    index = repository.index(repository.newest())
    found: dict[bytes, Found] = {}
    for directory in SnapshotTree(repository.tables, snapshot.tables).directories():
        rows = as_rows(directory.rows)
        links = iter(directory.links)
        extras = {extra.position: decode_extras(extra.data) for extra in directory.extras}
        at = 0
        for position, name in enumerate(directory.name_list):
            count = int(directory.chunk_counts[position])
            ids = directory.chunk_ids[at * 16 : (at + count) * 16]
            at += count
            mode = int(rows["mode"][position])
            link = next(links) if stat.S_ISLNK(mode) else b""
            path = directory.path + b"/" + name if directory.path else name
            assert position not in extras or extras[position].extents is None
            found[path] = Found(stat.S_IFMT(mode), stat.S_IMODE(mode), _content(repository, index, ids), link)
    return found


def _content(repository: Repository, index: ChunkIndex, ids: bytes) -> bytes:
    parts: list[bytes] = []
    for row in index.locate(ids):
        segment = repository.segments.fetch(index.segments[row["segment"]])
        start, size = int(row["offset"]), int(row["size"])
        parts.append(bytes(segment.block(int(row["block"]))[start : start + size]))
    return b"".join(parts)


def tree(root: Path) -> dict[bytes, Found]:
    """What the contents of a snapshot of `root` must be, read from the file system."""
    result: dict[bytes, Found] = {}
    everything = [root, *root.parents][:-1] + sorted(root.rglob("*"))
    for path in everything:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        link = os.fsencode(path.readlink()) if path.is_symlink() else b""
        result[os.fsencode(path)[1:]] = Found(
            stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), content, link
        )
    return result
