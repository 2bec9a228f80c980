"""Plugins that are part of a repository: chosen once, written down, made again by whoever opens it."""

from __future__ import annotations

import json

from bitbacker.config import PluginSpec, make_config
from bitbacker.config.convert import schema_fields
from bitbacker.errors import FormatError
from bitbacker.format.keyslots import PluginChoice
from bitbacker.host import Host, Kind
from bitbacker.spi import Chunker, Cipher


class HostMaker:
    """Makes ciphers and chunkers from what a repository says of them."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def cipher(self, choice: PluginChoice) -> Cipher:
        """Raises `PluginError`, `ConfigError`."""
        offered = self._host.cipher(choice.name, choice.distribution)
        return offered(make_config(offered.Config, _parameters(choice), f"the cipher {choice.name}"))

    def chunker(self, choice: PluginChoice, key: bytes) -> Chunker:
        """Raises `PluginError`, `ConfigError`."""
        offered = self._host.chunker(choice.name, choice.distribution)
        return offered(make_config(offered.Config, _parameters(choice), f"the chunker {choice.name}"), key)


def choice_of(host: Host, kind: Kind, spec: PluginSpec) -> PluginChoice:
    """What a repository has to remember: every parameter, because a default may change one day."""
    offered = host.cipher(spec.name) if kind is Kind.CIPHER else host.chunker(spec.name)
    chosen = make_config(offered.Config, spec.options)
    values = {field.key: getattr(chosen, field.field.name) for field in schema_fields(offered.Config)}
    parameters = json.dumps(values, separators=(",", ":"), sort_keys=True) if values else ""
    return PluginChoice(spec.name, parameters, host.origin(kind, spec.name).requirement)


def _parameters(choice: PluginChoice) -> dict[str, object]:
    try:
        values = json.loads(choice.parameters or "{}")
    except ValueError as error:
        raise FormatError(f"the parameters of {choice.name} in the repository are not JSON") from error
    if not isinstance(values, dict):
        raise FormatError(f"the parameters of {choice.name} in the repository are no table")
    return values
