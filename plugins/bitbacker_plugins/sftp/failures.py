"""What an error of the connection or of the server means to the caller of a transport."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bitbacker.errors import PlaceMissing, StorageDenied, StorageError
from bitbacker_plugins.sftp.protocol import Status, StatusError

_CLASSES: dict[int, type[StorageError]] = {
    Status.PERMISSION_DENIED: StorageDenied,
}


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turn an error of the block into the `StorageError` that it means: "cannot <action>: <why>"."""
    try:
        yield
    except StatusError as error:
        raise _CLASSES.get(error.status, StorageError)(f"cannot {action}: {error}") from error
    except (OSError, EOFError) as error:
        raise connection_error(action, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "paramiko":
            raise
        raise connection_error(action, error) from error


def connection_error(action: str, error: Exception) -> StorageError:
    """What the failure of a connection means."""
    if isinstance(error, socket.gaierror):
        if error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}:
            return PlaceMissing(f"cannot {action}: there is no such host")
        return StorageError(f"cannot {action}: {error.strerror}")
    if isinstance(error, TimeoutError):
        return StorageError(f"cannot {action}: the server does not answer")
    if isinstance(error, EOFError):
        return StorageError(f"cannot {action}: the server has closed the connection")
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return StorageError(f"cannot {action}: {reason}")
