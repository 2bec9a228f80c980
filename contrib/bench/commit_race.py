"""Lets many clients commit at once through the program's own loop, and counts requests and who gives up.

    python contrib/bench/commit_race.py --clients 200 --within-s 60

The storage is a dictionary that takes about as long for an answer as a bucket far away; what is committed is
nothing, because only the race is of interest.  Prints a row of Markdown for docs/scaling.md.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from bitbacker.errors import ObjectExists, RaceLost
from bitbacker.format.head import Head
from bitbacker.repo.commit import commit
from bitbacker.repo.heads import SeenHead
from bitbacker.repo.open import Repository

FIRST = SeenHead(Head(1, bytes(32), 0, bytes(16), 0, 0, 0, (), ()), bytes(32))


@dataclass
class Bucket:
    """Holds heads; every request takes `answer_s`, more or less a third."""

    answer_s: float
    heads: dict[int, SeenHead] = field(default_factory=lambda: {1: FIRST})
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """One request."""
        with self.lock:
            self.requests += 1
        time.sleep(random.uniform(2 / 3, 4 / 3) * self.answer_s)  # noqa: S311  # no secret

    def take(self, seen: SeenHead) -> bool:
        """Whether the number of this head was free."""
        with self.lock:
            return self.heads.setdefault(seen.head.number, seen) is seen

    def newest(self) -> SeenHead:
        with self.lock:
            return self.heads[max(self.heads)]


class Heads:
    """What a client does with heads: the requests of `bitbacker.repo.heads`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._held = FIRST

    def newest(self) -> SeenHead:
        """A listing, and a get when it names a head that is not held."""
        self._bucket.wait()
        newest = self._bucket.newest()
        if newest is not self._held:
            self._bucket.wait()
            self._held = newest
        return newest

    def put(self, head: Head) -> SeenHead:
        """A put, and when it came too late a get, to see whether it was one's own."""
        self._bucket.wait()
        seen = SeenHead(head, head.writer * 2)
        if not self._bucket.take(seen):
            self._bucket.wait()
            raise ObjectExists(f"head {head.number}")
        self._held = seen
        return seen

    def acknowledge(self, seen: SeenHead) -> None:
        """Nothing is remembered."""


class Nothing:
    """A change that changes nothing, and so is always in what follows."""

    def check(self, base: Head, newest: Head) -> None:
        """It relies on nothing."""

    def apply(self, newest: Head) -> Head:
        return newest

    def holds(self, newest: Head) -> bool:
        return newest.number > 1


def race(clients: int, within_s: float, bucket: Bucket) -> int:
    """How many clients gave up, each having begun at some moment within so many seconds."""
    gave_up: list[Any] = []

    def client() -> None:
        time.sleep(random.uniform(0, within_s))  # noqa: S311  # no secret
        repository = cast("Repository", SimpleNamespace(heads=Heads(bucket)))
        try:
            commit(repository, FIRST.head, Nothing())
        except RaceLost as error:
            gave_up.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(gave_up)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--within-s", type=float, default=0, help="when they begin: from now to then")
    parser.add_argument("--answer-s", type=float, default=0.05, help="what a request takes (%(default)s)")
    options = parser.parse_args()
    bucket = Bucket(options.answer_s)
    started = time.monotonic()
    gave_up = race(options.clients, options.within_s, bucket)
    within = f"{options.within_s:g} s" if options.within_s else "one instant"
    each = bucket.requests / options.clients
    print(f"| {options.clients} | {within} | {gave_up} | {each:.0f} | {time.monotonic() - started:.1f} s |")


if __name__ == "__main__":
    main()
