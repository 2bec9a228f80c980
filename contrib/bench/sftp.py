"""Compares the transport `sftp` with OpenSSH's own client, and with a client that waits for every answer.

    python contrib/bench/sftp.py --rounds 3

Starts an sshd of its own on the loopback address, makes objects of random bytes, and lets the clients upload
and download them in turns: OpenSSH's `sftp` in batch mode, with and without fsync, and BitBacker's transport
with its defaults.  Then the same with a proxy in between that makes every round trip longer: the transport
against one connection that has one request in flight.  Prints Markdown with medians.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import loopback
from loopback import Door
from measure import StepFailed
from report import machine
from sftp_clients import SEGMENTS

WORK = Path("/var/tmp/bitbacker-sftp")  # noqa: S108  # the default; --work takes another
CLIENTS = Path(__file__).with_name("sftp_clients.py")
MIB = 1 << 20
ALLOWED_BEYOND_BYTES = 100 * MIB
WAYS = ("put", "get")
WORDS = {"put": "upload", "get": "download"}


@dataclass(frozen=True)
class Moved:
    """One way of all objects: how long it took, and for our own clients what memory, and how many threads."""

    elapsed_s: float
    peak_bytes: int = 0
    concurrency: int = 1


@dataclass(frozen=True)
class Client:
    """Somebody who moves files: `move(way, folder, far)` is measured."""

    name: str
    ways: Sequence[str]
    move: Callable[[str, Path, Path], Moved]


@dataclass(frozen=True)
class Corner:
    """The folders of one run."""

    work: Path

    @property
    def objects(self) -> Path:
        return self.work / "objects"

    @property
    def sample(self) -> Path:
        """The first of the objects, for clients that take their time."""
        return self.work / "sample"

    @property
    def fetched(self) -> Path:
        return self.work / "fetched"

    @property
    def far(self) -> Path:
        """Where the server keeps what it gets."""
        return self.work / "far"

    @property
    def log(self) -> Path:
        return self.work / "log"

    def make_objects(self, count: int, size_bytes: int, sampled: int) -> None:
        """Random bytes: they are ciphertext, which no client can make smaller."""
        rng = random.Random(1)  # noqa: S311  # the same objects everywhere
        for folder in (self.objects, self.sample):
            folder.mkdir(parents=True)
        for number in range(count):
            name = f"{rng.getrandbits(128):032x}"
            (self.objects / name).write_bytes(rng.randbytes(size_bytes))
            if number < sampled:
                os.link(self.objects / name, self.sample / name)


class Figures:
    """What was measured, by situation, way and client."""

    def __init__(self) -> None:
        self.moved: defaultdict[tuple[str, str, str], list[Moved]] = defaultdict(list)
        self.sizes_bytes: dict[tuple[str, str], int] = {}

    def add(self, situation: str, client: Client, way: str, moved: Moved, size_bytes: int) -> None:
        self.moved[situation, way, client.name].append(moved)
        self.sizes_bytes[situation, client.name] = size_bytes

    def speeds(self, situation: str, way: str, client: str) -> list[float]:
        """Megabytes in a second."""
        size_bytes = self.sizes_bytes[situation, client]
        return [size_bytes / 1e6 / one.elapsed_s for one in self.moved[situation, way, client]]

    def table(self, situation: str, yardstick: str) -> list[str]:
        """A row for each way of each client; the yardstick is what 1.00 means."""
        rows = [f"| {situation} | MB/s | times {yardstick} |", "|---|---|---|"]
        for where, way, client in self.moved:
            if where != situation:
                continue
            speeds = self.speeds(situation, way, client)
            times = median(speeds) / median(self.speeds(situation, way, yardstick))
            shown = f"{median(speeds):,.1f} ({min(speeds):,.1f} to {max(speeds):,.1f})"
            rows.append(f"| {WORDS[way]}, {client} | {shown} | {times:.2f} |")
        return rows

    def memory(self, client: str, size_bytes: int) -> list[str]:
        """The peak of a client, and what it is allowed."""
        runs = [one for (_, _, name), all_runs in self.moved.items() if name == client for one in all_runs]
        peak_bytes = max(one.peak_bytes for one in runs)
        concurrency = max(one.concurrency for one in runs)
        allowed_bytes = concurrency * size_bytes + ALLOWED_BEYOND_BYTES
        allowed = f"{concurrency} x {size_bytes / MIB:g} + 100 = {allowed_bytes / MIB:g}"
        return [
            "| peak memory, MiB | concurrency x object + 100 MiB | ratio |",
            "|---|---|---|",
            f"| {peak_bytes / MIB:.1f} | {allowed} | {peak_bytes / allowed_bytes:.2f} |",
        ]


def openssh(door: Door, log: Path, *, synced: bool) -> Client:
    """The program `sftp` with its defaults; `synced` asks for an fsync of each file."""

    def move(way: str, folder: Path, far: Path) -> Moved:
        if way == "put":
            asked = [
                f"put {'-f ' if synced else ''}{path} {far}/{SEGMENTS}/" for path in sorted(folder.iterdir())
            ]
        else:
            asked = [f"get {path} {folder}/" for path in sorted((far / SEGMENTS).iterdir())]
        command = ["sftp", "-b", "-", "-F", os.devnull, "-P", str(door.port), "-i", str(door.key_file)]
        command += ["-o", f"UserKnownHostsFile={door.known_hosts}", f"{door.user}@{loopback.HOST}"]
        started = time.monotonic()
        with log.open("ab") as output:
            done = subprocess.run(
                command, check=False, input="\n".join(asked).encode(), stdout=output, stderr=output
            )
        elapsed_s = time.monotonic() - started
        if done.returncode != 0:
            raise StepFailed(f"{' '.join(command)} ended with {done.returncode}; its output is in {log}")
        return Moved(elapsed_s)

    return Client("put -f" if synced else "put and get", ("put",) if synced else WAYS, move)


def in_python(which: str, name: str, door: Door, log: Path) -> Client:
    """A client of `sftp_clients.py`."""

    def move(way: str, folder: Path, far: Path) -> Moved:
        url = f"sftp://{door.user}@{loopback.HOST}:{door.port}{far}"
        command = [sys.executable, str(CLIENTS), which, way, str(folder), url]
        command += [str(door.key_file), str(door.known_hosts)]
        with log.open("ab") as output:
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=output)
        if done.returncode != 0:
            raise StepFailed(f"{' '.join(command)} ended with {done.returncode}; its output is in {log}")
        return Moved(**json.loads(done.stdout))

    return Client(name, WAYS, move)


def take_turns(
    situation: str, clients: Sequence[tuple[Client, Path]], corner: Corner, figures: Figures
) -> None:
    """Everybody uploads, then everybody downloads; what arrives is compared, and does not count otherwise."""
    for way in WAYS:
        for client, folder in clients:
            if way not in client.ways:
                continue
            far = corner.far / client.name.replace(" ", "-")
            local = folder if way == "put" else corner.fetched
            local.mkdir(exist_ok=True)
            (far / SEGMENTS).mkdir(parents=True, exist_ok=True)
            os.sync()
            moved = client.move(way, local, far)
            be_equal(folder, far / SEGMENTS if way == "put" else local)
            size_bytes = sum(path.stat().st_size for path in folder.iterdir())
            figures.add(situation, client, way, moved, size_bytes)
            speed = size_bytes / 1e6 / moved.elapsed_s
            print(f"{situation}: {way} {client.name}: {speed:.1f} MB/s", file=sys.stderr, flush=True)
            if way == client.ways[-1]:
                shutil.rmtree(far)
            shutil.rmtree(corner.fetched, ignore_errors=True)


def be_equal(expected: Path, found: Path) -> None:
    """Raises `StepFailed` when a file is missing, too much or different."""
    names = sorted(os.listdir(expected))
    _, different, unread = filecmp.cmpfiles(expected, found, names, shallow=False)
    if different or unread or names != sorted(os.listdir(found)):
        raise StepFailed(f"what is in {found} is not what is in {expected}")


def measure(options: argparse.Namespace, corner: Corner) -> list[str]:
    figures = Figures()
    delay_ms = f"{options.delay_ms:g} ms added"
    with (
        loopback.sshd(corner.work / "sshd") as near,
        loopback.delayed(near.port, options.delay_ms / 1e3, corner.log) as port,
    ):
        far = near.behind(port)
        plain, synced = (openssh(near, corner.log, synced=synced) for synced in (False, True))
        plugin, delayed = (in_python("plugin", "transport", door, corner.log) for door in (near, far))
        single = in_python("single", "one request in flight", far, corner.log)
        for number in range(options.rounds):
            order = slice(None, None, -1 if number % 2 else 1)
            close = [(client, corner.objects) for client in (plain, synced, plugin)]
            distant = [(single, corner.sample), (delayed, corner.objects)]
            take_turns("loopback", close[order], corner, figures)
            take_turns(delay_ms, distant[order], corner, figures)
    return [
        *figures.table("loopback", plain.name),
        "",
        *figures.table(delay_ms, single.name),
        "",
        *figures.memory(plugin.name, options.object_bytes),
    ]


def markdown(options: argparse.Namespace, tables: Sequence[str]) -> str:
    version = subprocess.run(["ssh", "-V"], check=True, capture_output=True, text=True).stderr.split(",")[0]
    size = f"{options.objects} objects of {options.object_bytes:,} bytes"
    return "\n".join(
        [
            f"Made by `contrib/bench/sftp.py`, {options.rounds} rounds, {size} of random bytes; {version}.",
            f"Machine: {machine(options.work)}.",
            "Medians, with the range in brackets.",
            "`put and get` and `put -f` are OpenSSH's own `sftp -b`, on one connection.",
            "`put -f` asks for an fsync of each file, as the transport always does.",
            f"{options.delay_ms:g} ms are added to each round trip, half of them each way.",
            f"With one request in flight, {min(options.sampled, options.objects)} of the objects are moved.",
            "",
            *tables,
            "",
        ]
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=256, help="how many (%(default)s)")
    parser.add_argument("--object-bytes", type=int, default=4 * MIB, help="size of each (%(default)s)")
    parser.add_argument("--sampled", type=int, default=4, help="objects for the slowest client (%(default)s)")
    parser.add_argument("--delay-ms", type=float, default=20, help="added to each round trip (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often all is measured (%(default)s)")
    parser.add_argument("--work", type=Path, default=WORK, help="where everything is written (%(default)s)")
    parser.add_argument("--output", type=Path, help="a file that gets the tables too")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    corner = Corner(options.work.resolve() / "run")
    shutil.rmtree(corner.work, ignore_errors=True)
    corner.make_objects(options.objects, options.object_bytes, options.sampled)
    try:
        text = markdown(options, measure(options, corner))
    except (StepFailed, loopback.ServerFailed) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(text)
    if options.output:
        options.output.write_text(text)
    shutil.rmtree(corner.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
