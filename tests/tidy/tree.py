"""The checkout as the style tests see it: its files, and its Python modules parsed once."""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("bitbacker/", "plugins/")


@dataclass(frozen=True)
class Finding:
    """One place where the tree breaks a rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Text:
    """One file: its path from the top of the checkout, with slashes, and what it says."""

    path: str
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def found(self, line: int, what: str) -> Finding:
        return Finding(self.path, line, what)


@dataclass(frozen=True)
class Module(Text):
    """One Python file, parsed as Python 3.10 would."""

    tree: ast.Module = field(repr=False, compare=False)

    @classmethod
    def parse(cls, path: str, text: str) -> Module:
        """Raises `SyntaxError` when Python 3.10 could not read the text."""
        return cls(path, text, ast.parse(text, path, feature_version=(3, 10)))

    @property
    def name(self) -> str:
        """The dotted name; of a package, that of its folder."""
        path = PurePosixPath(self.path.removeprefix("plugins/")).with_suffix("")
        return ".".join(path.parent.parts if path.name == "__init__" else path.parts)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @property
    def is_product(self) -> bool:
        """Whether users run it: it belongs to the framework or to a plugin."""
        return self.path.startswith(SOURCE_ROOTS)

    @property
    def floor(self) -> str:
        """What the tables of the rules call its place: `bitbacker/format`, `plugins/gear`, `tests`."""
        parts = PurePosixPath(self.path).parts
        if parts[:2] == ("plugins", "bitbacker_plugins"):
            return "plugins" if len(parts) == 3 else f"plugins/{parts[2]}"
        if parts[0] == "bitbacker":
            return "bitbacker" if len(parts) == 2 else f"bitbacker/{parts[1]}"
        return parts[0]


def paths(root: Path = ROOT) -> list[str]:
    """Every file that is in the checkout or about to be: tracked, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (root / name).is_file())


@cache
def texts() -> tuple[Text, ...]:
    """Every file of the checkout that is text."""
    contents = ((name, (ROOT / name).read_bytes()) for name in paths())
    return tuple(Text(name, data.decode()) for name, data in contents if _is_text(data))


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the checkout, scripts without a suffix excepted."""
    return tuple(Module.parse(file.path, file.text) for file in texts() if file.path.endswith(".py"))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
