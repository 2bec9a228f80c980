"""Transcripts: what a user types, and what comes back.

A transcript is a text file of commands and their answers:

    $ bitbacker snapshots          a line for the shell
    ID  TIME ...                   a line on standard output; `...` stands for anything
    ! bitbacker: error: ...        a line on standard error
    ? 10                           the exit code; without it, 0 is expected

Lines that start with `# ` explain, and empty lines separate commands.  The commands run one after the
other in one home (see `command.Home`), where `data` holds a few files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cli.command import TIMEOUT_S, Done, Home


@dataclass
class Scene:
    """One command and what is expected of it."""

    command: str
    line: int
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    code: int = 0

    def complaint(self, done: Done) -> str:
        """How the answer differs; empty when it does not."""
        wrong = [
            name
            for name, expected, got in (("stdout", self.out, done.out), ("stderr", self.err, done.err))
            if not _fits(expected, got.splitlines())
        ]
        if not wrong and done.code == self.code:
            return ""
        return (
            f"line {self.line}: $ {self.command}\n"
            f"exit code {done.code}, expected {self.code}; differs: {', '.join(wrong) or 'exit code'}\n"
            f"--- stdout\n{done.out}--- stderr\n{done.err}"
        )


def read(path: Path) -> Iterator[Scene]:
    """The scenes of a transcript, in order."""
    scene: Scene | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("$ "):
            if scene is not None:
                yield scene
            scene = Scene(line[2:], number)
        elif scene is not None and line.startswith("! "):
            scene.err.append(line[2:])
        elif scene is not None and line.startswith("? "):
            scene.code = int(line[2:])
        elif scene is not None and line and not line.startswith("# "):
            scene.out.append(line)
    if scene is not None:
        yield scene


def play(home: Home, scene: Scene) -> Done:
    """Run the command of a scene by a shell that knows the command `bitbacker`."""
    shell = f'bitbacker() {{ "{sys.executable}" -m bitbacker "$@"; }}; {scene.command}'
    environment = {name: value for name, value in home.environment().items() if value}
    done = subprocess.run(
        ["bash", "-c", shell],
        cwd=home.top,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def _fits(expected: list[str], got: list[str]) -> bool:
    """Whether the lines fit; empty lines of an answer need not be in the transcript."""
    lines = [line for line in got if line.strip()]
    return len(lines) == len(expected) and all(map(_line_fits, expected, lines))


def _line_fits(expected: str, got: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, got.rstrip()) is not None
