"""Making a repository."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import suppress

from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import (
    ConfigError,
    NotExclusive,
    ObjectExists,
    ObjectMissing,
    ObjectsLocked,
    RepositoryPresent,
    StorageError,
    WrongPassword,
)
from bitbacker.format import names
from bitbacker.format.head import HASH_SIZE_BYTES, Head
from bitbacker.format.keyslots import ROOT_KEY_SIZE_BYTES, Constants, SlotContent
from bitbacker.repo.open import Repository
from bitbacker.repo.settings import LocalPaths, PluginMaker, RepositoryOptions
from bitbacker.repo.slot_memory import SlotMemory
from bitbacker.repo.slots import first_keyslots, open_keyslots, seen_slots
from bitbacker.repo.storage import Storage
from bitbacker.repo.volume import Padding
from bitbacker.spi import Transport

CHUNK_MAX_BYTES = names.LARGE_SEGMENT_SIZE_BYTES - 64 * 1024
_RACERS = 8


def create(
    transport: Transport,
    unlocker: Unlocker,
    options: RepositoryOptions,
    maker: PluginMaker,
    paths: LocalPaths,
    *,
    label: str = "",
    padding: Padding | None = None,
    location: str = "",
) -> Repository:
    """Make a repository: its keyslots, whose exclusive creation decides who made it, then its first head.

    A run that was cut off between the two is finished by the next one with the same password.
    Raises `RepositoryPresent`, `NotExclusive`, `ConfigError`, `PluginError`, `StorageError`.
    """
    storage = Storage(transport)
    if storage.first(names.HEADS) is not None:
        raise RepositoryPresent("there is a repository here already")
    memory = SlotMemory(paths.state, location)
    content = _begun_content(storage, unlocker, memory)
    if content is None:
        storage.single_writer = options.single_writer
        if not options.single_writer:
            probe_exclusive(storage)
        constants = Constants(options.cipher, options.chunker, options.single_writer)
        content = SlotContent(secrets.token_bytes(ROOT_KEY_SIZE_BYTES), constants)
        _check_chunker(Repository(storage, content, maker, paths))
        data = first_keyslots(unlocker, content, label)
        _put_keyslots(storage, data)
        memory.store(seen_slots(data, content))
    repository = Repository(storage, content, maker, paths, padding=padding, location=location)
    first = Head(1, bytes(HASH_SIZE_BYTES), time.time_ns(), secrets.token_bytes(16), 0, 0, 0, (), ())
    try:
        repository.heads.acknowledge(repository.heads.put(first))
    except ObjectExists as error:
        raise RepositoryPresent("another client has just made a repository here") from error
    return repository


def _begun_content(storage: Storage, unlocker: Unlocker, memory: SlotMemory) -> SlotContent | None:
    """What an earlier run has begun, when this password opens it."""
    try:
        data = storage.get(names.KEYSLOTS)
    except ObjectMissing:
        return None
    try:
        opened = open_keyslots(data, unlocker)
    except WrongPassword as error:
        raise RepositoryPresent(
            "somebody has begun to make a repository here with another password"
        ) from error
    memory.store(seen_slots(data, opened.content, opened.generation))
    return opened.content


def _put_keyslots(storage: Storage, data: bytes) -> None:
    try:
        storage.put_new(names.KEYSLOTS, data)
    except ObjectExists as error:
        raise RepositoryPresent("another client has just made a repository here") from error


def _check_chunker(repository: Repository) -> None:
    if repository.chunker().max_size_bytes > CHUNK_MAX_BYTES:
        raise ConfigError(f"the chunker's largest chunk does not fit into a segment: {CHUNK_MAX_BYTES} bytes")


def probe_exclusive(storage: Storage) -> None:
    """Let several threads create one object; exactly one may succeed.  Raises `NotExclusive`.

    The object looks like any segment and has a name of its own, so that two clients may probe at once;
    what a probe that was cut off has left is a segment that no head lists, and the next prune removes it.
    """
    if not storage.abilities.exclusive_put:
        raise NotExclusive("the storage cannot decide which of two writers came first")
    storage.retry(lambda: _race(storage))


def _race(storage: Storage) -> None:
    name = names.segment_name(secrets.token_bytes(names.SEGMENT_ID_SIZE_BYTES))
    winners: list[bytes] = []
    failures: list[BaseException] = []

    def race() -> None:
        data = secrets.token_bytes(names.SMALL_SEGMENT_SIZE_BYTES)
        try:
            storage.transport.put(name, data)
            winners.append(data)
        except ObjectExists:
            pass
        except BaseException as error:  # noqa: BLE001  # the calling thread raises it
            failures.append(error)

    threads = [threading.Thread(target=race) for _ in range(_RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = storage.get(name) if winners else b""
    # A storage that keeps it locked gives it to a later prune.
    with suppress(ObjectsLocked):
        storage.delete([name])
    if len(winners) > 1 or (winners and winners != [stored]):
        raise NotExclusive(f"{len(winners)} of {_RACERS} racing writers were told that they came first")
    for error in failures:
        # A racer that was sent away for the moment has lost, and says nothing against the one that won.
        if not (winners and isinstance(error, StorageError) and error.retryable):
            raise error
    if not winners:
        raise NotExclusive(f"none of {_RACERS} racing writers was told that it came first")
