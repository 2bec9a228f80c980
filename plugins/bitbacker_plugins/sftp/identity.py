"""Who this machine says it is: private keys from files and from the agent, and a password."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import paramiko

from bitbacker.errors import CredentialRefused, StorageError
from bitbacker.spi import Secret
from bitbacker_plugins.sftp.config import SftpConfig
from bitbacker_plugins.sftp.ssh_config import Target

_USUAL_FILES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


@dataclass(slots=True)
class _Tried:
    """What became of the keys so far: which could not be used, which the server has refused."""

    unusable: list[str] = field(default_factory=list)
    encrypted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refusal(self, target: Target) -> CredentialRefused:
        said = [*self.unusable]
        said += [f"it has refused {', '.join(self.refused)}"] if self.refused else []
        said += self.notes or ([] if self.refused or self.unusable else ["there was none to try"])
        return CredentialRefused(
            f"{target.host} accepts no key of {target.user!r} on this machine: {'; '.join(said)}",
            hint=self._hint(target),
        )

    def _hint(self, target: Target) -> str:
        if self.encrypted:
            path = shlex.quote(self.encrypted[0])
            return f"set 'key_passphrase' to what opens the key, or load it into an ssh agent: ssh-add {path}"
        if self.refused:
            return (
                "append the public half of a key that was tried to the authorized_keys of "
                f"{target.user!r} on the server, or set 'key_file' to a key that is there already"
            )
        return (
            "set 'key_file' to a private key whose public half is in the server's authorized_keys, "
            "or start an ssh agent that holds one"
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    label: str
    key: Any


def authenticate(transport: paramiko.Transport, target: Target, config: SftpConfig, *, jump: bool) -> None:
    """Log in with the first key that the server accepts, or with the password.

    A host that is only jumped through is never shown the password, and gets the keys that ssh_config,
    the agent and the user's directory hold for it.  Raises `CredentialRefused`, `paramiko.SSHException`.
    """
    tried = _Tried()
    for candidate in _keys(target, config, tried, jump=jump):
        try:
            if not transport.auth_publickey(target.user, candidate.key):
                return
            tried.notes.append(f"it wants more than the key {candidate.label}")
        except paramiko.BadAuthenticationType:
            tried.notes.append("it takes no keys")
            break
        except paramiko.AuthenticationException as error:
            if not transport.is_active() and tried.refused:
                tried.notes.append("it has ended the connection then")
                raise tried.refusal(target) from error
            _raise_unless_refused(transport, error)
            tried.refused.append(candidate.label)
    if config.login_password is not None and not jump:
        try:
            if not transport.auth_password(target.user, config.login_password.reveal()):
                return
        except paramiko.AuthenticationException as error:
            _raise_unless_refused(transport, error)
            raise CredentialRefused(
                f"{target.host} does not accept the password of {target.user!r}",
                hint="check the user in the URL and 'login_password' of the remote",
            ) from error
    raise tried.refusal(target)


def _raise_unless_refused(transport: paramiko.Transport, error: Exception) -> None:
    """A server that is gone or silent has refused nothing, though paramiko calls it the same."""
    if not transport.is_active() or "timeout" in str(error).lower():
        raise StorageError(f"the connection was lost during the login: {error}") from error


def _keys(target: Target, config: SftpConfig, tried: _Tried, *, jump: bool) -> Iterator[_Candidate]:
    """The keys to try, in the order of ssh; files that cannot be used leave a note."""
    if config.key_file and not jump:
        loaded = _from_files([config.key_file], config, tried)
        if loaded:
            yield from loaded
            return
    yield from _from_files(target.identity_files or (), config, tried)
    if config.agent and not target.identities_only:
        yield from _from_agent(tried)
    if target.identity_files is None:
        usual = [path for path in _USUAL_FILES if os.path.exists(os.path.expanduser(path))]
        yield from _from_files(usual, config, tried)


def _from_agent(tried: _Tried) -> Iterator[_Candidate]:
    found = False
    with suppress(paramiko.SSHException), closing(paramiko.Agent()) as agent:
        for key in agent.get_keys():
            found = True
            yield _Candidate(f"{key.fingerprint} of the agent", key)
    if not found:
        tried.unusable.append("no ssh agent with a key was found")


def _from_files(paths: Sequence[str], config: SftpConfig, tried: _Tried) -> Sequence[_Candidate]:
    loaded = []
    for path in paths:
        try:
            loaded.append(_Candidate(repr(path), _key(os.path.expanduser(path), config.key_passphrase)))
        except (TypeError, paramiko.PasswordRequiredException):
            given = "does not open it" if config.key_passphrase else "is not set"
            tried.unusable.append(f"the key {path!r} is encrypted, and 'key_passphrase' {given}")
            tried.encrypted.append(path)
        except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
            tried.unusable.append(f"{path!r} is no private key")
        except OSError as error:
            tried.unusable.append(f"cannot read the key {path!r}: {error.strerror}")
    return loaded


def _key(path: str, passphrase: Secret | None) -> Any:
    """Raises `TypeError` for a key that needs another passphrase."""
    if passphrase is not None:
        # A passphrase for one key of several is an error for those that have none.
        with suppress(TypeError, ValueError):
            return paramiko.PKey.from_path(path, passphrase.reveal().encode())
    return paramiko.PKey.from_path(path)
