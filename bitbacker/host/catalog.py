"""What is installed, read from metadata alone: listing a plugin does not run a line of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

HOOK_PREFIX = "bitbacker_"


class Kind(Enum):
    """The kinds of plugins; each has an entry-point group and a making hook."""

    CHUNKER = "chunker"
    CIPHER = "cipher"
    TRANSPORT = "transport"
    RETENTION = "retention"
    SOURCE = "source"
    NOTIFIER = "notifier"

    @property
    def group(self) -> str:
        """The entry-point group."""
        return "bitbacker.retention" if self is Kind.RETENTION else f"bitbacker.{self.value}s"

    @property
    def hook(self) -> str:
        """The name of the hook that is asked for a class."""
        return HOOK_PREFIX + self.value


@dataclass(frozen=True, slots=True)
class Plugin:
    """One row of the catalog.

    `origin` is the entry point's value, or the path of a single-file plugin.  A single file has no
    distribution and no version, and its name is that of the file, because the names to which it
    answers are known only to its hook.
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    origin: str

    @property
    def requirement(self) -> str:
        """What to install in order to have this plugin or a later one; empty for a single file."""
        return f"{self.distribution}>={self.version}" if self.distribution else ""

    def __str__(self) -> str:
        if not self.distribution:
            return f"the file {self.origin}"
        return f"{self.origin} of {self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Installed:
    """A plugin of an installed distribution, with the means to load it."""

    plugin: Plugin
    entry_point: EntryPoint


def catalog(files: Sequence[str] = ()) -> tuple[Plugin, ...]:
    """Every plugin that is installed or lies in one of `files`, by kind and name; imports none of them."""
    found = [one.plugin for one in installed()]
    for path in files:
        found.extend(_in_file(path))
    order = list(Kind)
    return tuple(sorted(found, key=lambda plugin: (order.index(plugin.kind), plugin.name, plugin.origin)))


def installed() -> tuple[Installed, ...]:
    """The entry points of all six groups, one pass over the metadata."""
    everything = entry_points()
    return tuple(
        Installed(_described(kind, entry_point), entry_point)
        for kind in Kind
        for entry_point in everything.select(group=kind.group)
    )


def _described(kind: Kind, entry_point: EntryPoint) -> Plugin:
    distribution = entry_point.dist
    name, version = (distribution.name, distribution.version) if distribution else ("", "")
    return Plugin(kind, entry_point.name, name, version, entry_point.value)


def _in_file(path: str) -> Iterator[Plugin]:
    """Rows for the making hooks that a file defines, found in its syntax tree."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        # Whoever asks for a plugin in it gets the whole story; a listing goes on.
        return
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for kind in Kind:
        if kind.hook in defined:
            yield Plugin(kind, Path(path).name, "", "", path)
