"""What a class must have before it may be used as a plugin."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from bitbacker.host.catalog import Kind
from bitbacker.spi import (
    API_VERSION,
    Chunker,
    Cipher,
    Notifier,
    RetentionPolicy,
    Source,
    Transport,
)

CONTRACTS: dict[Kind, type[Any]] = {
    Kind.CHUNKER: Chunker,
    Kind.CIPHER: Cipher,
    Kind.TRANSPORT: Transport,
    Kind.RETENTION: RetentionPolicy,
    Kind.SOURCE: Source,
    Kind.NOTIFIER: Notifier,
}


def complaint(kind: Kind, offered: object) -> str:
    """The first thing that is wrong with what a making hook returned; empty when nothing is."""
    return next(_complaints(kind, offered), "")


def _complaints(kind: Kind, offered: object) -> Iterator[str]:
    if not isinstance(offered, type):
        yield f"its hook {kind.hook} returned {type(offered).__name__}, not a class"
        return
    version = getattr(offered, "api_version", None)
    if version != API_VERSION:
        yield f"{offered.__name__} has api_version {version!r}, this BitBacker needs {API_VERSION}"
    config = getattr(offered, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        yield f"{offered.__name__} has no Config, a frozen dataclass"
    elif not config.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # known at run time only
        yield f"{offered.__name__}.Config is not frozen"
    missing = [name for name in _demanded(CONTRACTS[kind]) if not hasattr(offered, name)]
    if missing:
        yield f"{offered.__name__} lacks {', '.join(missing)}"


def _demanded(contract: type[Any]) -> list[str]:
    """Methods and class variables; a property may as well be an attribute that `__init__` sets."""
    methods = [name for name, value in vars(contract).items() if inspect.isfunction(value)]
    constants = [name for name, kind in inspect.get_annotations(contract).items() if "ClassVar" in str(kind)]
    return [name for name in [*constants, *methods] if not name.startswith("_")]
