"""The command lines of the tools that are compared."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "the password of a benchmark is no secret"  # noqa: S105  # it protects a copy of public files


@dataclass(frozen=True)
class Tool:
    """One tool in its own corner of the work directory.

    `command` gives the arguments of a step ("init", "backup", "check", "restore") in that tool's words.
    """

    name: str
    program: str
    corner: Path
    command: Callable[[Tool, str, Path], list[str]]

    @property
    def repository(self) -> Path:
        return self.corner / "repository"

    @property
    def restored(self) -> Path:
        return self.corner / "restored"

    @property
    def earlier(self) -> Path:
        """What was restored in earlier rounds."""
        return self.corner.with_name(f"{self.corner.name}-earlier")

    @property
    def password_file(self) -> Path:
        return self.corner / "password"

    @property
    def log(self) -> Path:
        return self.corner / "log"

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing of the user's own settings, and caches that are the benchmark's."""
        homes = {f"XDG_{kind}_HOME": str(self.corner / kind.lower()) for kind in ("CACHE", "CONFIG", "STATE")}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.corner),
            "RESTIC_CACHE_DIR": homes["XDG_CACHE_HOME"],
            "RESTIC_PASSWORD_FILE": str(self.password_file),
            **homes,
        }

    def version(self) -> str:
        """Name and version as the tool itself says them."""
        argument = "version" if self.name == "restic" else "--version"
        shown = subprocess.run([self.program, argument], check=True, capture_output=True, text=True).stdout
        return next(word for word in shown.split() if word[0].isdigit())

    def start_afresh(self) -> None:
        """No repository, no cache, no state, and nothing restored.

        Restored trees stay until the end: an ext4 without a journal looks at every inode that was freed in
        the last minutes before it takes one that was not (recently_deleted in Linux' fs/ext4/ialloc.c), which
        doubles the time of whoever is first to make files again.
        """
        if self.restored.exists():
            self.earlier.mkdir(exist_ok=True)
            self.restored.rename(self.earlier / str(time.monotonic_ns()))
        shutil.rmtree(self.corner, ignore_errors=True)
        self.corner.mkdir(parents=True)
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o600)

    def clear_away(self) -> None:
        """Leave nothing."""
        for folder in (self.corner, self.earlier):
            shutil.rmtree(folder, ignore_errors=True)

    def forget_what_is_cached(self) -> None:
        for kind in ("cache", "state"):
            shutil.rmtree(self.corner / kind, ignore_errors=True)

    def where_restored(self, source: Path) -> Path:
        """Where the copy of `source` lies: restic repeats the absolute path below its target."""
        nested = self.restored / source.relative_to("/")
        return nested if nested.exists() else self.restored


def restic(tool: Tool, step: str, source: Path) -> list[str]:
    words = {
        "init": ["init"],
        "backup": ["backup", str(source)],
        "check": ["check", "--read-data"],
        "restore": ["restore", "latest", "--target", str(tool.restored)],
    }
    return [tool.program, "-q", "-r", str(tool.repository), *words[step]]


def bitbacker(tool: Tool, step: str, source: Path) -> list[str]:
    words = {
        "init": ["init"],
        "backup": ["backup", str(source)],
        "check": ["check", "--read-data"],
        "restore": ["restore", "latest", "--target", str(tool.restored)],
    }
    place = ["-r", f"file://{tool.repository}", "--password-file", str(tool.password_file)]
    return [tool.program, "-q", *place, *words[step]]
