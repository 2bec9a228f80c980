"""The second reader makes of every vector what the vector says; it shares no code with ours."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/vectors/data"
READER = ROOT / "contrib/reader/bitbacker_reader.py"
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character-device",
    stat.S_IFBLK: "block-device",
    stat.S_IFSOCK: "socket",
}
MESSAGES = {
    "no-repository": "there is no repository",
    "no-snapshot": "0 snapshots",
    "wrong-password": "wrong password",
    "version": "format version 2",
}
"""What the reader says; everything else that can be wrong is damage."""
LAST_TIME_NS = 1 << 62
"""File systems do not keep times near the end of what a time can say."""

VECTORS = sorted(path.stem for path in DATA.glob("*.vector"))


def facts(name: str, keyword: str) -> list[str]:
    lines = (DATA / f"{name}.vector").read_text("utf-8").splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith(f"{keyword}: ")]


def prepare(name: str, repository: Path) -> None:
    """The objects of the vector, changed as it says."""
    shutil.copytree(DATA / facts(name, "repository")[0], repository)
    for change in facts(name, "change"):
        verb, target, *more = change.split()
        path = repository / target
        if verb == "flip":
            content = bytearray(path.read_bytes())
            content[int(more[0])] ^= int(more[1], 16)
            path.write_bytes(content)
        elif verb == "cut":
            path.write_bytes(path.read_bytes()[: int(more[0])])
        elif verb == "extend":
            path.write_bytes(path.read_bytes() + bytes.fromhex(more[0]))
        elif verb == "remove":
            path.unlink()
        elif verb == "copy":
            shutil.copy(path, repository / more[0])
        elif verb == "swap":
            other = repository / more[0]
            first, second = path.read_bytes(), other.read_bytes()
            path.write_bytes(second)
            other.write_bytes(first)
        elif verb == "put":
            shutil.copy(DATA / more[0], path)
        else:
            raise AssertionError(f"unknown change {change}")


def read(name: str, repository: Path, target: Path) -> subprocess.CompletedProcess[str]:
    flags = ["--without-heads"] if facts(name, "mode") == ["without-heads"] else []
    snapshot = (facts(name, "snapshot") or ["latest"])[0]
    return subprocess.run(
        [sys.executable, READER, *flags, "restore", repository, snapshot, target],
        env={**os.environ, "BITBACKER_PASSWORD": facts(name, "password")[0]},
        check=False,
        capture_output=True,
        text=True,
    )


def restored(root: bytes) -> Iterator[tuple[bytes, str]]:
    """Path and description of everything below, in the words of a vector."""
    for directory, directories, files in os.walk(root):
        for base in (*directories, *files):
            path = os.path.join(directory, base)
            status = os.lstat(path)
            kind = KINDS[stat.S_IFMT(status.st_mode)]
            size, digest = 0, "-"
            if kind == "file":
                with open(path, "rb") as file:
                    content = file.read()
            if kind == "symlink":
                content = os.readlink(path)
            if kind in {"file", "symlink"}:
                size, digest = len(content), hashlib.sha256(content).hexdigest()
            if kind.endswith("device"):
                size = status.st_rdev
            facts = (kind, f"{stat.S_IMODE(status.st_mode):04o}", status.st_uid, status.st_gid)
            moment = status.st_mtime_ns
            yield os.path.relpath(path, root), " ".join(map(str, (*facts, moment, size, digest)))


def expected(name: str) -> dict[bytes, str]:
    entries = (line.split(" ", 1) for line in facts(name, "entry"))
    return {unquote_to_bytes(path): what for path, what in entries}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the owners and devices of the vectors")
@pytest.mark.parametrize("name", [name for name in VECTORS if facts(name, "expect") == ["success"]])
def test_what_a_vector_holds_is_restored(name: str, tmp_path: Path) -> None:
    prepare(name, tmp_path / "repository")
    done = read(name, tmp_path / "repository", tmp_path / "target")
    found, wanted = dict(restored(os.fsencode(tmp_path / "target"))), expected(name)
    # This owner is the number by which the system says that it shall not be changed.
    problems = [line for line in done.stderr.splitlines() if not line.startswith("large-numbers: ")]
    assert [] == problems
    assert wanted.keys() == found.keys()
    different = {
        path: (wanted[path], found[path])
        for path in wanted
        if wanted[path] != found[path]
        and path != b"large-numbers"
        and int(wanted[path].split()[4]) < LAST_TIME_NS
    }
    assert {} == different
    for line in facts(name, "xattr"):
        path, attribute, value = line.split()
        if path == "acl":
            # The kernel keeps no access list that says no more than a mode does.
            continue
        here = os.fsencode(tmp_path / "target") + b"/" + unquote_to_bytes(path)
        assert bytes.fromhex(value.strip("-")) == os.getxattr(here, attribute)
    for line in facts(name, "same"):
        assert os.path.samefile(*(tmp_path / "target" / path for path in line.split()))


@pytest.mark.parametrize("name", [name for name in VECTORS if facts(name, "expect") != ["success"]])
def test_what_is_wrong_is_said(name: str, tmp_path: Path) -> None:
    prepare(name, tmp_path / "repository")
    done = read(name, tmp_path / "repository", tmp_path / "target")
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    message = MESSAGES.get(facts(name, "expect")[0], "damage: ")
    if name == "mistyped-recovery-code":
        message = "typing error"
    assert message in done.stderr
    # Nothing may appear beside the target, whatever names a repository holds.
    assert {"repository", "target"} >= {path.name for path in tmp_path.iterdir()}


def test_there_are_vectors_of_every_outcome() -> None:
    outcomes = {facts(name, "expect")[0] for name in VECTORS}
    assert {"success", "damage", "format", "seal-broken", "missing-segment", *MESSAGES} == outcomes
