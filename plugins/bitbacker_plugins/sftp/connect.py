"""A connection to a server: stream, host key, login, SFTP session."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import paramiko

from bitbacker.errors import ConfigError, StorageDenied, StorageError
from bitbacker_plugins.sftp import host_key
from bitbacker_plugins.sftp.config import SftpConfig
from bitbacker_plugins.sftp.failures import storage_errors
from bitbacker_plugins.sftp.identity import authenticate
from bitbacker_plugins.sftp.known_hosts import HostKey, known_keys
from bitbacker_plugins.sftp.place import Place
from bitbacker_plugins.sftp.protocol import ProtocolBroken
from bitbacker_plugins.sftp.session import Session
from bitbacker_plugins.sftp.ssh_config import Target, target_of
from bitbacker_plugins.sftp.stream import Stream, commanded, connected

# Encryption and authentication in one call of the library, which lets go of the GIL.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_WINDOW_BYTES = 8 * 1024 * 1024
_PACKET_BYTES = 32 * 1024
_KEEPALIVE_S = 15
_JUMPS_MAX = 8
_SETTLING_S = 0.5

# Without this its errors go to standard error, beside those that are raised.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Connection:
    """A session and everything below it."""

    def __init__(self, session: Session, transport: paramiko.Transport, below: ExitStack) -> None:
        self.session = session
        self._transport = transport
        self._below = below

    @property
    def alive(self) -> bool:
        """Whether nothing is under way and nobody has ended it, as far as is known here."""
        return self.session.idle and bool(self._transport.is_active())

    def settle(self) -> None:
        """Give the server a moment to remove the names in `.tmp`, which nobody has waited for."""
        with suppress(OSError, EOFError, ProtocolBroken, paramiko.SSHException):
            self.session.settle(_SETTLING_S)

    def close(self) -> None:
        """Let go of threads, sockets and processes; may be called twice."""
        self._below.close()


def open_connection(place: Place, config: SftpConfig) -> Connection:
    """Connect and log in.  Raises `StorageError`, `ConfigError`, `OSError` and what paramiko raises."""
    with ExitStack() as stack:
        transport = _logged_in(stack, place, config)
        return Connection(_session(transport, place, config.timeout_s), transport, stack.pop_all())


def _session(transport: paramiko.Transport, place: Place, timeout_s: float) -> Session:
    try:
        return Session(_sftp_channel(transport, place, timeout_s))
    except EOFError as error:
        raise StorageError(
            f"{place.host} has let this account in and ended the SFTP session at once: "
            "it offers no SFTP, or a login script or a ForceCommand is in the way",
            hint="see what `sftp -v` says for the same user and host",
        ) from error


def _logged_in(
    stack: ExitStack, place: Place, config: SftpConfig, ways: Sequence[Place] = (), *, jumped: int = 0
) -> paramiko.Transport:
    """A connection to `place` that may be used, through `ways` if there are any.

    `jumped` counts the jumps that are made from it on the way to the repository.
    """
    target = target_of(place, config.ssh_config)
    with storage_errors(f"connect to {target.host} port {target.port}"):
        return _logged_in_to(target, stack, config, ways, jumped=jumped)


def _logged_in_to(
    target: Target, stack: ExitStack, config: SftpConfig, ways: Sequence[Place], *, jumped: int
) -> paramiko.Transport:
    below = _below(stack, target, config, ways or target.jumps, jumped=jumped)
    transport = stack.enter_context(_transport(below, config.timeout_s))
    known = known_keys(host_key.files_of(target, config), target.name, target.port)
    host_key.prefer_known_kinds(transport, known)
    try:
        # The greeting and the exchange of keys may each take the time that is allowed.
        transport.start_client(timeout=2 * config.timeout_s)
    except paramiko.ssh_exception.IncompatiblePeer as error:
        if known.trusted and "host key" in str(error):
            raise host_key.changed(target, known, "keys of other kinds", config) from error
        raise
    shown = _shown_key(transport)
    host_key.check(HostKey(shown.get_name(), shown.asbytes()), known, target, config)
    authenticate(transport, target, config, jump=jumped > 0)
    transport.set_keepalive(_KEEPALIVE_S)
    return transport


def _shown_key(transport: paramiko.Transport) -> paramiko.PKey:
    try:
        return transport.get_remote_server_key()
    except paramiko.SSHException as error:
        # Starting ends without a word when the time is up.
        raise TimeoutError from error


def _below(
    stack: ExitStack, target: Target, config: SftpConfig, ways: Sequence[Place], *, jumped: int
) -> Any:
    """What carries the connection: a socket, a command, or a channel through another host."""
    timeout_s = config.timeout_s
    if not ways:
        if target.proxy_command:
            return stack.enter_context(commanded(target.proxy_command))
        return stack.enter_context(connected(target.host, target.port, timeout_s))
    if jumped + len(ways) > _JUMPS_MAX:
        raise ConfigError(
            f"the way to {target.host} has more than {_JUMPS_MAX} jumps",
            hint="a host that is jumped through must not jump through itself: "
            "write ProxyJump none into its Host block",
        )
    *before, last = ways
    gate = _logged_in(stack, last, config, before, jumped=jumped + 1)
    try:
        return gate.open_channel(
            "direct-tcpip", (target.host, target.port), ("127.0.0.1", 0), timeout=timeout_s
        )
    except paramiko.ChannelException as error:
        raise StorageError(
            f"{last.host} cannot reach {target.host} port {target.port}: {error.text}"
        ) from error


@contextmanager
def _transport(below: Any, timeout_s: float) -> Iterator[paramiko.Transport]:
    """paramiko's side of one connection; its thread has ended when the block is left."""
    transport = paramiko.Transport(
        Stream(below, timeout_s), default_window_size=_WINDOW_BYTES, default_max_packet_size=_PACKET_BYTES
    )
    transport.banner_timeout = transport.handshake_timeout = timeout_s
    transport.auth_timeout = transport.channel_timeout = transport.clear_to_send_timeout = timeout_s
    options = transport.get_security_options()
    others = [cipher for cipher in options.ciphers if cipher not in _CIPHERS]
    options.ciphers = (*_CIPHERS, *others)
    try:
        yield transport
    finally:
        transport.packetizer.complete_handshake()
        transport.close()
        transport.packetizer.close()
        if transport.ident is not None:
            transport.join()


def _sftp_channel(transport: paramiko.Transport, place: Place, timeout_s: float) -> paramiko.Channel:
    channel = transport.open_session(timeout=timeout_s)
    channel.settimeout(timeout_s)
    # paramiko waits for this answer without an end.
    watch = threading.Timer(timeout_s, transport.close)
    watch.start()
    try:
        channel.invoke_subsystem("sftp")
    except paramiko.SSHException as error:
        if transport.is_active():
            raise StorageDenied(
                f"{place.host} offers no SFTP to this account",
                hint="set `Subsystem sftp internal-sftp` in its sshd_config, or ask whoever runs it",
            ) from error
        raise
    finally:
        watch.cancel()
        watch.join()
    return channel
