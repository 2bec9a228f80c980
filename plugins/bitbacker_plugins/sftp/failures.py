"""What an error of the connection or of the server means to the caller of a transport."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bitbacker.errors import PlaceMissing, StorageDenied, StorageError
from bitbacker_plugins.sftp.protocol import Status, StatusError

_DENIED_HINT = (
    "check on the server that the account has the permissions for the directory and those above it, "
    "and that neither the SFTP server nor the disk is read-only"
)
_NAME_HINT = "check the host in the URL of the remote, and HostName in the configuration of ssh"
_REACH_HINT = (
    "check that the server can be reached: host and port in the URL, an SSH server that runs there, "
    "no firewall between; then run the command again"
)
_GREETING_HINT = (
    "check the port in the URL; a server that has too many connections says nothing, too: "
    "then run the command again later"
)
_REFUSED_HINT = (
    "the server says no more than this: check the path in the URL, and the log and the disk of the server; "
    "then run the command again"
)


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turn an error of the block into the `StorageError` that it means: "cannot <action>: <why>"."""
    try:
        yield
    except StatusError as error:
        if error.status == Status.PERMISSION_DENIED:
            raise StorageDenied(f"cannot {action}: {error}", hint=_DENIED_HINT) from error
        raise StorageError(f"cannot {action}: {error}", hint=_REFUSED_HINT) from error
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
            return PlaceMissing(f"cannot {action}: there is no such host", hint=_NAME_HINT)
        return StorageError(f"cannot {action}: {error.strerror}")
    if isinstance(error, TimeoutError):
        return StorageError(f"cannot {action}: the server does not answer", hint=_REACH_HINT)
    if isinstance(error, EOFError):
        return StorageError(f"cannot {action}: the server has closed the connection")
    if "banner" in str(error):
        return StorageError(
            f"cannot {action}: what listens there does not greet as an SSH server does", hint=_GREETING_HINT
        )
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    hint = _REACH_HINT if isinstance(error, OSError) else None
    return StorageError(f"cannot {action}: {reason}", hint=hint)
