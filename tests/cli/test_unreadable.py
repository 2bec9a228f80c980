"""What cannot be read, or changes meanwhile, is told; the rest is backed up, and the exit code is 3."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.command import Home

# Root reads everything, so the capability to do so is taken away.
WITHOUT_POWER = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def backup(home: Home, *, powerless: bool = True) -> subprocess.CompletedProcess[str]:
    prefix = WITHOUT_POWER if powerless else []
    return subprocess.run(
        [*prefix, sys.executable, "-m", "bitbacker", "backup", str(home.data)],
        env=home.environment(),
        cwd=home.top,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.data.mkdir()
    (home.data / "readable").write_text("readable")
    assert 0 == home("init").code
    return home


def names_in_latest(home: Home) -> set[str]:
    return {Path(line).name for line in home("ls", "latest").out.splitlines()}


def closed(path: Path) -> None:
    path.chmod(0)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)


def test_an_unreadable_file_is_named_and_the_rest_is_saved(home: Home) -> None:
    (home.data / "secret").write_text("nobody reads this")
    closed(home.data / "secret")
    done = backup(home)
    assert 3 == done.returncode
    assert f"{home.data}/secret: it cannot be read: Permission denied" in done.stderr
    assert {"readable"} == names_in_latest(home) & {"readable", "secret"}


def test_an_unreadable_directory_is_named_and_the_rest_is_saved(home: Home) -> None:
    (home.data / "folder").mkdir()
    (home.data / "folder" / "inside").write_text("nobody reads this")
    closed(home.data / "folder")
    done = backup(home)
    assert 3 == done.returncode
    assert f"{home.data}/folder" in done.stderr
    assert {"readable", "folder"} == names_in_latest(home) & {"readable", "folder", "inside"}


def test_control_with_nothing_unreadable_all_is_well(home: Home) -> None:
    done = backup(home)
    assert (0, "") == (done.returncode, done.stderr)


def test_a_file_that_is_written_all_the_time_is_named_and_marked(home: Home) -> None:
    path = home.data / "growing"
    path.write_bytes(bytes(30_000_000))
    stop = threading.Event()

    def write() -> None:
        with path.open("r+b", buffering=0) as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(64))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = backup(home, powerless=False)
    finally:
        stop.set()
        writer.join()
    assert 3 == done.returncode
    assert f"{path}: changed while it was read" in done.stderr
    assert {"readable", "growing"} == names_in_latest(home) & {"readable", "growing"}
    assert 0 == home("check", "--read-data").code
