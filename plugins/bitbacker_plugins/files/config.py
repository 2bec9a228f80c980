"""The table `[[sources]]` of type `files`."""

from __future__ import annotations

from dataclasses import dataclass

from bitbacker.errors import ConfigError
from bitbacker.spi import Located

PROFILES = ("strong", "portable")


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """What is read and what is left out; docs/sources.md explains each key.

    `paths` are absolute.  The rules of `exclude_file` come before those of `exclude`, and the last
    rule that matches decides.
    """

    paths: tuple[Located, ...]
    exclude: tuple[Located, ...] = ()
    exclude_file: tuple[Located, ...] = ()
    exclude_if_present: tuple[Located, ...] = ()
    exclude_caches: bool = True
    one_file_system: bool = False
    larger_than_bytes: int = 0
    profile: str = "strong"


def check(config: FilesConfig) -> None:
    """Refuse what makes no sense.  Raises `ConfigError`."""
    if not config.paths:
        raise ConfigError("the source names no path")
    for path in config.paths:
        if not path.startswith("/"):
            raise ConfigError(f"{where(path)}the path {path!r} is not absolute")
        if "\0" in path:
            raise ConfigError(f"{where(path)}the path {path!r} holds a NUL character")
    for marker in config.exclude_if_present:
        if "/" in marker or marker in ("", ".", ".."):
            raise ConfigError(f"{where(marker)}{marker!r} is no name of a file")
    if config.profile not in PROFILES:
        raise ConfigError(f"the profile is {config.profile!r}, not one of {', '.join(PROFILES)}")
    if config.larger_than_bytes < 0:
        raise ConfigError("larger_than_bytes is negative")


def where(text: str) -> str:
    """`file:line: ` of a string that knows it, else nothing."""
    if isinstance(text, Located) and text.file:
        return f"{text.file}:{text.line}: "
    return ""
