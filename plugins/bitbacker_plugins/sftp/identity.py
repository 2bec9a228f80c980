"""Who this machine says it is: private keys from files and from the agent, and a password."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

import paramiko

from bitbacker.errors import CredentialRefused, StorageError
from bitbacker_plugins.sftp.config import SftpConfig
from bitbacker_plugins.sftp.ssh_config import Target

_USUAL_FILES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


def authenticate(transport: paramiko.Transport, target: Target, config: SftpConfig, *, jump: bool) -> None:
    """Log in with the first key that the server accepts, or with the password.

    A host that is only jumped through is never shown the password, and gets the keys that ssh_config,
    the agent and the user's directory hold for it.  Raises `CredentialRefused`, `paramiko.SSHException`.
    """
    notes: list[str] = []
    refused = 0
    for key in _keys(target, config, notes, jump=jump):
        try:
            if not transport.auth_publickey(target.user, key):
                return
            notes.append("the server wants more than a key")
        except paramiko.BadAuthenticationType:
            notes.append("the server takes no keys")
            break
        except paramiko.AuthenticationException as error:
            if not transport.is_active() and refused:
                raise _refused(target, [*notes, "the server has ended the connection"]) from error
            _raise_unless_refused(transport, error)
            refused += 1
    if config.login_password is not None and not jump:
        try:
            if not transport.auth_password(target.user, config.login_password.reveal()):
                return
        except paramiko.AuthenticationException as error:
            _raise_unless_refused(transport, error)
            raise _refused(target, [*notes, "nor is the password"]) from error
    raise _refused(target, notes)


def _raise_unless_refused(transport: paramiko.Transport, error: Exception) -> None:
    """A server that is gone or silent has refused nothing, though paramiko calls it the same."""
    if not transport.is_active() or "timeout" in str(error).lower():
        raise StorageError(f"the connection was lost during the login: {error}") from error


def _refused(target: Target, notes: Sequence[str]) -> CredentialRefused:
    said = f": {'; '.join(notes)}" if notes else ""
    return CredentialRefused(
        f"{target.host} accepts no key of {target.user!r} on this machine{said}",
        hint="set 'key_file' to a private key whose public half is in the server's authorized_keys, "
        "or start an ssh agent that holds one",
    )


def _keys(target: Target, config: SftpConfig, notes: list[str], *, jump: bool) -> Iterator[Any]:
    """The keys to try, in the order of ssh; files that cannot be used leave a note."""
    if config.key_file and not jump:
        loaded = _from_files([config.key_file], config, notes)
        if loaded:
            yield from loaded
            return
    yield from _from_files(target.identity_files or (), config, notes)
    if config.agent and not target.identities_only:
        yield from _from_agent()
    if target.identity_files is None:
        usual = [path for path in _USUAL_FILES if os.path.exists(os.path.expanduser(path))]
        yield from _from_files(usual, config, notes)


def _from_agent() -> Iterator[Any]:
    with suppress(paramiko.SSHException), closing(paramiko.Agent()) as agent:
        yield from agent.get_keys()


def _from_files(paths: Sequence[str], config: SftpConfig, notes: list[str]) -> Sequence[Any]:
    passphrase = None if config.key_passphrase is None else config.key_passphrase.reveal().encode()
    loaded = []
    for path in paths:
        try:
            loaded.append(_key(os.path.expanduser(path), passphrase))
        except (TypeError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
            # All of these are raised for a passphrase that is missing or wrong, or for a strange file.
            notes.append(f"cannot open the key {path!r}: it needs 'key_passphrase' or is no private key")
        except OSError as error:
            notes.append(f"cannot read the key {path!r}: {error.strerror}")
    return loaded


def _key(path: str, passphrase: bytes | None) -> Any:
    try:
        return paramiko.PKey.from_path(path, passphrase)
    except (TypeError, ValueError):
        # A passphrase for one key of several is an error for those that have none.
        if passphrase is None:
            raise
        return paramiko.PKey.from_path(path)
