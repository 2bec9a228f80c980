"""Cold equals warm: deleting cache and state between runs changes nothing but the bytes fetched."""

from __future__ import annotations

import os
import random
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bitbacker.engine.backup import BackupOptions, BackupResult, backup
from bitbacker.engine.observe import SilentObserver
from bitbacker.format.catalog import Snapshot
from bitbacker.format.root import TableRef
from bitbacker.repo import compact, rungs, session, tips
from bitbacker.repo.open import Repository
from bitbacker.testing.faults import RecordingTransport
from lab import Found, Lab, contents, tree
from troubled_tree import CLOSED, GONE, TroubledTree

STEPS = 45


@dataclass(frozen=True)
class Table:
    """What a table of a snapshot holds of a root, without where it lies."""

    directories: list[tuple[bytes, ...]]
    drops: list[int]


def table_of(client: Repository, ref: TableRef) -> Table:
    directories: list[tuple[bytes, ...]] = []
    drops: list[int] = []
    for page in client.tables.entry_table(ref):
        for one in page.directories():
            columns = (one.names, one.rows, one.fingerprints, one.marks, one.chunk_ids)
            directories.append((one.path, *columns, *one.links))
        drops += page.drops.tolist()
    return Table(directories, drops)


class Ears(SilentObserver):
    """Hears what a user would read on the terminal."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, str]] = []

    def problem(self, path: bytes, text: str) -> None:
        self.heard.append((path, text))

    def note(self, text: str) -> None:
        self.heard.append((b"", text))


@dataclass(frozen=True)
class Told:
    """What a run says of itself: the record without what is random, and what a user sees of it."""

    record: Snapshot
    problems: int
    unchanged: bool
    heard: list[tuple[bytes, str]]


def record_of(snapshot: Snapshot) -> Snapshot:
    """A snapshot without identities, places and durations, which no two runs share."""
    parent = snapshot.parent and bytes(16)
    stats = replace(snapshot.stats, duration_ms=0)
    return replace(snapshot, identity=bytes(16), parent=parent, tables=(), stats=stats)


class Machine:
    """A repository of its own, and a client whose cache and state may be taken away."""

    def __init__(self, folder: Path, lab: Lab | None = None) -> None:
        self._folder = folder
        self.lab = Lab(folder, lab.content if lab else None)
        self.recorder = RecordingTransport(self.lab.transport)
        self.lab.use(self.recorder)
        self.lab.begin()
        self._time_ns = 0

    def forget(self) -> None:
        shutil.rmtree(self._folder / "one", ignore_errors=True)

    def back_up(self, root: Path, *, read_all: bool = False, dry_run: bool = False) -> BackupResult:
        self.recorder.clear()
        self._time_ns += 10**9
        options = BackupOptions("host", "source", (), self._time_ns, "test", 3, read_all, dry_run)
        source = TroubledTree(root)
        self.ears = Ears()
        try:
            return backup(self.lab.client(), source, options, self.ears)
        finally:
            source.close()

    def told(self, result: BackupResult) -> Told:
        return Told(record_of(result.snapshot), result.problems, result.unchanged, self.ears.heard)

    @property
    def stored(self) -> list[tuple[str, int]]:
        """What the last run put, in order: kind and size."""
        puts = [operation for operation in self.recorder.log if operation.kind == "put"]
        return [(put.name.partition("/")[0], put.size_bytes) for put in puts]


SIZES_BYTES = 0, 10, 5_000, 300_000


def change(root: Path, rng: random.Random) -> None:
    """A few random changes of a tree."""
    for _ in range(rng.choice((0, 0, 1, 3, 40))):
        files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
        number = f"{rng.randrange(10**6)}"
        name = rng.choice(("", "", "", "", "gone", "torn")) + number
        match rng.randrange(9):
            case 0 | 1:
                (rng.choice(folders) / name).write_bytes(rng.randbytes(rng.choice(SIZES_BYTES)))
            case 2 if files:
                rng.choice(files).write_bytes(rng.randbytes(rng.choice((1, 4_000, 200_000))))
            case 3 if files:
                rng.choice(files).unlink()
            case 4:
                (rng.choice(folders) / f"d{number}").mkdir()
            case 5:
                (rng.choice(folders) / f"l{number}").symlink_to(name)
            case 6 if len(folders) > 1:
                folder = rng.choice(folders[1:])
                folder.rename(root / f"{rng.choice(('m', 'm', 'closed'))}{number}")
            case 7 if files:
                path = rng.choice(files)
                os.utime(path, ns=(0, rng.randrange(10**18)))
            case 8 if files:
                (rng.choice(folders) / name).hardlink_to(rng.choice(files))
            case _:
                pass


@pytest.fixture
def small_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files are enough to climb every rung, and few commits to compact."""
    monkeypatch.setattr(tips, "PART_CELLS", 13)
    monkeypatch.setattr(rungs, "LIST_MIN_ENTRIES", 5)
    monkeypatch.setattr(rungs, "SKETCH_MIN_ENTRIES", 60)
    monkeypatch.setattr(compact, "TABLES_MAX", 6)
    monkeypatch.setattr(session, "_DROPS_OF_PAGE", 7)


@pytest.mark.usefixtures("small_rungs")
def test_in_random_histories_a_client_that_forgot_everything_stores_the_same(
    tmp_path: Path, rng: random.Random
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    warm = Machine(tmp_path / "warm")
    cold = Machine(tmp_path / "cold", warm.lab)
    forgotten = 0
    parents: tuple[bytes | None, bytes | None] = (None, None)
    for _ in range(STEPS):
        change(root, rng)
        time.sleep(0.06)
        if rng.random() < 0.7:
            cold.forget()
            forgotten += 1
        how = {"read_all": rng.random() < 0.1}
        if rng.random() < 0.2:
            assert_same_told(warm, cold, root, dry_run=True, **how)
        expected, actual = assert_same_told(warm, cold, root, **how)
        assert parents == (expected.parent, actual.parent)
        parents = expected.identity, actual.identity
        assert warm.stored == cold.stored
        readers = warm.lab.client("reader"), cold.lab.client("reader")
        assert len(expected.tables) == len(actual.tables)
        for one, two in zip(expected.tables, actual.tables, strict=True):
            assert table_of(readers[0], one) == table_of(readers[1], two)
    assert forgotten > STEPS / 3
    assert readable(below(root, tree(root))) == readable(below(root, contents(readers[1], actual)))
    snapshots = [reader.catalog(reader.newest()).snapshots for reader in readers]
    assert STEPS == len(snapshots[0])
    for first, second in zip(*snapshots, strict=True):
        assert record_of(first) == record_of(second)
        assert below(root, contents(readers[0], first)) == below(root, contents(readers[1], second))


def assert_same_told(warm: Machine, cold: Machine, root: Path, **how: bool) -> tuple[Snapshot, Snapshot]:
    """Back up with both and compare what they say of it."""
    expected, actual = warm.back_up(root, **how), cold.back_up(root, **how)
    assert warm.told(expected) == cold.told(actual)
    stats = actual.snapshot.stats
    assert stats.files == stats.files_changed + stats.files_unmodified
    return expected.snapshot, actual.snapshot


def readable(found: dict[bytes, Found]) -> dict[bytes, Found]:
    """Without files that are gone, which can be read by another name, and what is closed."""
    return {
        path: entry
        for path, entry in found.items()
        if b"/" + CLOSED not in path.rpartition(b"/")[0] and not path.rpartition(b"/")[2].startswith(GONE)
    }


def below(root: Path, found: dict[bytes, Found]) -> dict[bytes, Found]:
    prefix = os.fsencode(root)[1:]
    return {path: entry for path, entry in found.items() if path.startswith(prefix)}
