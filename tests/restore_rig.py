"""A real repository for tests of restores: of a real tree, or of entries that no honest backup writes."""

from __future__ import annotations

import itertools
import secrets
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bitbacker.engine.backup import BackupOptions, backup
from bitbacker.engine.restore import RestoreResult, execute_restore
from bitbacker.engine.restore_plan import RestoreOptions, plan_restore
from bitbacker.format.block import BlockKind
from bitbacker.format.catalog import Snapshot, encode_snapshot
from bitbacker.format.entries import Directory, Extra
from bitbacker.format.extras import EntryExtras, encode_extras
from bitbacker.format.head import HASH_SIZE_BYTES, Head
from bitbacker.format.keyslots import Constants, PluginChoice, SlotContent
from bitbacker.repo.changes import AddSnapshot
from bitbacker.repo.commit import commit
from bitbacker.repo.open import Repository
from bitbacker.repo.session import EntryWriter, Session
from bitbacker.repo.settings import LocalPaths
from bitbacker.repo.storage import Storage
from bitbacker.repo.tips import FingerprintSet
from bitbacker.repo.write import RawBlock
from bitbacker.spi import ROW, Cipher, Located, NoConfig, Transport
from bitbacker_plugins.chacha20poly1305 import ChaCha20Poly1305Cipher
from bitbacker_plugins.files import FilesConfig, FilesSource
from bitbacker_plugins.fixed import FixedChunker, FixedConfig
from bitbacker_plugins.memory import MemoryTransport

CHUNK_BYTES = 32 * 1024
_numbers = itertools.count()


class Maker:
    """The plugins of the repositories here."""

    def cipher(self, choice: PluginChoice) -> Cipher:
        del choice
        return ChaCha20Poly1305Cipher(NoConfig())

    def chunker(self, choice: PluginChoice, key: bytes) -> FixedChunker:
        del choice
        return FixedChunker(FixedConfig(CHUNK_BYTES), key)


@dataclass
class Told:
    """An observer that remembers."""

    problems: list[tuple[bytes, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    progresses: list[object] = field(default_factory=list)
    expectations: list[tuple[int, int]] = field(default_factory=list)

    def expected(self, files: int, size_bytes: int) -> None:
        self.expectations.append((files, size_bytes))

    def progress(self, progress: object) -> None:
        self.progresses.append(progress)

    def problem(self, path: bytes, text: str) -> None:
        # Paths are told as people write them, from the root; tests name them from the root without its slash.
        self.problems.append((path.removeprefix(b"/"), text))

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Planted:
    """An entry as somebody with the key could write it; `chunks` are its content.

    With `stored`, that is what is stored under the ids of the chunks.
    """

    name: bytes
    mode: int = stat.S_IFREG | 0o644
    chunks: tuple[bytes, ...] = ()
    link: bytes = b""
    extras: EntryExtras = EntryExtras()  # noqa: RUF009  # it is frozen
    mark: int = 0
    nlink: int = 1
    inode: int = 0
    size: int | None = None
    mtime_ns: int = 1_500_000_000_123_456_789
    uid: int = 0
    gid: int = 0
    stored: tuple[bytes, ...] | None = None

    @property
    def row(self) -> bytes:
        size = len(b"".join(self.chunks)) if self.size is None else self.size
        return ROW.pack(self.mode, self.uid, self.gid, self.nlink, 0, size, self.mtime_ns, 0, self.inode)


def new_repository(folder: Path, transport: Transport | None = None) -> Repository:
    """An empty repository in memory that is open already; nothing of it is cached."""
    if transport is None:
        transport = MemoryTransport(f"memory://restore-{next(_numbers)}-{secrets.token_hex(4)}", NoConfig())
    choice = PluginChoice("none", "", "")
    content = SlotContent(bytes(range(32)), Constants(choice, choice))
    paths = LocalPaths(folder / "cache", folder / "state")
    repository = Repository(Storage(transport), content, Maker(), paths, use_cache=False)
    first = Head(1, bytes(HASH_SIZE_BYTES), time.time_ns(), secrets.token_bytes(16), 0, 0, 0, (), ())
    repository.heads.acknowledge(repository.heads.put(first))
    return repository


def back_up(repository: Repository, *trees: Path) -> Snapshot:
    """An honest snapshot of real trees."""
    source = FilesSource(FilesConfig(paths=tuple(Located(str(tree)) for tree in trees)))
    told = Told()
    options = BackupOptions("host", "source", (), time.time_ns(), "test", compression_level=1)
    result = backup(repository, source, options, told)
    source.close()
    assert told.problems == []
    return result.snapshot


def plant(repository: Repository, directories: Sequence[tuple[bytes, Sequence[Planted]]]) -> Snapshot:
    """A snapshot of these entries, whatever they are; chunks of a block of their own for each entry."""
    with Session(repository, 1) as session:
        writer = EntryWriter(session)
        stored: set[bytes] = set()
        for path, entries in directories:
            for entry in entries:
                _store(repository, session, entry, stored)
            writer.add(_directory(repository, path, entries))
        writer.flush()
        indexes = session.settle_indexes(replace(writer.coming, catalog_bytes=1024))
        tables = (writer.finish(),)
        snapshot = Snapshot(
            secrets.token_bytes(16), time.time_ns(), "host", "planted", (), (), tables, "test"
        )
        base = repository.newest()
        written = session.finish([encode_snapshot(snapshot)], base.number + 1, indexes)
        fingerprints = writer.change(FingerprintSet.empty())
        commit(repository, base, AddSnapshot(repository, snapshot, written, b"", fingerprints))
    return snapshot


def _store(repository: Repository, session: Session, entry: Planted, stored: set[bytes]) -> None:
    new = [chunk for chunk in dict.fromkeys(entry.chunks) if chunk not in stored]
    stored.update(new)
    if new:
        ids = b"".join(map(repository.keys.chunk_identity, new))
        data = b"".join(new if entry.stored is None else entry.stored)
        session.submit_data(RawBlock(BlockKind.DATA, data, ids, tuple(map(len, new))))


def _directory(repository: Repository, path: bytes, entries: Sequence[Planted]) -> Directory:
    identify = repository.keys.chunk_identity
    extras = (Extra(at, encode_extras(entry.extras)) for at, entry in enumerate(entries))
    return Directory(
        path,
        b"\0".join(entry.name for entry in entries),
        b"".join(entry.row for entry in entries),
        bytes(8 * len(entries)),
        bytes(entry.mark for entry in entries),
        np.array([len(entry.chunks) for entry in entries], dtype=np.uint32),
        b"".join(identify(chunk) for entry in entries for chunk in entry.chunks),
        tuple(entry.link for entry in entries if stat.S_ISLNK(entry.mode)),
        tuple(extra for extra in extras if extra.data),
    )


def restore(
    repository: Repository,
    snapshot: Snapshot,
    target: Path,
    *paths: bytes,
    resume: bool = False,
    told: Told | None = None,
) -> RestoreResult:
    """Plan and execute."""
    plan = plan_restore(repository, snapshot, paths, target, RestoreOptions(resume=resume))
    return execute_restore(repository, plan, told or Told())
