"""What an error of the operating system means to the caller of a transport."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bitbacker.errors import StorageDenied, StorageError, StorageFull

_CLASSES: dict[int | None, type[StorageError]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EACCES: StorageDenied,
    errno.EPERM: StorageDenied,
    errno.EROFS: StorageDenied,
}


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turn an `OSError` of the block into the `StorageError` that it means: "cannot <action>: <why>"."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise _CLASSES.get(error.errno, StorageError)(f"cannot {action}: {reason}") from error
