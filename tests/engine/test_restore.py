"""What was backed up comes back, bit for bit; what cannot is named, and nothing else is missing."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nasty_tree
from bitbacker.engine.restore import execute_restore
from bitbacker.engine.restore_content import locate_chunks, order_chunks
from bitbacker.engine.restore_entries import Collector
from bitbacker.engine.restore_plan import RestoreOptions, plan_restore
from bitbacker.errors import DamageError, PathUnknown, StorageDenied, StorageError
from bitbacker.format.block import BlockKind
from bitbacker.format.catalog import Owner
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ, Directory
from bitbacker.format.extras import EntryExtras, ExtentRef
from bitbacker.format.index import IDS_DTYPE, LOCATION_DTYPE
from bitbacker.format.rows import ROW_DTYPE
from bitbacker.repo.index import ChunkIndex, IndexTable, halves
from bitbacker.repo.open import Repository
from bitbacker.spi import NoConfig
from bitbacker.testing.faults import Operation, RecordingTransport, WrappedTransport
from bitbacker_plugins.memory import MemoryTransport
from compare_trees import differences
from restore_rig import CHUNK_BYTES, Planted, Told, back_up, new_repository, plant, restore

DIRECTORY = stat.S_IFDIR | 0o755


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "repository")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree: two directories, files in both, one of several chunks."""
    root = tmp_path / "tree"
    for folder in ("a/b", "c"):
        (root / folder).mkdir(parents=True)
    (root / "a/large").write_bytes(random.Random(1).randbytes(3 * CHUNK_BYTES + 1))
    (root / "a/b/small").write_bytes(b"small")
    (root / "a/b/link").symlink_to("small")
    (root / "c/other").write_bytes(b"other")
    os.link(root / "a/b/small", root / "c/second-name")
    return root


def below(target: Path, path: Path) -> Path:
    """Where a path is restored to."""
    return target / path.relative_to("/")


def files_of(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    }


def test_a_tree_with_everything_in_it_comes_back_as_it_was(
    tmp_path: Path, repository: Repository, seed: int
) -> None:
    (tmp_path / "tree").mkdir()
    made = nasty_tree.make(tmp_path / "tree", seed)
    if made.left_out:
        print("left out of the tree:", *made.left_out, sep="\n")
    told = Told()
    try:
        snapshot = back_up(repository, tmp_path / "tree")
        restore(repository, snapshot, tmp_path / "target", told=told)
        found = differences(
            tmp_path / "tree", below(tmp_path / "target", tmp_path / "tree"), ignore_sockets=True
        )
        assert found == []
        assert told.problems == []
    finally:
        nasty_tree.destroy(tmp_path / "tree")
        nasty_tree.destroy(tmp_path / "target")


def test_the_plan_says_what_the_restore_does(tmp_path: Path, repository: Repository, tree: Path) -> None:
    plan = plan_restore(repository, back_up(repository, tree), (), tmp_path / "target", RestoreOptions())
    depth = len(tree.parts) - 1
    expected = (4, depth + 3, 1, 3 * CHUNK_BYTES + 1 + 10, 0, 1)
    assert expected == (
        *(plan.files, plan.directories, plan.others),
        *(plan.size_bytes, plan.skipped, plan.segments),
    )
    assert not (tmp_path / "target").exists()
    told = Told()
    result = execute_restore(repository, plan, told)
    assert (result.files, result.bytes, result.skipped, result.problems) == (4, plan.size_bytes, 0, 0)
    assert told.expectations == [(4, plan.size_bytes)]
    assert told.progresses


def test_a_directory_is_restored_with_all_below_it_and_the_way_to_it(
    tmp_path: Path, repository: Repository, tree: Path
) -> None:
    os.chmod(tree / "a", 0o711)
    os.utime(tree / "a", ns=(5, 5))
    snapshot = back_up(repository, tree)
    restore(repository, snapshot, tmp_path / "target", os.fsencode(tree / "a/b"))
    top = below(tmp_path / "target", tree)
    assert files_of(tmp_path / "target") == {
        str(below(Path(), tree) / name) for name in ("a/b/link", "a/b/small")
    }
    status = os.stat(top / "a")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o711, 5)


def test_one_name_of_a_file_with_two_is_restored_as_a_file(
    tmp_path: Path, repository: Repository, tree: Path
) -> None:
    snapshot = back_up(repository, tree)
    restore(repository, snapshot, tmp_path / "target", os.fsencode(tree / "c/second-name"))
    assert below(tmp_path / "target", tree / "c/second-name").read_bytes() == b"small"


def test_files_that_had_one_inode_after_one_another_keep_their_own_content(
    tmp_path: Path, repository: Repository
) -> None:
    files = [
        Planted(b"a", chunks=(b"first",), nlink=2, inode=7),
        Planted(b"b", chunks=(b"other",), nlink=2, inode=7, mtime_ns=5),
        Planted(b"c", chunks=(b"first",), nlink=2, inode=7),
    ]
    restore(repository, plant(repository, [(b"", files)]), tmp_path / "target")
    contents = [(tmp_path / "target" / name).read_bytes() for name in "abc"]
    assert contents == [b"first", b"other", b"first"]
    assert (tmp_path / "target/a").samefile(tmp_path / "target/c")


def test_several_paths_are_restored_once_even_when_one_holds_the_other(
    tmp_path: Path, repository: Repository, tree: Path
) -> None:
    paths = [os.fsencode(tree / name) + b"/" for name in ("a/b", "a", "c/other")]
    result = restore(repository, back_up(repository, tree), tmp_path / "target", *paths)
    assert result.files == 3
    top = below(tmp_path / "target", tree)
    assert files_of(top) == {"a/large", "a/b/small", "a/b/link", "c/other"}


@pytest.mark.parametrize("path", [b"nowhere", b"a/nowhere", b"a/large/below-a-file", b"c/oth", b"c/other2"])
def test_a_path_that_is_not_there_is_refused_before_anything_is_written(
    tmp_path: Path, repository: Repository, tree: Path, path: bytes
) -> None:
    snapshot = back_up(repository, tree)
    paths = (os.fsencode(tree / "c"), os.fsencode(tree) + b"/" + path)
    with pytest.raises(PathUnknown, match=os.fsdecode(path)):
        restore(repository, snapshot, tmp_path / "target", *paths)
    assert not (tmp_path / "target").exists()


def test_a_path_of_a_sibling_with_the_same_beginning_is_not_restored(
    tmp_path: Path, repository: Repository
) -> None:
    names = [b"a", b"a-b", b"ab"]
    snapshot = plant(
        repository,
        [
            (b"", [Planted(name, DIRECTORY) for name in names]),
            *((name, [Planted(b"file", chunks=(name,))]) for name in [b"a", b"a-b", b"ab"]),
        ],
    )
    restore(repository, snapshot, tmp_path / "target", b"a")
    assert files_of(tmp_path / "target") == {"a/file"}


def test_owners_are_found_by_name_first(tmp_path: Path, repository: Repository) -> None:
    files = [Planted(b"%d" % number, uid=number, gid=number) for number in (77, 4242, 4243)]
    snapshot = plant(repository, [(b"", sorted(files, key=lambda file: file.name))])
    users = (Owner(77, "nobody-has-this-name"), Owner(4242, "root"))
    snapshot = replace(snapshot, users=users, groups=(Owner(4243, "root"),))
    plan = plan_restore(repository, snapshot, (), tmp_path / "target", RestoreOptions())
    owners = dict(zip(["4242", "4243", "77"], plan.entries.rows[["uid", "gid"]].tolist(), strict=True))
    assert owners == {"4242": (0, 4242), "4243": (4243, 0), "77": (77, 77)}


def test_a_file_that_changed_while_it_was_read_is_restored_with_a_note(
    tmp_path: Path, repository: Repository
) -> None:
    torn = Planted(b"torn", chunks=(b"what was read",), size=5, mark=MARK_CHANGED_WHILE_READ)
    told = Told()
    restore(repository, plant(repository, [(b"", [torn])]), tmp_path / "target", told=told)
    assert (tmp_path / "target/torn").read_bytes() == b"what was read"
    assert told.notes == ["/torn: was being written while it was backed up"]
    assert told.problems == []


def test_an_empty_snapshot_is_an_empty_directory(tmp_path: Path, repository: Repository) -> None:
    result = restore(repository, plant(repository, [(b"", [])]), tmp_path / "target")
    assert (result.files, os.listdir(tmp_path / "target")) == (0, [])


def test_sockets_are_counted_in_a_note(tmp_path: Path, repository: Repository) -> None:
    told = Told()
    sockets = [Planted(name, stat.S_IFSOCK | 0o600) for name in (b"a", b"b")]
    restore(repository, plant(repository, [(b"", sockets)]), tmp_path / "target", told=told)
    assert os.listdir(tmp_path / "target") == []
    assert [note.rpartition(" ")[2] for note in told.notes] == ["2"]


def test_a_chunk_that_spans_holes_goes_to_its_places(tmp_path: Path, repository: Repository) -> None:
    extents = (ExtentRef(0, 3), ExtentRef(10, 2), ExtentRef(1_000_000, 5))
    sparse = Planted(b"sparse", chunks=(b"abcde", b"fghij"), size=2_000_000, extras=EntryExtras((), extents))
    restore(repository, plant(repository, [(b"", [sparse])]), tmp_path / "target")
    expected = bytearray(2_000_000)
    expected[0:3], expected[10:12], expected[1_000_000:1_000_005] = b"abc", b"de", b"fghij"
    assert (tmp_path / "target/sparse").read_bytes() == bytes(expected)
    assert os.stat(tmp_path / "target/sparse").st_blocks * 512 < 1_000_000


def test_a_chunk_that_many_files_share_is_written_to_all(tmp_path: Path, repository: Repository) -> None:
    shared, own = b"s" * CHUNK_BYTES, b"o" * CHUNK_BYTES
    files = [Planted(b"%02d" % number, chunks=(own, shared, shared)[number % 3 :]) for number in range(30)]
    restore(repository, plant(repository, [(b"", files)]), tmp_path / "target")
    contents = {(tmp_path / f"target/{number:02}").read_bytes() for number in range(0, 30, 3)}
    assert contents == {own + shared + shared}
    assert (tmp_path / "target/29").read_bytes() == shared


def random_tree(root: Path, seed: int) -> None:
    """Enough for several segments that hold nothing but data."""
    rng = random.Random(seed)
    for number in range(60):
        folder = root / f"{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(rng.randbytes(rng.choice([10, 5_000, 300_000, 600_000])))


def test_every_segment_is_fetched_once(tmp_path: Path, seed: int) -> None:
    transport = RecordingTransport(MemoryTransport(f"memory://once-{seed}", NoConfig()))
    repository = new_repository(tmp_path / "repository", transport)
    random_tree(tmp_path / "tree", seed)
    snapshot = back_up(repository, tmp_path / "tree")
    plan = plan_restore(repository, snapshot, (), tmp_path / "target", RestoreOptions())
    before = len(transport.log)
    execute_restore(repository, plan, Told())
    fetched = [operation.name for operation in transport.log[before:]]
    assert len(fetched) == len(set(fetched)) == plan.segments > 2


def segments_of_data_only(repository: Repository) -> Iterator[bytes]:
    for identity in repository.catalog(repository.newest()).live:
        contents = repository.segments.fetch(identity).contents
        if {info.kind for info in contents} == {BlockKind.DATA}:
            yield identity


def files_in_segment(repository: Repository, root: Path, identity: bytes) -> set[str]:
    """Which files have a chunk in a segment, found without index, snapshot or plan."""
    ids = b"".join(bytes(info.chunk_ids) for info in repository.segments.fetch(identity).contents)
    there = {ids[at : at + 16] for at in range(0, len(ids), 16)}
    found = set()
    for path in root.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        chunks = (data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))
        if any(repository.keys.chunk_identity(chunk) in there for chunk in chunks):
            found.add(str(path.relative_to(root)))
    return found


@pytest.mark.parametrize("damage", ["missing", "altered", "short"])
def test_damage_of_one_segment_costs_exactly_its_files(tmp_path: Path, seed: int, damage: str) -> None:
    transport = MemoryTransport(f"memory://damage-{damage}-{seed}", NoConfig())
    repository = new_repository(tmp_path / "repository", transport)
    tree = tmp_path / "tree"
    random_tree(tree, seed)
    snapshot = back_up(repository, tree)
    victim = next(segments_of_data_only(repository))
    lost = files_in_segment(repository, tree, victim)
    name = f"segments/{victim.hex()}"
    data = bytearray(transport.get(name))
    transport.delete([name])
    if damage != "missing":
        data[len(data) // 2] ^= 1
        transport.put(name, data if damage == "altered" else data[:1000])
    told = Told()
    with pytest.raises(DamageError, match=f"{len(lost)} entr"):
        restore(repository, snapshot, tmp_path / "target", told=told)
    restored = below(tmp_path / "target", tree)
    prefix = os.fsencode(tree.relative_to("/")) + b"/"
    assert {os.fsdecode(path.removeprefix(prefix)) for path, _ in told.problems} == lost
    assert files_of(restored) == files_of(tree) - lost
    assert all((restored / path).read_bytes() == (tree / path).read_bytes() for path in files_of(restored))
    assert 0 < len(lost) < 60


def test_losses_after_a_prune_that_ran_meanwhile_name_the_way_out(tmp_path: Path, seed: int) -> None:
    transport = MemoryTransport(f"memory://pruned-{seed}", NoConfig())
    repository = new_repository(tmp_path / "repository", transport)
    random_tree(tmp_path / "tree", seed)
    snapshot = back_up(repository, tmp_path / "tree")
    plan = plan_restore(repository, snapshot, (), tmp_path / "target", RestoreOptions())
    transport.delete([f"segments/{next(segments_of_data_only(repository)).hex()}"])
    with pytest.raises(DamageError) as undisturbed:
        execute_restore(repository, plan, Told())
    before = replace(plan, prunes=plan.prunes - 1, target=tmp_path / "other")
    with pytest.raises(DamageError) as disturbed:
        execute_restore(repository, before, Told())
    assert "--resume" not in undisturbed.value.hint
    assert "--resume" in disturbed.value.hint


def test_each_snapshot_of_a_changing_tree_comes_back_as_it_was_then(
    tmp_path: Path, repository: Repository, tree: Path
) -> None:
    first = back_up(repository, tree)
    shutil.copytree(tree, tmp_path / "before", symlinks=True)
    (tree / "a/b/small").unlink()
    (tree / "c/new").write_bytes(b"new")
    (tree / "a/large").write_bytes(b"small now")
    shutil.rmtree(tree / "a/b")
    second = back_up(repository, tree)
    assert len(second.tables) > len(first.tables)
    restore(repository, first, tmp_path / "first")
    restore(repository, second, tmp_path / "second")
    assert differences(tree, below(tmp_path / "second", tree)) == []
    then = below(tmp_path / "first", tree)
    assert files_of(then) == files_of(tmp_path / "before")
    assert (then / "a/large").read_bytes() == (tmp_path / "before/a/large").read_bytes()
    assert (then / "c/second-name").samefile(then / "a/b/small")


def test_a_chunk_that_is_not_what_its_id_says_is_not_written(tmp_path: Path, repository: Repository) -> None:
    files = [
        Planted(b"a", chunks=(b"good", b"evil?"), stored=(b"good", b"EVIL!")),
        Planted(b"b", chunks=(b"one", b"two")),
        Planted(b"c", chunks=(b"good",), nlink=2, inode=3),
        Planted(b"d", chunks=(b"single",), nlink=2, inode=4, stored=(b"SINGLE",)),
        Planted(b"e", chunks=(b"single",), nlink=2, inode=4),
    ]
    told = Told()
    with pytest.raises(DamageError, match="3 entries"):
        restore(repository, plant(repository, [(b"", files)]), tmp_path / "target", told=told)
    assert {path for path, _ in told.problems} == {b"a", b"d", b"e"}
    assert sorted(os.listdir(tmp_path / "target")) == ["b", "c"]


def test_a_chunk_that_no_index_knows_costs_its_file(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = plant(repository, [(b"", [Planted(b"a", chunks=(b"gone",)), Planted(b"b", chunks=(b"b",))])])
    gone = repository.keys.chunk_identity(b"gone")
    real = ChunkIndex.locate

    def without(index: ChunkIndex, ids: bytes) -> np.ndarray:
        found = real(index, ids)
        for at in range(len(found)):
            if ids[16 * at : 16 * at + 16] == gone:
                found[at] = (0xFFFFFFFF, 0, 0, 0)
        return found

    monkeypatch.setattr(ChunkIndex, "locate", without)
    plan = plan_restore(repository, snapshot, (), tmp_path / "target", RestoreOptions())
    assert [loss.path for loss in plan.losses] == [b"a"]
    with pytest.raises(DamageError, match="1 entry"):
        execute_restore(repository, plan, Told())
    assert os.listdir(tmp_path / "target") == ["b"]


class Denying(WrappedTransport):
    """Answers until told not to."""

    denies = False

    def around(self, operation: Operation, proceed: object) -> object:
        if self.denies:
            raise StorageDenied(f"no {operation.kind} today")
        assert callable(proceed)
        return proceed()


def test_a_storage_that_does_not_answer_ends_the_restore_which_can_be_continued(
    tmp_path: Path, repository: Repository, tree: Path
) -> None:
    transport = Denying(MemoryTransport(f"memory://denying-{tmp_path.name}", NoConfig()))
    repository = new_repository(tmp_path / "other", transport)
    snapshot = back_up(repository, tree)
    plan = plan_restore(repository, snapshot, (), tmp_path / "target", RestoreOptions())
    transport.denies = True
    with pytest.raises(StorageError, match="no get today"):
        execute_restore(repository, plan, Told())
    transport.denies = False
    restore(repository, snapshot, tmp_path / "target", resume=True)
    assert differences(tree, below(tmp_path / "target", tree)) == []


def test_a_plan_takes_few_bytes_an_entry() -> None:
    entries, per_directory = 200_000, 500
    rng = np.random.default_rng(1)
    ids = np.sort(
        rng.integers(0, 2**63, (entries, 2)).astype(">u8").view(IDS_DTYPE).ravel(), order=["high", "low"]
    )
    locations = np.zeros(entries, LOCATION_DTYPE)
    locations["size"] = 100
    locations["segment"] = np.arange(entries) // 5000
    index = ChunkIndex(
        [IndexTable(*halves(ids), locations, tuple(bytes(16) for _ in range(entries // 5000 + 1)))]
    )
    rows = np.zeros(per_directory, ROW_DTYPE)
    rows["mode"], rows["size_bytes"] = stat.S_IFREG | 0o644, 100
    names = b"\0".join(b"file-%08d.name" % number for number in range(per_directory))
    counts = np.ones(per_directory, np.uint32)
    tracemalloc.start()
    try:
        collector = Collector(lambda *_: None)
        for number in range(entries // per_directory):
            part = ids[number * per_directory : (number + 1) * per_directory].tobytes()
            collector.add(
                Directory(
                    b"%08d" % number,
                    names,
                    rows.tobytes(),
                    bytes(8 * per_directory),
                    bytes(per_directory),
                    counts,
                    part,
                )
            )
        collected = collector.entries()
        chunks = locate_chunks(collected, index)
        order = order_chunks(chunks, np.ones(entries, np.bool_))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(order.chunks) == entries
    print(f"{held / entries:.0f} bytes an entry, {peak / entries:.0f} at the peak")
    assert held / entries < 170
    assert peak / entries < 300
