"""The command `bitbacker` as a process, in a home of its own."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from bitbacker.cli.main import run

PASSWORD = "correct horse battery"
TIMEOUT_S = 120


@dataclass(frozen=True)
class Done:
    """What a process said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error; fails when it is not one line, or when there is a traceback."""
        assert "Traceback" not in self.err
        assert "this is a bug" not in self.err
        assert PASSWORD not in self.err + self.out
        lines = [line for line in self.err.splitlines() if line.startswith("bitbacker: error: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("bitbacker: error: ")


class Home:
    """A directory with a user's files, caches and state in it, in which commands run."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.repository = top / "repository"
        self.data = top / "data"

    def environment(self, **more: str) -> dict[str, str]:
        """What a process sees: nothing of whoever runs the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        own = {f"XDG_{name}_HOME": str(self.top / name.lower()) for name in ("CACHE", "CONFIG", "STATE")}
        fixed = {"HOME": str(self.top), "TZ": "UTC", "LANG": "C.UTF-8", "BITBACKER_PASSWORD": PASSWORD}
        return {**kept, **own, **fixed, "BITBACKER_REMOTE": str(self.repository), **more}

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """A process that the test watches over."""
        return subprocess.Popen(
            [sys.executable, "-m", "bitbacker", *arguments],
            cwd=self.top,
            env=self.environment(**(env or {})),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", raw: bool = False
    ) -> Done:
        """Run a command to its end."""
        environment = self.environment(**(env or {}))
        environment = {name: value for name, value in environment.items() if value}
        done = subprocess.run(
            [sys.executable, "-m", "bitbacker", *arguments],
            cwd=self.top,
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        errors = "surrogateescape" if raw else "strict"
        return Done(done.returncode, done.stdout.decode("utf-8", errors), done.stderr.decode("utf-8", errors))

    def inside(self, *arguments: str) -> Done:
        """Run a command in this process, which is faster; for what does not depend on processes."""
        written = [io.BytesIO(), io.BytesIO()]
        out, err = (io.TextIOWrapper(stream, "utf-8", write_through=True) for stream in written)
        here = os.getcwd()
        os.chdir(self.top)
        try:
            with (
                mock.patch.dict(os.environ, self.environment(), clear=True),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                code = run(arguments)
        finally:
            os.chdir(here)
        return Done(code, *(stream.getvalue().decode() for stream in written))

    def copy(self, top: Path) -> Home:
        """The same home somewhere else: repository, caches and state."""
        shutil.copytree(self.top, top, symlinks=True, dirs_exist_ok=True)
        return Home(top)


def plant(directory: Path) -> None:
    """A few files of each kind that matters to the command line."""
    (directory / "letters").mkdir(parents=True)
    (directory / "letters" / "a.txt").write_text("first\n")
    (directory / "letters" / "b.txt").write_text("second\n" * 1000)
    (directory / "big").write_bytes(bytes(range(256)) * 12_000)
    (directory / "link").symlink_to("letters/a.txt")
