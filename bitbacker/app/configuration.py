"""Checking and showing the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bitbacker.app.access import Access, Wiring
from bitbacker.config import (
    PluginSpec,
    SecretSource,
    Shown,
    find_config,
    make_config,
    password_from_outside,
    show,
)
from bitbacker.errors import ConfigError
from bitbacker.host import Host, Kind, Plugin
from bitbacker.spi import Secret

__all__ = ["Part", "Shown", "check_config", "show_config"]


@dataclass(frozen=True, slots=True)
class Part:
    """A table of the configuration, and the plugin that understands it."""

    table: str
    plugin: Plugin


@dataclass(frozen=True, slots=True)
class _Named:
    """A plugin that the configuration names; `name` is what the host knows it by."""

    spec: PluginSpec
    kind: Kind
    name: str
    construct: bool = False


def check_config(access: Access) -> tuple[Part, ...]:
    """Load every plugin that the configuration names and check its table; no secret is fetched.

    Raises `ConfigError`, `PluginError`.
    """
    wiring = _wiring(access)
    return tuple(_checked(wiring.host, named) for named in _named(wiring))


def show_config(access: Access) -> tuple[Shown, ...]:
    """Every value with its origin, secrets as stars.  Raises as `check_config` does."""
    wiring = _wiring(access)
    schemas = {named.spec.options.name: _class(wiring.host, named).Config for named in _named(wiring)}
    password = password_from_outside(access.password_file, access.password_command)
    shown = show(
        wiring.config,
        config_option=access.config,
        remote_option=access.remote,
        password=password,
        schemas=schemas,
    )
    return tuple(shown)


def _wiring(access: Access) -> Wiring:
    if not find_config(access.config):
        raise ConfigError("there is no configuration", hint="name one by --config FILE")
    return Wiring(access)


def _named(wiring: Wiring) -> Iterator[_Named]:
    config = wiring.config
    for remote in config.remotes:
        scheme = urlsplit(remote.url).scheme
        yield _Named(PluginSpec(scheme, remote.options), Kind.TRANSPORT, scheme)
    yield _Named(config.repository.cipher, Kind.CIPHER, config.repository.cipher.name)
    yield _Named(config.repository.chunker, Kind.CHUNKER, config.repository.chunker.name)
    policies = {}
    for source in config.sources:
        yield _Named(source.plugin, Kind.SOURCE, source.plugin.name, construct=True)
        if source.retention is not None:
            policies[source.retention.plugin.options.name] = source.retention.plugin
    for policy in policies.values():
        yield _Named(policy, Kind.RETENTION, policy.name, construct=True)
    for notifier in config.notifiers:
        yield _Named(notifier.plugin, Kind.NOTIFIER, notifier.plugin.name)


def _checked(host: Host, named: _Named) -> Part:
    offered = _class(host, named)
    chosen = make_config(offered.Config, named.spec.options, secrets=_no_secret)
    if named.construct:
        # Some rules are checked by the plugin itself; these kinds do not touch the outside when made.
        made = offered(chosen)
        getattr(made, "close", lambda: None)()
    return Part(named.spec.options.name, host.origin(named.kind, named.name))


def _class(host: Host, named: _Named) -> type[Any]:
    load: dict[Kind, Callable[[str], type[Any]]] = {
        Kind.TRANSPORT: host.transport,
        Kind.CIPHER: host.cipher,
        Kind.CHUNKER: host.chunker,
        Kind.SOURCE: host.source,
        Kind.RETENTION: host.retention,
        Kind.NOTIFIER: host.notifier,
    }
    return load[named.kind](named.name)


def _no_secret(source: SecretSource) -> Secret:
    del source
    return Secret("not fetched")
