"""What a backup to S3 and a restore hold in memory: a segment per connection, and 100 MiB."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3_servers
from bitbacker_plugins.s3.config import S3Config
from cli.command import Home

MIB = 1024 * 1024
SEGMENT_BYTES = 4 * MIB
ALLOWED_BYTES = S3Config().connections * SEGMENT_BYTES + 100 * MIB
TREE_BYTES = 256 * MIB
FILE_BYTES = 128 * 1024 - 1000
TIMEOUT_S = 120

# The peak that the kernel keeps of this process, as against that of wait4, knows nothing of its parent.
MEASURED = """
import sys
from bitbacker.cli.entry import main
{before}
try:
    main()
finally:
    status = open("/proc/self/status").read()
    print("peak", int(status.partition("VmHWM:")[2].split()[0]) * 1024, flush=True)
"""
# Whoever keeps what has been sent or fetched needs as much memory as the repository has bytes.
KEEPING = """
from bitbacker.repo.trace import CountedTransport as Counted
kept, put, get = [], Counted.put, Counted.get
Counted.put = lambda self, name, data, **more: (kept.append(bytes(data)), put(self, name, data, **more))[1]
Counted.get = lambda self, name: (kept.append(get(self, name)), kept[-1])[1]
"""


class Remote(Home):
    """A home whose repository lies on an S3 server, with a large tree in it."""

    def peak_bytes(self, *arguments: str, before: str = "") -> int:
        """Run a command to its end; the most memory that it had."""
        place = ["--config", str(self.top / "bitbacker.toml"), "-r", "far"]
        done = subprocess.run(
            [sys.executable, "-c", MEASURED.format(before=before), "-q", *place, *arguments],
            cwd=self.top,
            env=self.environment(
                AWS_ACCESS_KEY_ID=s3_servers.ACCESS_KEY, AWS_SECRET_ACCESS_KEY=s3_servers.SECRET_KEY
            ),
            capture_output=True,
            check=False,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout.rpartition("peak ")[2])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    home = Remote(tmp_path_factory.mktemp("memory"))
    with s3_servers.rclone_server() as server:
        (home.top / "bitbacker.toml").write_text(
            f'[remotes.far]\nurl = "{server.fresh_url()}"\nendpoint = "{server.endpoint}"\n'
            f'region = "{server.region}"\n'
        )
        home.peak_bytes("init", "--single-writer")
        yield home


def plant(folder: Path, seed: int) -> Path:
    """Files of which one half compresses and the other does not."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(TREE_BYTES // FILE_BYTES):
        place = folder / f"{number // 200}"
        place.mkdir(parents=True, exist_ok=True)
        noise = chance.randbytes(FILE_BYTES // 2)
        (place / f"{number}").write_bytes(noise + noise[:4000].hex().encode() * (FILE_BYTES // 16_000))
    return folder


def peaks_bytes(home: Remote, source: Path, before: str = "") -> tuple[int, int]:
    """Of the backup of a tree that is new, and of its restore."""
    backup = home.peak_bytes("backup", str(source), before=before)
    target = str(home.top / f"restored-{source.name}")
    restore = home.peak_bytes("restore", "latest", "--target", target, before=before)
    print(f"allowed {ALLOWED_BYTES}, backup {backup}, restore {restore}")
    return backup, restore


def test_backup_and_restore_hold_a_segment_per_connection_and_100_mib(home: Remote) -> None:
    assert max(peaks_bytes(home, plant(home.top / "tree", 1))) <= ALLOWED_BYTES


def test_whoever_keeps_what_is_sent_and_fetched_is_noticed(home: Remote) -> None:
    assert min(peaks_bytes(home, plant(home.top / "other", 2), KEEPING)) > ALLOWED_BYTES
