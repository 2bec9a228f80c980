"""Plugin distributions that are made on the spot, as pip would leave them."""

from __future__ import annotations

from pathlib import Path

CIPHER = """\
from __future__ import annotations

from dataclasses import dataclass

from bitbacker.spi import hookimpl


@dataclass(frozen=True)
class Config:
    rounds: int = 1


class {name}:
    api_version = 1
    Config = Config
    key_size_bytes = 32
    tag_size_bytes = 16

    def __init__(self, config):
        self.config = config

    def seal_into(self, key, aad, plaintext, out):
        out[:] = plaintext

    def open_into(self, key, aad, sealed, out):
        out[:] = sealed


@hookimpl
def bitbacker_cipher(name):
    return {name} if name == "{word}" else None
"""
"""The module of a cipher; `format` it with a class `name` and the `word` of the configuration."""


def install(
    site: Path,
    distribution: str,
    version: str,
    entry_points: str,
    modules: dict[str, str],
    *,
    extras: tuple[str, ...] = (),
) -> None:
    """Put a distribution on the path `site`: its metadata, and its modules by name."""
    metadata = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
