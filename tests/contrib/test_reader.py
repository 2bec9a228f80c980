"""What the tool has backed up, the second reader restores, though they share no line of code."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import nasty_tree
from compare_trees import differences
from vectors.generators import sketching

READER = Path(__file__).parents[2] / "contrib/reader/bitbacker_reader.py"
PASSWORD = "correct horse, größer staple"
MIB = 1 << 20


@dataclass
class Lab:
    """A repository, the tree that is backed up into it, and a copy of the tree for each snapshot."""

    top: Path
    copies: dict[str, Path] = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        return self.top / "tree"

    @property
    def repository(self) -> Path:
        return self.top / "repository"

    def tool(self, *arguments: str | Path) -> str:
        command = [sys.executable, "-m", "bitbacker", "-r", f"file://{self.repository}", *arguments]
        done = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)
        assert 0 == done.returncode, done.stderr
        return done.stdout

    def back_up(self) -> str:
        """Back the tree up, keep a copy of it, and return the identity of the snapshot."""
        self.tool("backup", self.tree)
        copy = self.top / f"copy-{len(self.copies)}"
        subprocess.run(["cp", "-a", "--", self.tree, copy], check=True)
        (identity,) = set(listed(self.repository)) - self.copies.keys()
        self.copies[identity] = copy
        return identity


def environment(password: str = PASSWORD) -> dict[str, str]:
    return {**os.environ, "BITBACKER_PASSWORD": password}


def reader(*arguments: str | Path, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, READER, *arguments]
    return subprocess.run(command, env=environment(password), check=False, capture_output=True, text=True)


def listed(repository: Path, *flags: str) -> list[str]:
    """The snapshots that the reader finds, oldest first."""
    done = reader(*flags, "list", repository)
    assert ("", 0) == (done.stderr, done.returncode)
    return [line.split()[0] for line in done.stdout.splitlines()]


def restored(repository: Path, snapshot: str, target: Path, tree: Path, *flags: str) -> Path:
    """Where the reader puts the tree, after it has said that all is well."""
    done = reader(*flags, "restore", repository, snapshot, target)
    assert ("", 0) == (done.stderr, done.returncode)
    return target / tree.relative_to("/")


def reader_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bitbacker_reader", READER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opened(repository: Path) -> Any:
    made = reader_module().Repository(str(repository), PASSWORD.encode(), [])
    made.load()
    return made


def plant(tree: Path, rng: random.Random) -> None:
    for name in ("stays", "goes/deep/er", "moves/below", "empty", "links", "becomes a file"):
        (tree / name).mkdir(parents=True)
    for number in range(300):
        (tree / f"stays/file-{number:03}").write_bytes(rng.randbytes(rng.choice((0, 10, 5000))))
    for name in ("goes/one", "goes/deep/two", "goes/deep/er/three", "moves/a", "moves/below/b"):
        (tree / name).write_bytes(rng.randbytes(100_000))
    # Enough for a prune to find segments that hold little else.
    (tree / "goes/large").write_bytes(rng.randbytes(9 * MIB))
    (tree / "becomes a file/inside").write_bytes(b"inside")
    (tree / "becomes a directory").write_bytes(b"a file")
    (tree / "large").write_bytes(rng.randbytes(5 * MIB))
    (tree / "repeats").write_bytes(b"all of this compresses well\n" * 100_000)
    with (tree / "sparse").open("wb") as file:
        file.truncate(64 * MIB)
        for offset in (0, 20 * MIB, 41 * MIB):
            file.seek(offset)
            file.write(rng.randbytes(100_000))
    with (tree / "all hole").open("wb") as file:
        file.truncate(3 * MIB)
    (tree / os.fsdecode(b"not \xff UTF-8\n")).write_bytes(b"a name of bytes")
    (tree / os.fsdecode(b"stays/dir \xe9")).mkdir()
    (tree / "links/first").write_bytes(rng.randbytes(1000))
    os.link(tree / "links/first", tree / "stays/second")
    os.symlink("../stays", tree / "links/to a directory")
    os.symlink(b"\xff nowhere", os.fsencode(tree / "links/dangling"))
    os.mkfifo(tree / "links/fifo", 0o620)
    (tree / "stays/file-007").chmod(0o4711)
    (tree / "goes").chmod(0o1777)
    try:
        os.setxattr(tree / "large", "user.text", "größe".encode())
        os.setxattr(tree / "stays", "user.empty", b"")
    except OSError as error:
        print(f"without extended attributes: {error.strerror}")


def change(tree: Path, rng: random.Random) -> None:
    """Deletions, a rename, entries that change type, content and metadata."""
    shutil.rmtree(tree / "goes")
    (tree / "moves").rename(tree / "moved")
    shutil.rmtree(tree / "becomes a file")
    (tree / "becomes a file").write_bytes(b"now a file")
    (tree / "becomes a directory").unlink()
    (tree / "becomes a directory").mkdir()
    (tree / "becomes a directory/inside").write_bytes(b"now inside")
    (tree / "stays/file-001").write_bytes(rng.randbytes(6000))
    (tree / "stays/file-002").unlink()
    (tree / "stays/file-003").chmod(0o600)
    (tree / "stays/new").write_bytes(b"new")
    with (tree / "large").open("r+b") as file:
        file.seek(2 * MIB)
        file.write(rng.randbytes(1000))
    (tree / "links/fifo").unlink()


def bring_back(tree: Path, rng: random.Random) -> None:
    """What was gone is there again, what was new is gone."""
    (tree / "goes/deep").mkdir(parents=True)
    (tree / "goes/deep/two").write_bytes(rng.randbytes(500))
    (tree / "stays/file-002").write_bytes(b"back")
    (tree / "stays/new").unlink()
    (tree / "stays/second").unlink()
    (tree / "sparse").unlink()
    os.utime(tree / "stays", ns=(1, 123_456_789_987_654_321))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Four snapshots of a tree that changes."""
    lab, rng = Lab(tmp_path_factory.mktemp("reader")), random.Random(11)
    lab.tool("init")
    plant(lab.tree, rng)
    lab.back_up()
    change(lab.tree, rng)
    lab.back_up()
    bring_back(lab.tree, rng)
    lab.back_up()
    (lab.tree / "stays/file-100").unlink()
    lab.back_up()
    return lab


def test_every_snapshot_is_restored_as_it_was(lab: Lab, tmp_path: Path) -> None:
    for number, (snapshot, copy) in enumerate(lab.copies.items()):
        found = restored(lab.repository, snapshot, tmp_path / str(number), lab.tree)
        assert [] == differences(copy, found)
    # The control: the comparer sees that snapshots differ.
    assert differences(copy, lab.top / "copy-0")


def test_snapshots_lie_over_each_other(lab: Lab) -> None:
    """Else the tests above would not reach section 6.5."""
    repository = opened(lab.repository)
    assert max(len(snapshot.tables) for snapshot in repository.snapshots) > 1


def test_fingerprints_are_what_section_6_3_says(lab: Lab) -> None:
    repository = opened(lab.repository)
    entries = [entry for names in repository.tree(repository.snapshots[-1]).values() for entry in names]
    for entry in entries:
        state = struct.pack("<5I3qQ", *entry[3:12]) + entry.path + b"\0" + entry.target
        state += b"\0\1" if entry.marks & 1 else b""
        digest = hashlib.blake2b(state, key=repository.key(b"stat"), digest_size=8).digest()
        assert int.from_bytes(digest, "little") == entry.fingerprint, entry.path
    assert len(entries) > 300


def by_drops_and_additions(repository: Any, tables: list[Any]) -> Counter[int]:
    """F-6.36: what the tables alone say of the fingerprints, without a look at names."""
    found: Counter[int] = Counter()
    for table in tables:
        pages = list(repository.pages([table], 2))
        dropped = {drop for _, drops in pages for drop in drops}
        found = Counter({number: count for number, count in found.items() if number not in dropped})
        pieces = {
            (entry.directory, entry.name): entry.fingerprint for entries, _ in pages for entry in entries
        }
        found.update(pieces.values())
    return found


def test_the_fingerprints_of_a_snapshot_follow_from_drops_and_additions(lab: Lab) -> None:
    repository = opened(lab.repository)
    for snapshot in repository.snapshots:
        entries = [entry for names in repository.tree(snapshot).values() for entry in names]
        wanted = Counter(entry.fingerprint for entry in entries)
        assert wanted == by_drops_and_additions(repository, snapshot.tables)
    # The control: without the drops the rule says something else.
    every = [entry.fingerprint for entries, _ in repository.pages(snapshot.tables, 2) for entry in entries]
    assert wanted != Counter(every)


def test_a_head_has_the_digest_and_the_sketch_of_the_last_snapshot(lab: Lab) -> None:
    """Section 9.1, once more from the document alone."""
    repository = opened(lab.repository)
    entries = [entry for names in repository.tree(repository.snapshots[-1]).values() for entry in names]
    found = [entry.fingerprint for entry in entries]
    digits = min(path.name for path in (lab.repository / "heads").iterdir())
    plaintext = repository.opened("head", f"heads/{digits}", 65_536)
    module = reader_module()
    *_, ((_, snapshot, digest, cells, tables),) = module.Cursor(
        module.Cursor(plaintext).read("blob")[0]
    ).read(*module.HEAD)
    assert (snapshot, tables) == (repository.snapshots[-1].identity, repository.snapshots[-1].tables)
    assert (digest, cells) == (sketching.digest(found), 1664)
    assert plaintext[-60_000:] == sketching.sketch(found, cells).ljust(60_000, b"\0")


def test_ls_names_every_entry(lab: Lab) -> None:
    copy = list(lab.copies.values())[-1]
    lines = reader("ls", lab.repository, "latest").stdout.splitlines()
    names = {line.split("\t")[4].encode().decode("unicode_escape", "strict") for line in lines}
    prefix = str(lab.tree.relative_to("/"))
    below = {name.removeprefix(f"{prefix}/") for name in names if name.startswith(f"{prefix}/")}
    found = {str(path.relative_to(copy)) for path in copy.rglob("*")}
    assert found == below


@pytest.mark.parametrize("flags", [(), ("--without-heads",)])
def test_a_whole_repository_verifies(lab: Lab, flags: tuple[str, ...]) -> None:
    done = reader(*flags, "verify", lab.repository)
    assert ("", 0) == (done.stderr, done.returncode)
    segments = len(list((lab.repository / "segments").iterdir()))
    assert done.stdout.startswith(f"{segments} segments")


def test_snapshots_are_found_without_heads(lab: Lab, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(lab.repository, repository)
    shutil.rmtree(repository / "heads")
    done = reader("list", repository)
    assert (1, True) == (done.returncode, "there is no head" in done.stderr)
    assert list(lab.copies) == listed(repository, "--without-heads")
    for number, (snapshot, copy) in enumerate(list(lab.copies.items())[-2:]):
        target = tmp_path / str(number)
        found = restored(repository, snapshot, target, lab.tree, "--without-heads")
        assert [] == differences(copy, found)


def test_what_forget_and_prune_leave_is_restored(lab: Lab, tmp_path: Path) -> None:
    pruned = Lab(tmp_path)
    shutil.copytree(lab.repository, pruned.repository)
    first, second, third, fourth = lab.copies
    pruned.tool("forget", "--yes", first, third)
    assert [second, fourth] == listed(pruned.repository)
    assert [second, fourth] == listed(pruned.repository, "--without-heads")
    before = {path.name for path in (pruned.repository / "segments").iterdir()}
    pruned.tool("prune", "--yes")
    after = {path.name for path in (pruned.repository / "segments").iterdir()}
    assert before - after, "the prune has removed nothing, and tests nothing"
    assert [second, fourth] == listed(pruned.repository)
    for number, snapshot in enumerate((second, fourth)):
        found = restored(pruned.repository, snapshot, tmp_path / f"with-{number}", lab.tree)
        assert [] == differences(lab.copies[snapshot], found)
    done = reader("verify", pruned.repository)
    assert ("", 0) == (done.stderr, done.returncode)
    shutil.rmtree(pruned.repository / "heads")
    for number, snapshot in enumerate((second, fourth)):
        target = tmp_path / f"without-{number}"
        found = restored(pruned.repository, snapshot, target, lab.tree, "--without-heads")
        assert [] == differences(lab.copies[snapshot], found)


def test_a_wrong_password_is_called_one(lab: Lab) -> None:
    done = reader("list", lab.repository, password="Correct horse")
    assert (1, "wrong password\n") == (done.returncode, done.stderr)


def test_the_password_may_stand_in_a_file(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\nmore\n", "utf-8")
    done = reader("--password-file", tmp_path / "password", "list", lab.repository, password="wrong")
    assert list(lab.copies) == [line.split()[0] for line in done.stdout.splitlines()]


def test_a_recovery_code_opens_the_repository(lab: Lab, tmp_path: Path) -> None:
    copy = Lab(tmp_path)
    shutil.copytree(lab.repository, copy.repository)
    (code,) = re.findall(r"bbr1(?:-[0-9a-f]{4}){17}", copy.tool("key", "add", "--recovery-code"))
    done = reader("list", copy.repository, password=f"\n {code} ")
    assert list(lab.copies) == [line.split()[0] for line in done.stdout.splitlines()]
    mistyped = f"{code[:-1]}{'0' if code[-1] != '0' else '1'}"
    assert "typing error" in reader("list", copy.repository, password=mistyped).stderr


def test_a_flipped_byte_costs_only_the_files_in_it(lab: Lab, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(lab.repository, repository)
    latest, copy = list(lab.copies.items())[-1]
    victim, lost = data_of_the_large_file(repository)
    path = repository / "segments" / victim
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1
    path.write_bytes(content)
    done = reader("restore", repository, latest, tmp_path / "target")
    assert 1 == done.returncode
    lines = done.stderr.splitlines()
    shown = {reader_module().show(path) for path in lost}
    assert shown == {line.partition(": damage: ")[0] for line in lines}
    assert all(f"segments/{victim}: broken seal" in line for line in lines)
    found = differences(copy, tmp_path / "target" / lab.tree.relative_to("/"))
    prefix = os.fsencode(lab.tree.relative_to("/")) + b"/"
    assert {f"{ascii(path.removeprefix(prefix))[1:]}: only in the first" for path in lost} == set(found)
    assert 1 == reader("verify", repository).returncode


def data_of_the_large_file(repository: Path) -> tuple[str, set[bytes]]:
    """A segment with a piece of it and nothing but data, and all files of the snapshot that need it."""
    module = opened(repository)
    entries = [entry for names in module.tree(module.snapshots[-1]).values() for entry in names]
    (large,) = [entry for entry in entries if entry.name == b"large"]
    segments = {module.index[chunk][0] for chunk in large.chunks}
    pure = [segment for segment in segments if all(block.kind == 1 for block in module.segment(segment))]
    needing = {
        entry.path for entry in entries if any(module.index[chunk][0] == pure[0] for chunk in entry.chunks)
    }
    return pure[0].hex(), needing


def test_a_target_that_holds_something_is_refused(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    done = reader("restore", lab.repository, "latest", tmp_path)
    assert (1, "the target is not empty\n") == (done.returncode, done.stderr)
    assert ["mine"] == os.listdir(tmp_path)


def test_other_ciphers_and_files_of_very_many_chunks_are_read(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    settings = tmp_path / "bitbacker.toml"
    settings.write_text(
        '[repository]\ncipher = "chacha20-poly1305"\nchunker = { name = "fixed", size_bytes = "1 KiB" }\n'
    )
    lab.tool("--config", settings, "init")
    lab.tree.mkdir()
    (lab.tree / "file").write_bytes(random.Random(3).randbytes(36 * MIB))
    snapshot = lab.back_up()
    assert [] == differences(lab.tree, restored(lab.repository, snapshot, tmp_path / "target", lab.tree))
    module = opened(lab.repository)
    assert "ChaCha20Poly1305" == module.cipher.__name__
    pieces = [piece for records, _ in module.pages(module.snapshots[0].tables, 2) for piece in records]
    assert 1 < len([piece for piece in pieces if piece.name == b"file"])


def test_a_nasty_tree_is_restored(tmp_path: Path, seed: int) -> None:
    lab = Lab(tmp_path)
    lab.tool("init")
    lab.tree.mkdir()
    print(nasty_tree.make(lab.tree, seed, entries=50, levels=300).left_out)
    lab.tool("backup", lab.tree)
    try:
        found = restored(lab.repository, "latest", tmp_path / "target", lab.tree)
        assert [] == differences(lab.tree, found, ignore_sockets=True)
    finally:
        nasty_tree.destroy(lab.tree)
        nasty_tree.destroy(tmp_path / "target")
