"""The plugin contract: everything that a plugin may know of BitBacker besides its errors.

A plugin class declares `api_version`, a `Config` (a frozen dataclass that is the schema of its TOML
table) and implements one of the Protocols here.  Optional abilities are small Protocols beside them.
"""

from __future__ import annotations

from bitbacker.spi.chunker import Chunker
from bitbacker.spi.cipher import Cipher
from bitbacker.spi.events import (
    BackupFinished,
    CheckFinished,
    Event,
    RetentionApplied,
    RunFailed,
    RunFinished,
    RunStarted,
    SourceProblem,
)
from bitbacker.spi.hookspecs import PROJECT, hookimpl, hookspec
from bitbacker.spi.notifier import Notifier
from bitbacker.spi.retention import RetentionPolicy, SnapshotInfo, Verdict
from bitbacker.spi.source import (
    ROW,
    TOO_LARGE,
    Description,
    Explains,
    Explanation,
    Extent,
    Listing,
    OnProblem,
    OpenFile,
    Revisits,
    SmallRead,
    Source,
)
from bitbacker.spi.transport import NAME_PATTERN, Abilities, FetchesMany, ObjectInfo, Transport
from bitbacker.spi.types import PATH, Buffer, Located, NoConfig, Secret, path, secret

API_VERSION = 1
"""Raised when a contract changes so that an older plugin would misbehave."""

__all__ = [
    "API_VERSION",
    "NAME_PATTERN",
    "PATH",
    "PROJECT",
    "ROW",
    "TOO_LARGE",
    "Abilities",
    "BackupFinished",
    "Buffer",
    "CheckFinished",
    "Chunker",
    "Cipher",
    "Description",
    "Event",
    "Explains",
    "Explanation",
    "Extent",
    "FetchesMany",
    "Listing",
    "Located",
    "NoConfig",
    "Notifier",
    "ObjectInfo",
    "OnProblem",
    "OpenFile",
    "RetentionApplied",
    "RetentionPolicy",
    "Revisits",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "Secret",
    "SmallRead",
    "SnapshotInfo",
    "Source",
    "SourceProblem",
    "Transport",
    "Verdict",
    "hookimpl",
    "hookspec",
    "path",
    "secret",
]
