"""What padding costs in a month of hourly backups of real changes.

    .venv/bin/python contrib/bench/padding_month.py --work /var/tmp/bitbacker-month

The tree that is backed up holds packages of Python software.  Each moves on by one real release a working
day, or one a week, or by all its releases spread evenly over the month.  What a release changes lands file by
file in the nine working hours of its day, as work does, or all at once for the other paces, as an upgrade
does; in every other hour nothing changes.  The hours are made up, the changes are not.

Backups are made by the program itself, one an hour, with a warm cache and without pruning.  What each needed
and what it stored is then read from the segments: T is what is not padding, V the size of the segments.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import re
import secrets
import shlex
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitbacker.app.access import Access, Connection, Wiring
from bitbacker.app.backup import BackupRequest, FilesRequest, back_up, job_of
from bitbacker.engine.observe import SilentObserver
from bitbacker.format.names import HEAD_SIZE_BYTES
from bitbacker.repo.volume import FLOOR_BYTES, Padding

WORK = Path("/var/tmp/bitbacker-month")  # noqa: S108  # the default; --work takes another
HISTORIES = ("botocore:23:day", "Django:23:day", "numpy:6:week")
HOURS = 30 * 24
WORKING_HOURS = range(9, 18)
WORKING_DAYS = range(5)
KIB = 1024


@dataclass(frozen=True)
class History:
    """A package, how many of its newest releases are used, and how it moves on: day, week or even."""

    package: str
    releases: int
    pace: str


@dataclass(frozen=True)
class Change:
    """One file as a release has it; `wheel` is None where it is gone."""

    path: str
    wheel: Path | None


@dataclass(frozen=True)
class Stored:
    """What one commit stored: bytes needed, T, and bytes in segments, V; the head comes on top."""

    needed_bytes: int
    volume_bytes: int


@dataclass(frozen=True)
class Session:
    """One hour: how many files changed, and the numbers of the heads that it committed."""

    changed_files: int
    heads: range


def main() -> int:
    options = parse(sys.argv[1:])
    padding = Padding(options.padding, options.floor_kib * KIB)
    changes = month_of(options)
    sessions, stored = run_month(options, padding, changes)
    text = "\n".join(report(sessions, stored, padding, options)) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=WORK, help="where everything is written (%(default)s)")
    parser.add_argument("--hours", type=int, default=HOURS, help="how many sessions (%(default)s)")
    parser.add_argument(
        "--history",
        action="append",
        metavar="PACKAGE:RELEASES:PACE",
        help=f"a package, how many releases, and day, week or even; may be repeated ({' '.join(HISTORIES)})",
    )
    parser.add_argument("--padding", choices=["padme", "none"], default="padme", help="(%(default)s)")
    parser.add_argument("--floor-kib", type=int, default=FLOOR_BYTES // KIB, help="in KiB (%(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the hours; else random")
    parser.add_argument("--output", type=Path, help="a file that gets the report too")
    return parser.parse_args(arguments)


def history_of(text: str) -> History:
    package, releases, pace = text.split(":")
    if pace not in {"day", "week", "even"}:
        raise SystemExit(f"{text}: the pace is day, week or even, not {pace}")
    return History(package, int(releases), pace)


def month_of(options: argparse.Namespace) -> dict[int, list[Change]]:
    """What changes in each hour; hour -1 has the first releases."""
    hours: dict[int, list[Change]] = defaultdict(list)
    randomness = random.Random(options.seed)  # noqa: S311  # the hours of a benchmark are no secret
    for history in map(history_of, options.history or HISTORIES):
        first, *later = wheels_of(history, options.work / "wheels")
        hours[-1] += changes_between(None, first)
        for old, new, moment in zip([first, *later], later, moments_of(history), strict=False):
            # What lands file by file has many hours to land in; an upgrade has one.
            at_once = randomness.choice(moment)
            for change in changes_between(old, new):
                hours[at_once if history.pace == "even" else randomness.choice(moment)].append(change)
    return hours


def moments_of(history: History) -> Iterator[range]:
    """The hours in which each release may land, one after the other."""
    if history.pace == "even":
        return evenly(history.releases - 1)
    return weekly() if history.pace == "week" else daily()


def evenly(count: int) -> Iterator[range]:
    """The month in so many parts."""
    for part in range(count):
        yield range(part * HOURS // count, max((part + 1) * HOURS // count, part * HOURS // count + 1))


def daily() -> Iterator[range]:
    """The working hours of each working day; the month begins on a Monday at midnight."""
    for day in range(HOURS // 24):
        if day % 7 in WORKING_DAYS:
            yield range(day * 24 + WORKING_HOURS.start, day * 24 + WORKING_HOURS.stop)


def weekly() -> Iterator[range]:
    """One hour of each Wednesday: an upgrade changes everything at once."""
    for day in range(2, HOURS // 24, 7):
        yield range(day * 24 + 13, day * 24 + 14)


def wheels_of(history: History, folder: Path) -> list[Path]:
    """The newest releases as wheels, oldest first; those that the folder has are not fetched again."""
    own = folder / history.package
    own.mkdir(parents=True, exist_ok=True)
    if len(list(own.glob("*.whl"))) < history.releases:
        for version in newest_versions(history):
            wanted = ["--no-deps", "--only-binary", ":all:", "--dest", str(own)]
            pip("download", *wanted, f"{history.package}=={version}")
    return sorted(own.glob("*.whl"), key=version_key)[-history.releases :]


def newest_versions(history: History) -> list[str]:
    """Numbers of final releases, newest first, as pip lists them for this Python."""
    listed = pip("index", "versions", history.package)
    line = next(line for line in listed.splitlines() if line.startswith("Available versions:"))
    return line.partition(":")[2].replace(",", " ").split()[: history.releases]


def pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    if arguments[0] == "index":
        command.remove("--quiet")
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def version_key(wheel: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", wheel.name.split("-")[1])]


def changes_between(old: Path | None, new: Path) -> list[Change]:
    """The files that a release adds, alters and removes, by name and checksum."""
    before, after = ({} if old is None else contents_of(old)), contents_of(new)
    changed = [Change(path, new) for path, check in after.items() if before.get(path) != check]
    return changed + [Change(path, None) for path in before if path not in after]


def contents_of(wheel: Path) -> dict[str, int]:
    """A checksum of every file."""
    return {path: zlib.crc32(data) for path, data in files_of(wheel)}


def files_of(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file.

    The folder of metadata loses the version in its name.  What is packed by gzip is unpacked, because its
    head has the time of the build, and every file would differ in every release.
    """
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            path = re.sub(r"^([^/]+?)-[^/]+\.(dist-info|data)/", r"\1.\2/", info.filename)
            data = archive.read(info)
            if path.endswith(".gz"):
                path, data = path.removesuffix(".gz"), gzip.decompress(data)
            if not info.is_dir():
                yield path, data


def apply(changes: Iterable[Change], tree: Path) -> int:
    """Write the files of an hour; how many bytes they have."""
    size = 0
    by_wheel: dict[Path, set[str]] = defaultdict(set)
    for change in changes:
        if change.wheel is None:
            (tree / change.path).unlink(missing_ok=True)
        else:
            by_wheel[change.wheel].add(change.path)
    for wheel, paths in by_wheel.items():
        for path, data in files_of(wheel):
            if path in paths:
                target = tree / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                size += len(data)
    return size


def run_month(
    options: argparse.Namespace, padding: Padding, changes: Mapping[int, Sequence[Change]]
) -> tuple[list[Session], Mapping[int, Stored]]:
    """The first backup and one an hour; the sessions, and what each commit stored."""
    tree = options.work / "tree"
    for name in ("tree", "repository", "cache", "state"):
        shutil.rmtree(options.work / name, ignore_errors=True)
    tree.mkdir(parents=True)
    connection = new_repository(options.work, padding)
    try:
        sessions = [one_hour(connection, tree, changes, hour) for hour in range(-1, options.hours)]
        return sessions, stored_by_head(connection)
    finally:
        connection.close()


def new_repository(work: Path, padding: Padding) -> Connection:
    """A repository below the work directory, whatever the user has configured."""
    password, config = work / "password", work / "bitbacker.toml"
    password.write_text("the password of a benchmark is no secret\n")
    password.chmod(0o600)
    config.write_text("")
    os.environ |= {
        "BITBACKER_CACHE_DIR": str(work / "cache"),
        "BITBACKER_STATE_DIR": str(work / "state"),
    }
    url = f"file://{work.resolve()}/repository"
    wiring = Wiring(Access(config=str(config), remote=url, password_file=str(password)))
    connection = wiring.create(wiring.remote)
    connection.repository.padding = padding
    return connection


def one_hour(
    connection: Connection, tree: Path, changes: Mapping[int, Sequence[Change]], hour: int
) -> Session:
    """Let the hour happen, then back up."""
    changed = changes.get(hour, ())
    size = apply(changed, tree)
    before = connection.repository.newest().number
    started = time.monotonic()
    request = BackupRequest(FilesRequest((str(tree),)), host="host")
    back_up(connection, job_of(connection.wiring, request), SilentObserver())
    took_s = time.monotonic() - started
    after = connection.repository.newest().number
    told = f"hour {hour}: {len(changed)} files, {size:,} bytes, {after - before} commits, {took_s:.2f} s"
    print(told, file=sys.stderr, flush=True)
    return Session(len(changed), range(before + 1, after + 1))


def stored_by_head(connection: Connection) -> Mapping[int, Stored]:
    """For the number of each head: T and V of the segments that it was the first to list."""
    repository = connection.repository
    needed: Counter[int] = Counter()
    volume: Counter[int] = Counter()
    for record in repository.catalog(repository.newest()).segments.values():
        segment = repository.segments.fetch(record.identity)
        volume[record.born] += record.size_bytes
        needed[record.born] += record.size_bytes - segment.padding_bytes if segment.contents else 0
    return {number: Stored(needed[number], volume[number]) for number in volume}


def report(
    sessions: Sequence[Session], stored: Mapping[int, Stored], padding: Padding, options: argparse.Namespace
) -> Iterator[str]:
    """Markdown: the classes of sessions, how the overhead is spread, and the buckets."""
    first, *month = sessions
    own = [(session, stored[session.heads[0]]) for session in month]
    busy = [item for session, item in own if session.changed_files]
    idle = [item for session, item in own if not session.changed_files]
    extra = [stored[number] for session in month for number in session.heads[1:]]
    yield f"`{shlex.join(['contrib/bench/padding_month.py', *sys.argv[1:]])}`"
    yield ""
    floor = f"floor {padding.floor_bytes // KIB} KiB"
    yield f"{len(month)} sessions, padding {padding.mode}, {floor}, seed {options.seed}; sizes in MB."
    yield "A session in which nothing changed stores the floor, whatever it needs: that is what hides it."
    yield ""
    yield "| sessions | number | needed, T | stored, V | V / T | heads | V with `none` |"
    yield "|---|---|---|---|---|---|---|"
    yield row("something changed", busy)
    yield row("nothing changed", idle)
    yield row("merging of tables", extra)
    yield row("the month", [*busy, *idle, *extra])
    yield row("the first backup, not in the month", [stored[number] for number in first.heads])
    yield ""
    yield from spread("something changed", busy, lambda item: item.volume_bytes / max(item.needed_bytes, 1))
    yield from spread("something changed, KiB needed", busy, lambda item: item.needed_bytes / KIB)
    yield from spread("nothing changed, KiB needed", idle, lambda item: item.needed_bytes / KIB)
    yield ""
    yield "| V, KiB | sessions |"
    yield "|---|---|"
    buckets = Counter(item.volume_bytes for _, item in own)
    yield from (f"| {volume // KIB:,} | {count} |" for volume, count in sorted(buckets.items()))


def row(name: str, items: Sequence[Stored]) -> str:
    needed, volume = (sum(item.needed_bytes for item in items), sum(item.volume_bytes for item in items))
    unpadded = sum(Padding("none").bucket(item.needed_bytes) for item in items)
    heads = len(items) * HEAD_SIZE_BYTES
    sizes = f"{mb(needed)} | {mb(volume)} | {volume / max(needed, 1):.3f} | {mb(heads)} | {mb(unpadded)}"
    return f"| {name} | {len(items)} | {sizes} |"


def mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f}"


def spread(name: str, items: Sequence[Stored], value: Callable[[Stored], float]) -> Iterator[str]:
    """Least, quartiles, nine tenths and most."""
    values = sorted(map(value, items))
    if not values:
        return
    tenths = statistics.quantiles(values, n=10, method="inclusive") if len(values) > 1 else values * 9
    middle = statistics.median(values)
    yield (
        f"{name}: least {values[0]:.3f}, median {middle:.3f}, "
        f"nine of ten at most {tenths[-1]:.3f}, most {values[-1]:.3f}."
    )
    yield ""


if __name__ == "__main__":
    sys.exit(main())
