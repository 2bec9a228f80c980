"""Compares the chunkers `gear` and `toeplitz-aes`: their speed, the sizes they cut, and what is found again.

Prints Markdown.  Speed is measured on random bytes; sizes and dedup on what is named: files, folders (as
the tar of their files, by name and without times) and archives of one of tar's compressions (unpacked).

    python contrib/bench/chunkers.py
    python contrib/bench/chunkers.py --stream /usr/bin --pair old.tar.gz new.tar.gz
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import hashlib
import io
import lzma
import os
import platform
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from bitbacker.spi import Chunker
from bitbacker_plugins.fixed import FixedChunker, FixedConfig
from bitbacker_plugins.gear import GearChunker, GearConfig
from bitbacker_plugins.gear.toeplitz import ToeplitzAesChunker, ToeplitzAesConfig
from bitbacker_plugins.gear.toeplitz.rule import Rule, rule_of

KEY_BYTES = 32
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}


@dataclass(frozen=True)
class Contender:
    """A chunker with a configuration; the key is still to come."""

    name: str
    make: Callable[[bytes], Chunker]


@dataclass(frozen=True)
class Cuts:
    """What one chunker made of one stream."""

    sizes: list[int]
    digests: list[bytes]
    max_size_bytes: int

    @property
    def forced_share(self) -> float:
        """How many of the chunks end only because they must."""
        return sum(size == self.max_size_bytes for size in self.sizes) / len(self.sizes)

    def new_bytes(self, known: set[bytes]) -> int:
        """The bytes of the chunks that are not `known`, each counted once."""
        sizes = dict(zip(self.digests, self.sizes, strict=True))
        return sum(size for digest, size in sizes.items() if digest not in known)


def contenders(average_bytes: int) -> list[Contender]:
    """Both chunkers with their defaults scaled to this average, `toeplitz-aes` also with gear's sizes."""
    quarter, half, large = average_bytes // 4, average_bytes // 2, 4 * average_bytes
    gear = GearConfig(quarter, average_bytes, large)
    own, as_gear = (ToeplitzAesConfig(least, average_bytes, large) for least in (half, quarter))
    return [
        Contender("`gear`", lambda key: GearChunker(gear, key)),
        Contender("`toeplitz-aes`", lambda key: ToeplitzAesChunker(own, key)),
        Contender("`toeplitz-aes`, sizes of `gear`", lambda key: ToeplitzAesChunker(as_gear, key)),
        Contender("`fixed` (control)", lambda key: FixedChunker(FixedConfig(average_bytes), key)),
    ]


def read_stream(path: Path) -> bytes:
    """The bytes that a path stands for."""
    if path.is_dir():
        return tar_of(path)
    data = path.read_bytes()
    return UNPACK[path.suffix](data) if path.suffix in UNPACK else data


def tar_of(folder: Path) -> bytes:
    """Regular files only, sorted by name, with nothing but name and size in their headers."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
            header = tarfile.TarInfo(str(file.relative_to(folder)))
            header.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(header, content)
    return packed.getvalue()


def cut(chunker: Chunker, data: bytes) -> Cuts:
    """All chunks of a stream."""
    view = memoryview(data)
    ends = [0, *chunker.cut(view, final=True)]
    sizes = [end - start for start, end in pairwise(ends)]
    digests = [hashlib.blake2b(view[start:end], digest_size=16).digest() for start, end in pairwise(ends)]
    return Cuts(sizes, digests, chunker.max_size_bytes)


@dataclass
class Race:
    """One way to cut random bytes, and how fast it was in each round, in MB/s."""

    name: str
    work: Callable[[memoryview], object]
    data: memoryview
    speeds: list[float]

    def run(self) -> None:
        """Cut once more.  Time of this thread is what counts, so that others on the machine do less harm."""
        started = time.thread_time()
        self.work(self.data)
        self.speeds.append(len(self.data) / 1e6 / (time.thread_time() - started))


def races(data: memoryview, average_bytes: int) -> Iterator[Race]:
    """Both chunkers, `gear` first, and then the slower paths of `toeplitz-aes` that this machine has."""
    key = os.urandom(KEY_BYTES)
    for contender in contenders(average_bytes)[:3]:
        yield Race(contender.name, partial(contender.make(key).cut, final=True), data, [])
    try:
        from bitbacker_plugins.gear._scan import cut_toeplitz, paths
    except ImportError:
        return
    rule = rule_of(ToeplitzAesConfig(average_bytes // 2, average_bytes, 4 * average_bytes), key)
    for path in paths()[1:]:
        work = partial(cut_by_path, cut_toeplitz, rule, path)
        # The portable path is slow enough to be measured on less.
        yield Race(f"`toeplitz-aes`, {path}", work, data[: 8 << 20] if path == "portable" else data, [])


def cut_by_path(scan: Callable[..., object], rule: Rule, path: str, data: memoryview) -> object:
    return scan(data, rule, True, path)


def print_speed(size_mib: int, rounds: int, average_bytes: int) -> None:
    """Race all ways against each other: they take turns, and swap their order every round."""
    runners = list(races(memoryview(os.urandom(size_mib << 20)), average_bytes))
    for turn in range(rounds):
        for runner in runners if turn % 2 else reversed(runners):
            runner.run()
    print(f"\n{size_mib} MiB of random bytes, {rounds} rounds; {GearChunker.implementation} for `gear`, ")
    print(f"{ToeplitzAesChunker.implementation} for `toeplitz-aes` where no path is named.\n")
    print("| chunker | MB/s, median | lowest | highest | median to that of `gear` |")
    print("| --- | --- | --- | --- | --- |")
    base = statistics.median(runners[0].speeds)
    for runner in runners:
        middle, low, high = statistics.median(runner.speeds), min(runner.speeds), max(runner.speeds)
        print(f"| {runner.name} | {middle:.0f} | {low:.0f} | {high:.0f} | {middle / base:.2f} |")


def keys(count: int) -> list[bytes]:
    """The same in every run, so that sizes and dedup can be measured again."""
    return [hashlib.blake2b(bytes([number]), digest_size=KEY_BYTES).digest() for number in range(count)]


def print_sizes(path: Path, key_count: int, average_bytes: int) -> None:
    """What the sizes of the chunks of one stream are, over a few keys together."""
    data = read_stream(path)
    print(f"\nSizes in KiB, {path.name}, {len(data)} bytes, {key_count} keys:\n")
    print("| chunker | chunks per key | mean | p10 | p50 | p90 | forced by the maximum | found twice |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for contender in contenders(average_bytes):
        cuts = [cut(contender.make(key), data) for key in keys(key_count)]
        # The last chunk of a stream says how long the stream is, not how the chunker cuts.
        sizes = [size / 1024 for one in cuts for size in one.sizes[:-1]]
        tenths = statistics.quantiles(sizes, n=10, method="inclusive")
        forced = statistics.mean(one.forced_share for one in cuts)
        twice = 1 - statistics.mean(one.new_bytes(set()) for one in cuts) / len(data)
        print(
            f"| {contender.name} | {len(sizes) / key_count + 1:.0f} | {statistics.mean(sizes):.1f} "
            f"| {tenths[0]:.1f} | {tenths[4]:.1f} | {tenths[8]:.1f} | {forced:.2%} | {twice:.2%} |"
        )


def print_pair(old_path: Path, new_path: Path, key_count: int, average_bytes: int) -> None:
    """How much of a new version is found in the old one, over a few keys."""
    old, new = read_stream(old_path), read_stream(new_path)
    print(
        f"\n{new_path.name}, {len(new)} bytes, after {old_path.name}, {len(old)} bytes, {key_count} keys:\n"
    )
    print("| chunker | stored anew, mean over keys | lowest | highest |")
    print("| --- | --- | --- | --- |")
    for contender in contenders(average_bytes):
        shares = []
        for key in keys(key_count):
            chunker = contender.make(key)
            known = set(cut(chunker, old).digests)
            shares.append(cut(chunker, new).new_bytes(known) / len(new))
        print(f"| {contender.name} | {statistics.mean(shares):.2%} | {min(shares):.2%} | {max(shares):.2%} |")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--average-kib", type=int, default=512, help="average size of the chunks")
    parser.add_argument("--speed-mib", type=int, default=64, help="random bytes to cut; 0 for no race")
    parser.add_argument("--rounds", type=int, default=11, help="rounds of the race")
    parser.add_argument("--keys", type=int, default=5, help="keys to try for sizes and dedup")
    parser.add_argument("--stream", type=Path, action="append", default=[], help="what to measure sizes on")
    parser.add_argument(
        "--pair", type=Path, nargs=2, action="append", default=[], help="two versions of the same"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    average_bytes = options.average_kib << 10
    print(f"{platform.machine()}, Python {platform.python_version()}, average of {options.average_kib} KiB.")
    if options.speed_mib:
        print_speed(options.speed_mib, options.rounds, average_bytes)
    for path in options.stream:
        print_sizes(path, options.keys, average_bytes)
    for old, new in options.pair:
        print_pair(old, new, options.keys, average_bytes)


if __name__ == "__main__":
    main()
