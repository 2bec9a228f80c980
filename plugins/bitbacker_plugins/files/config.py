"""The table of a source whose plugin is `files`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitbacker.errors import ConfigError
from bitbacker.spi import Located
from bitbacker.spi import path as path_field


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """What is read and what is left out; docs/sources.md explains each key.

    The rules of `exclude_file` come before those of `exclude`, and the last rule that matches decides.
    Raises `ConfigError` when it makes no sense.
    """

    paths: tuple[Located, ...] = path_field()
    exclude: tuple[Located, ...] = ()
    exclude_file: tuple[Located, ...] = path_field(default=())
    exclude_if_present: tuple[Located, ...] = ()
    exclude_caches: bool = True
    one_file_system: bool = False
    larger_than_bytes: int = 0
    profile: Literal["strong", "portable"] = "strong"

    def __post_init__(self) -> None:
        if not self.paths:
            raise ConfigError("'paths' names no path")
        for path in self.paths:
            if not path.startswith("/") or "\0" in path:
                raise ConfigError(f"{where(path)}{str(path)!r} in 'paths' is no absolute path")
        for marker in self.exclude_if_present:
            if "/" in marker or marker in ("", ".", ".."):
                raise ConfigError(f"{where(marker)}{str(marker)!r} in 'exclude_if_present' is no file name")
        if self.larger_than_bytes < 0:
            raise ConfigError("'larger_than_bytes' is negative")


def where(text: str) -> str:
    """`file:line: ` of a string that knows it, else nothing."""
    if isinstance(text, Located) and text.file:
        return f"{text.file}:{text.line}: "
    return ""
