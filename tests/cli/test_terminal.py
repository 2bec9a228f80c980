"""At a terminal: passwords are asked for, progress is shown, and no file name steers it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

from cli.command import PASSWORD, Home

ENDS_WITHIN_S = 60
EVIL = b"\x1b]0;owned\x07 \xff"


class Terminal:
    """A process with a terminal of its own."""

    def __init__(self, home: Home, *arguments: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        env = {name: value for name, value in home.environment(TERM="xterm", **environment).items() if value}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bitbacker", *arguments],
            cwd=home.top,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = b""

    def wait_for(self, text: bytes) -> None:
        """Read until the text is shown."""
        deadline_s = time.monotonic() + ENDS_WITHIN_S
        while text not in self.shown:
            assert time.monotonic() < deadline_s, self.shown
            assert self._read(), self.shown

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(ENDS_WITHIN_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], ENDS_WITHIN_S)
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:
            # What Linux says when the other side of a terminal is closed.
            data = b""
        self.shown += data
        return bool(data)


def test_a_new_password_is_typed_twice(home: Home) -> None:
    terminal = Terminal(home, "init", BITBACKER_PASSWORD="")
    terminal.wait_for(b"new password of")
    terminal.type(PASSWORD)
    terminal.wait_for(b"again")
    terminal.type(PASSWORD)
    assert terminal.end() == 0
    assert PASSWORD.encode() not in terminal.shown
    assert home("snapshots").code == 0


def test_two_passwords_that_differ_make_no_repository(home: Home) -> None:
    terminal = Terminal(home, "init", BITBACKER_PASSWORD="")
    terminal.wait_for(b"new password of")
    terminal.type("one")
    terminal.wait_for(b"again")
    terminal.type("other")
    assert terminal.end() == 2
    assert b"the two passwords differ" in terminal.shown
    assert not home.repository.exists()


def test_what_is_forgotten_is_asked_for_first(backed_up: Home) -> None:
    terminal = Terminal(backed_up, "forget", "latest")
    terminal.wait_for(b"Forget 1 snapshots?")
    terminal.type("n")
    assert terminal.end() == 1
    assert b"nothing was changed" in terminal.shown
    assert backed_up("snapshots").out.endswith("1 snapshot\n")


def test_progress_is_shown_and_a_file_name_is_escaped(backed_up: Home) -> None:
    (backed_up.data / os.fsdecode(EVIL)).mkdir()
    (backed_up.data / os.fsdecode(EVIL) / "noise").write_bytes(os.urandom(5_000_000))
    terminal = Terminal(backed_up, "backup", "data")
    assert terminal.end() == 0
    assert b" files" in terminal.shown
    listing = Terminal(backed_up, "ls", "latest")
    assert listing.end() == 0
    assert rb"\x1b]0;owned\x07 \xff/noise" in listing.shown
    assert EVIL not in terminal.shown + listing.shown
