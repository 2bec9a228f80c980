"""Cold equals warm: deleting cache and state between runs changes nothing but the bytes fetched."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitbacker.engine.backup import BackupOptions, backup
from bitbacker.engine.observe import SilentObserver
from bitbacker.format.catalog import Snapshot
from bitbacker.format.root import TableRef
from bitbacker.format.rows import as_rows
from bitbacker.repo import compact, rungs, session, tips
from bitbacker.repo.open import Repository
from bitbacker.spi import Listing, Located, OnProblem
from bitbacker.testing.faults import RecordingTransport
from bitbacker_plugins.files import FilesConfig, FilesSource
from lab import Found, Lab, contents, tree

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


class OwnTree(FilesSource):
    """A root whose parents, in which others work meanwhile, always look the same."""

    def walk(self, on_problem: OnProblem) -> Iterator[Listing]:
        return map(self._still, super().walk(on_problem))

    def revisit(self, paths: Sequence[bytes], on_problem: OnProblem) -> Iterator[Listing]:
        return map(self._still, super().revisit(paths, on_problem))

    def _still(self, listing: Listing) -> Listing:
        if listing.path.startswith(os.fsencode(self.roots()[0])[1:]):
            return listing
        rows = as_rows(listing.rows).copy()
        rows["mtime_ns"] = rows["ctime_ns"] = 0
        return Listing(listing.path, listing.names, rows.tobytes())


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

    def back_up(self, root: Path) -> Snapshot:
        self.recorder.clear()
        self._time_ns += 10**9
        options = BackupOptions("host", "source", (), self._time_ns, "test")
        source = OwnTree(FilesConfig(paths=(Located(str(root)),)))
        try:
            return backup(self.lab.client(), source, options, SilentObserver()).snapshot
        finally:
            source.close()

    @property
    def stored(self) -> list[tuple[str, int]]:
        """What the last run put, in order: kind and size."""
        puts = [operation for operation in self.recorder.log if operation.kind == "put"]
        return [(put.name.partition("/")[0], put.size_bytes) for put in puts]


def change(root: Path, rng: random.Random) -> None:
    """A few random changes of a tree."""
    for _ in range(rng.choice((0, 0, 1, 3, 40))):
        files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
        name = f"{rng.randrange(10**6)}"
        match rng.randrange(8):
            case 0 | 1:
                (rng.choice(folders) / name).write_bytes(rng.randbytes(rng.choice((0, 10, 5_000, 300_000))))
            case 2 if files:
                rng.choice(files).write_bytes(rng.randbytes(rng.choice((1, 4_000, 200_000))))
            case 3 if files:
                rng.choice(files).unlink()
            case 4:
                (rng.choice(folders) / f"d{name}").mkdir()
            case 5:
                (rng.choice(folders) / f"l{name}").symlink_to(name)
            case 6 if len(folders) > 1:
                folder = rng.choice(folders[1:])
                folder.rename(root / f"m{name}")
            case 7 if files:
                path = rng.choice(files)
                os.utime(path, ns=(0, rng.randrange(10**18)))
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
    for _ in range(STEPS):
        change(root, rng)
        time.sleep(0.06)
        if rng.random() < 0.7:
            cold.forget()
            forgotten += 1
        expected, actual = warm.back_up(root), cold.back_up(root)
        assert warm.stored == cold.stored
        readers = warm.lab.client("reader"), cold.lab.client("reader")
        assert len(expected.tables) == len(actual.tables)
        for one, two in zip(expected.tables, actual.tables, strict=True):
            assert table_of(readers[0], one) == table_of(readers[1], two)
    assert forgotten > STEPS / 3
    assert below(root, tree(root)) == below(root, contents(readers[1], actual))
    snapshots = [reader.catalog(reader.newest()).snapshots for reader in readers]
    assert STEPS == len(snapshots[0])
    for first, second in zip(*snapshots, strict=True):
        assert below(root, contents(readers[0], first)) == below(root, contents(readers[1], second))


def below(root: Path, found: dict[bytes, Found]) -> dict[bytes, Found]:
    prefix = os.fsencode(root)[1:]
    return {path: entry for path, entry in found.items() if path.startswith(prefix)}
