"""Whether a server is the one that this machine knows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import paramiko

from bitbacker.errors import HostUnknown
from bitbacker_plugins.sftp.config import SftpConfig
from bitbacker_plugins.sftp.known_hosts import HostKey, KnownKeys
from bitbacker_plugins.sftp.place import Place
from bitbacker_plugins.sftp.ssh_config import Target, is_usual

_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def prefer_known_kinds(transport: paramiko.Transport, known: KnownKeys) -> None:
    """Ask the server for a key of a kind that is known, whatever others it has."""
    options = transport.get_security_options()
    wanted = [kind for key in known.trusted for kind in _SIGNATURES.get(key.kind, (key.kind,))]
    usable = [kind for kind in options.key_types if kind in wanted]
    if usable:
        options.key_types = tuple(usable)


def files_of(target: Target, config: SftpConfig) -> Sequence[str]:
    """The files that know the host, if any does."""
    return (config.known_hosts,) if config.known_hosts else target.known_hosts


def check(key: HostKey, known: KnownKeys, target: Target, config: SftpConfig) -> None:
    """Raises `HostUnknown` when the key is not one that is trusted."""
    if key.blob in [revoked.blob for revoked in known.revoked]:
        raise HostUnknown(
            f"the key of {target.host} is marked as revoked: {key.fingerprint}",
            hint="do not connect until whoever runs the server has explained it",
        )
    if key.blob in [trusted.blob for trusted in known.trusted]:
        return
    if known.trusted:
        raise changed(target, known, key.fingerprint, config)
    raise HostUnknown(
        f"the key of {target.host} is not known on this machine: {key.fingerprint}",
        hint=f"connect once by hand, compare the fingerprint and answer yes: {_command(target, config)}",
    )


def changed(target: Target, known: KnownKeys, shown: str, config: SftpConfig) -> HostUnknown:
    """The error for a server that is not the one that is known."""
    expected = " or ".join(key.fingerprint for key in known.trusted)
    return HostUnknown(
        f"the key of {target.host} has CHANGED: it shows {shown}, and known is {expected}; "
        "somebody may be intercepting the connection",
        hint="ask whoever runs the server whether its key was changed, and compare the fingerprint with "
        f"theirs before you touch an entry in {', '.join(files_of(target, config))}",
    )


def _command(target: Target, config: SftpConfig) -> str:
    """What the user types once, so that ssh remembers the key where it is looked for."""
    words = ["ssh", "-p", str(target.port)]
    if not is_usual(config.ssh_config):
        words += ["-F", config.ssh_config or "none"]
    if config.known_hosts:
        words += ["-o", f'UserKnownHostsFile="{config.known_hosts}"']
    if target.jumps:
        words += ["-J", ",".join(map(_jump, target.jumps))]
    elif target.proxy_command:
        words += ["-o", f"ProxyCommand={target.proxy_command}"]
    if target.name != target.host:
        words += ["-o", f"HostKeyAlias={target.name}"]
    return shlex.join([*words, f"{target.user}@{target.host}"])


def _jump(place: Place) -> str:
    user = f"{place.user}@" if place.user else ""
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"{user}{host}:{place.port}" if place.port else f"{user}{host}"
