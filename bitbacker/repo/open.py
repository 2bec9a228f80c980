"""Opening a repository, and what an open one offers."""

from __future__ import annotations

from bitbacker.crypto.keys import Keys, keys_of
from bitbacker.crypto.seal import Sealer
from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import ObjectMissing, RepositoryMissing
from bitbacker.format import names
from bitbacker.format.head import Head
from bitbacker.format.keyslots import Constants, SlotContent
from bitbacker.repo.cache import TableCache
from bitbacker.repo.catalog import Catalog, load_catalog
from bitbacker.repo.heads import Heads
from bitbacker.repo.index import ChunkIndex, load_index
from bitbacker.repo.pin import Pin
from bitbacker.repo.read import SegmentReader
from bitbacker.repo.settings import LocalPaths, PluginMaker
from bitbacker.repo.slot_memory import SlotMemory
from bitbacker.repo.slots import unlock
from bitbacker.repo.storage import Storage
from bitbacker.repo.tables import TableReader
from bitbacker.repo.trace import Trace
from bitbacker.repo.volume import Padding
from bitbacker.spi import Chunker, Transport


class Repository:
    """An unlocked repository.  Holds no state of the storage: heads are read when asked for."""

    def __init__(
        self,
        storage: Storage,
        content: SlotContent,
        maker: PluginMaker,
        paths: LocalPaths,
        *,
        use_cache: bool = True,
        padding: Padding | None = None,
        location: str = "",
    ) -> None:
        """`location` names the place of the storage, for what this machine remembers of it."""
        self.storage = storage
        storage.single_writer = content.constants.single_writer
        self.slot_memory = SlotMemory(paths.state, location)
        self.padding = padding or Padding()
        self.keys: Keys = keys_of(content.root_key)
        self.constants: Constants = content.constants
        self._maker = maker
        cipher = maker.cipher(self.constants.cipher)
        self.segment_sealer = Sealer(cipher, self.keys.segment)
        self.state_folder = paths.state / self.id
        self.trace = Trace(self.state_folder)
        # What the trace calls a run: the word of the command line, when somebody says it.
        self.purpose = ""
        self.heads = Heads(
            storage,
            Sealer(cipher, self.keys.head),
            Pin(self.state_folder),
            lambda head: self.catalog(head).head_hashes,
        )
        self.cache = TableCache(paths.cache / self.id / "tables", enabled=use_cache)
        self.spool_folder = paths.cache / self.id / "spool" if use_cache else None
        self.segments = SegmentReader(storage, self.segment_sealer, self.spool_folder)
        self.tables = TableReader(self.segments, self.cache)

    @property
    def id(self) -> str:
        """What names the repository on this machine; the storage never sees it."""
        return self.keys.repository_id

    def chunker(self) -> Chunker:
        """A chunker as the repository was made with; one per thread."""
        return self._maker.chunker(self.constants.chunker, self.keys.chunker)

    def newest(self) -> Head:
        """The newest head.  Raises `RollbackDetected`, `DamageError`, `StorageError`."""
        return self.heads.newest().head

    def catalog(self, head: Head) -> Catalog:
        """Snapshots and segments of a head.  Raises `DamageError`."""
        return load_catalog(self.tables, self.keys, head)

    def index(self, head: Head) -> ChunkIndex:
        """Where the chunks of a head lie.  Raises `DamageError`."""
        return load_index(self.tables, self.cache, head.indexes)

    def close(self) -> None:
        self.trace.append(self.storage.tally.take(self.purpose))
        self.storage.close()


def open_repository(
    transport: Transport,
    unlocker: Unlocker,
    maker: PluginMaker,
    paths: LocalPaths,
    *,
    use_cache: bool = True,
    padding: Padding | None = None,
    location: str = "",
) -> Repository:
    """Unlock the repository on a storage; `location` names the place, for what is remembered of it.

    `padding` is how its sessions are padded.

    Raises `RepositoryMissing`, `WrongPassword`, `VersionUnknown`, `DamageError`, `PluginError`,
    `StorageError`.
    """
    storage = Storage(transport)
    try:
        data = storage.get(names.KEYSLOTS)
    except ObjectMissing as error:
        raise RepositoryMissing("there is no repository here") from error
    content = unlock(data, unlocker, SlotMemory(paths.state, location))
    return Repository(storage, content, maker, paths, use_cache=use_cache, padding=padding, location=location)
