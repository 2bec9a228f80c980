"""Ctrl-C and SIGTERM at chosen moments: exit code 130, one line, and the next run finds all in order.

A moment is a call to the storage: a transport of a single file stalls there and says so.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from cli.command import Done, Home, plant

STALLING = '''
"""The local transport, which waits at one call and leaves a mark."""

import os
import time
from pathlib import Path

from bitbacker.spi import NoConfig, hookimpl
from bitbacker_plugins.local import LocalTransport


def stall(verb, name):
    mark = Path("stalled")
    if os.environ.get("STALL") == f"{verb} {name.partition('/')[0]}" and not mark.exists():
        mark.touch()
        time.sleep(1.5)


class Stalling(LocalTransport):
    def __init__(self, url, config):
        super().__init__("file" + url.removeprefix("stall"), config)

    def put(self, name, data, *, replace=False):
        stall("put", name)
        super().put(name, data, replace=replace)

    def get(self, name):
        stall("get", name)
        return super().get(name)

    def delete(self, names):
        names = list(names)
        stall("delete", names[0] if names else "")
        super().delete(names)


@hookimpl
def bitbacker_transport(name):
    return Stalling if name == "stall" else None
'''
ENDS_WITHIN_S = 60


@pytest.fixture(scope="session")
def _stalling(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A repository with two snapshots, the first of which is of data that is gone by now."""
    home = Home(tmp_path_factory.mktemp("stalling"))
    plant(home.data)
    noise = home.data / "noise"
    noise.write_bytes(os.urandom(9_000_000))
    assert home.inside("init", "-q").code == 0
    for _ in range(2):
        assert home.inside("backup", "-q", "data").code == 0
        # Half of it is needed by the second snapshot too, so that a prune has something to copy.
        noise.write_bytes(noise.read_bytes()[:4_000_000])
    return home


@pytest.fixture
def stalling(_stalling: Home, tmp_path: Path) -> Home:
    """That repository, behind the transport that stalls."""
    home = _stalling.copy(tmp_path / "home")
    (home.top / "stall.py").write_text(STALLING)
    url = f"stall://{home.repository}"
    (home.top / "bitbacker.toml").write_text(f'plugins = ["stall.py"]\n[remotes.slow]\nurl = "{url}"\n')
    return home


def interrupted(home: Home, moment: str, arguments: list[str], number: int = signal.SIGINT) -> Done:
    """Run a command and send the signal when it has come to the moment."""
    process = home.start("-r", "slow", *arguments, env={"STALL": moment})
    mark = home.top / "stalled"
    deadline_s = time.monotonic() + ENDS_WITHIN_S
    while not mark.exists():
        assert process.poll() is None, f"ended before the moment: {process.communicate()}"
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=ENDS_WITHIN_S)
    mark.unlink()
    return Done(process.returncode, out.decode(), err.decode())


FORGET_ALL_BUT_LAST = ["forget", "--keep-last", "1", "--yes", "-q"]
BACKUP, RESTORE = ["backup", "data", "--read-all"], ["restore", "latest", "--target", "out", "--no-cache"]
PRUNE = ["prune", "--yes"]


@pytest.mark.parametrize(
    ("arguments", "moment", "number"),
    [
        (BACKUP, "get heads", signal.SIGINT),
        (BACKUP, "put segments", signal.SIGTERM),
        (BACKUP, "put heads", signal.SIGINT),
        (RESTORE, "get segments", signal.SIGINT),
        (PRUNE, "put segments", signal.SIGINT),
        (PRUNE, "put heads", signal.SIGTERM),
        (PRUNE, "delete segments", signal.SIGINT),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_an_interrupted_command_can_be_run_again(
    stalling: Home, arguments: list[str], moment: str, number: int
) -> None:
    (stalling.data / "noise").write_bytes(os.urandom(2_000_000))
    if arguments == PRUNE:
        assert stalling.inside(*FORGET_ALL_BUT_LAST).code == 0
    done = interrupted(stalling, moment, arguments, number)
    assert (done.code, done.error) == (130, "interrupted")
    again = [*arguments, "--resume"] if arguments == RESTORE else arguments
    assert stalling(*again).code == 0
    check = stalling.inside("check", "--read-data")
    assert (check.code, check.err) == (0, "")


def test_a_pipe_that_never_ends_can_be_interrupted(backed_up: Home, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = backed_up.start("backup", "--stdin", stdin=os.open(fifo, os.O_RDWR))
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_nobody_reads_the_output_to_its_end(backed_up: Home) -> None:
    process = backed_up.start("ls", "latest")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=ENDS_WITHIN_S)
    assert (process.returncode, err) == (141, b"")
