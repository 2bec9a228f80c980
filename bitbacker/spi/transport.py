"""The transport contract: a flat map from names to immutable objects.

This is the narrow waist of the house.  Only whole objects of four sizes cross it, names never
repeat, and everything that crosses it is ciphertext.

Names follow `NAME_PATTERN`.  Semantics, for every transport:

* **Durability**: when `put` returns, the object is on stable storage and will survive a power cut.
* **Atomicity**: an object is either absent or whole; nobody ever reads a part of it.
* **Overwrite rule**: without `replace` an existing name is never changed; the storage itself decides
  which of two racing writers came first, and the other one gets `ObjectExists`.
* **Idempotence**: repeating `get`, `list` and `delete` is harmless.  After a `put` whose answer was
  lost, the caller repeats it and compares bytes on `ObjectExists`.
* **Retries**: the transport does not retry; the framework does, in one layer, when the error raised
  says `retryable`.
* **Threads**: every method may be called from `concurrency` threads at once.
* **Buffers**: `data` belongs to the caller again when `put` returns; it must not be kept.
* **Visibility**: what `put` and `delete` have done is seen by the next `get` and `list`, on any connection.
* **Names**: a name or prefix that the pattern does not allow is refused with `StorageError`.
* **Hanging**: a connection on which nothing moves for a time ends in a retryable `StorageError`.
* **Errors**: only classes of `bitbacker.errors.StorageError`, foreign exceptions wrapped by `from`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from bitbacker.spi.types import Buffer

NAME_PATTERN = re.compile(r"[a-z]+(/[0-9a-f]{16}([0-9a-f]{16})?)?")
"""What an object may be called: `keyslots`, `heads/<16 hex>`, `segments/<32 hex>`."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One row of a listing: the object's whole name and its size."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a transport says of itself once it is open.

    `exclusive_put`: the storage decides atomically which of two exclusive puts came first.
    `concurrency`: how many calls may usefully be under way at once.
    `max_object_size_bytes`: the largest object it takes, 0 for no limit.
    """

    exclusive_put: bool
    concurrency: int = 4
    max_object_size_bytes: int = 0
    read_only: bool = False
    append_only: bool = False


class Transport(Protocol):
    """Where a repository lies.  See the module's text for the promises behind each method."""

    api_version: ClassVar[int]
    Config: ClassVar[type[Any]]

    def __init__(self, url: str, config: Any) -> None:
        """Take the remote's URL and an instance of `Config`; no I/O yet."""

    @property
    def abilities(self) -> Abilities:
        """What this storage can do; may look once and remember."""

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        """Store `data` whole under `name`.

        Raises `ObjectExists` when the name is taken and `replace` is false, `StorageFull`,
        `StorageDenied`, `NotExclusive`, `StorageError`.
        """

    def get(self, name: str) -> bytes:
        """Return the whole object.  Raises `ObjectMissing`, `StorageError`."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose name starts with `prefix`, ascending by name, complete.

        `prefix` is empty or ends in a slash.  A place that does not exist yet lists as empty.
        """

    def delete(self, names: Iterable[str]) -> None:
        """Remove these objects; one that is absent already counts as removed.

        Raises `ObjectsLocked`, after it has removed all others, when the storage keeps some of them
        until a time, and `StorageDenied`, `StorageError`.
        """

    def close(self) -> None:
        """Let go of connections and files; may be called twice."""


@runtime_checkable
class FetchesMany(Protocol):
    """Ability: a transport that is faster when it is told many names at once."""

    def get_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, whole object) in any order; raises `ObjectMissing` for the first absent one."""
