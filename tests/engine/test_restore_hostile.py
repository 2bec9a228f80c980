"""Whoever has the key can write any entry; none of them reaches outside the target.

The judge is a canary tree around the target: content, modes, owners, times, link counts and change
times stay what they are.  A naive writer shows that the judge is able to see an escape.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from bitbacker.errors import DamageError
from bitbacker.format.extras import EntryExtras, ExtentRef, Xattr
from restore_faults import make_canary, state
from restore_rig import Planted, Told, new_repository, plant, restore

DIRECTORY = stat.S_IFDIR | 0o755
LINK = stat.S_IFLNK | 0o777
EVIL = (b"evil",)

Tree = Sequence[tuple[bytes, Sequence[Planted]]]

GOOD = Planted(b"zz-good", chunks=(b"good",))

ESCAPES: dict[str, Tree] = {
    "a name of dots": [(b"", [Planted(b"..", DIRECTORY), GOOD]), (b"..", [Planted(b"evil", chunks=EVIL)])],
    "a name with slashes": [(b"", [Planted(b"../canary/evil", chunks=EVIL), GOOD])],
    "a name onto the canary": [(b"", [Planted(b"../canary/file", chunks=EVIL), GOOD])],
    "a directory of dots": [(b"", [GOOD]), (b"../canary", [Planted(b"evil", chunks=EVIL)])],
    "dots within a directory": [
        (b"", [Planted(b"a", DIRECTORY), GOOD]),
        (b"a/../../canary", [Planted(b"evil", chunks=EVIL)]),
    ],
    "a child through a symlink": [
        (b"", [Planted(b"a", LINK, link=b"../canary"), GOOD]),
        (b"a", [Planted(b"evil", chunks=EVIL)]),
    ],
    "a grandchild through a symlink": [
        (b"", [Planted(b"a", LINK, link=b"../canary"), GOOD]),
        (b"a/inside", [Planted(b"file", chunks=EVIL)]),
    ],
    "a directory through a symlink": [
        (b"", [Planted(b"a", LINK, link=b"../canary"), GOOD]),
        (b"a", [Planted(b"evil", DIRECTORY)]),
    ],
    "a file through a symlink of its name": [
        (b"", [Planted(b"a", LINK, link=b"../canary/file"), Planted(b"a", chunks=EVIL), GOOD])
    ],
    "a directory and a symlink of one name": [
        (b"", [Planted(b"a", LINK, link=b"../canary"), Planted(b"a", DIRECTORY), GOOD]),
        (b"a", [Planted(b"evil", chunks=EVIL)]),
    ],
}
"""What a writer that joins paths falls for."""

ODDITIES: dict[str, Tree] = {
    "an empty name": [(b"", [Planted(b"", chunks=EVIL), GOOD])],
    "a name of a dot": [(b"", [Planted(b".", chunks=EVIL), GOOD])],
    "an absolute name": [(b"", [Planted(b"/evil", chunks=EVIL), GOOD])],
    "an absolute directory": [(b"", [GOOD]), (b"/tmp", [Planted(b"evil-of-bitbacker", chunks=EVIL)])],
    "a name with NUL": [(b"", [Planted(b"a\0b", chunks=EVIL), GOOD])],
    "a directory with NUL": [(b"", [GOOD]), (b"a\0b", [Planted(b"evil", chunks=EVIL)])],
    "two files of one name": [(b"", [Planted(b"a", chunks=EVIL), Planted(b"a", chunks=(b"2",)), GOOD])],
    "a file and a directory of one name": [
        (b"", [Planted(b"a", chunks=EVIL), Planted(b"a", DIRECTORY), GOOD]),
        (b"a", [Planted(b"b", chunks=EVIL)]),
    ],
    "a child of a file": [(b"", [Planted(b"a", chunks=EVIL), GOOD]), (b"a", [Planted(b"b", chunks=EVIL)])],
    "names that do not ascend": [(b"", [Planted(b"b", chunks=EVIL), Planted(b"a", chunks=EVIL), GOOD])],
    "directories that do not ascend": [
        (b"", [Planted(b"a", DIRECTORY), Planted(b"b", DIRECTORY), GOOD]),
        (b"b", [Planted(b"x", chunks=EVIL)]),
        (b"a", [Planted(b"x", chunks=EVIL)]),
    ],
    "a name too long for any file system": [(b"", [Planted(b"n" * 300, chunks=EVIL), GOOD])],
    "a kind that does not exist": [(b"", [Planted(b"a", 0o030644, chunks=EVIL), GOOD])],
    "a hard link to a symlink": [
        (
            b"",
            [
                Planted(b"a", LINK, link=b"../canary/file", nlink=2, inode=7),
                Planted(b"b", LINK, link=b"../canary/file", nlink=2, inode=7),
                GOOD,
            ],
        )
    ],
    "a hard link between a file and a symlink": [
        (
            b"",
            [
                Planted(b"a", LINK, link=b"../canary/file", nlink=2, inode=7),
                Planted(b"b", chunks=EVIL, nlink=2, inode=7),
                GOOD,
            ],
        )
    ],
    "a hard link to a file with an impossible name": [
        (
            b"",
            [
                Planted(b"../canary/file", chunks=EVIL, nlink=2, inode=7),
                Planted(b"b", chunks=EVIL, nlink=2, inode=7),
                GOOD,
            ],
        )
    ],
    "every security attribute": [
        (
            b"",
            [
                Planted(
                    b"a",
                    0o106777,
                    EVIL,
                    extras=EntryExtras((Xattr(b"security.capability", b"\1\0\0\2" + b"\xff" * 16),)),
                ),
                GOOD,
            ],
        )
    ],
    "an attribute with an impossible name": [
        (b"", [Planted(b"a", chunks=EVIL, extras=EntryExtras((Xattr(b"user.\0x", b""),))), GOOD])
    ],
    "a size that its content has not": [(b"", [Planted(b"a", chunks=EVIL, size=1 << 50), GOOD])],
    "a negative size": [(b"", [Planted(b"a", size=-5), GOOD])],
    "extents behind the end": [
        (
            b"",
            [
                Planted(b"a", chunks=EVIL, size=4, extras=EntryExtras((), (ExtentRef((1 << 63) - 1, 4),))),
                GOOD,
            ],
        )
    ],
    "more content than extents": [
        (b"", [Planted(b"a", chunks=EVIL, size=4, mark=1, extras=EntryExtras((), (ExtentRef(0, 2),))), GOOD])
    ],
    "times that no clock has": [
        (b"", [Planted(b"a", chunks=EVIL, mtime_ns=-(1 << 63)), Planted(b"b", mtime_ns=(1 << 63) - 1), GOOD])
    ],
    "owners that nobody is": [(b"", [Planted(b"a", chunks=EVIL, uid=0xFFFFFFFF, gid=0xFFFFFFFF), GOOD])],
}


@pytest.mark.parametrize("attack", [*ESCAPES, *ODDITIES])
def test_a_hostile_repository_changes_nothing_outside_the_target(tmp_path: Path, attack: str) -> None:
    tree = (ESCAPES | ODDITIES)[attack]
    make_canary(tmp_path / "around")
    repository = new_repository(tmp_path / "repository")
    snapshot = plant(repository, tree)
    before = state(tmp_path / "around", leave_out=tmp_path / "around/target")
    refused = False
    try:
        restore(repository, snapshot, tmp_path / "around/target")
    except DamageError:
        refused = True
    assert state(tmp_path / "around", leave_out=tmp_path / "around/target") == before
    assert not os.path.exists("/tmp/evil-of-bitbacker")
    good = tmp_path / "around/target/zz-good"
    # Either the page is refused as a whole, or everything but the hostile entry is restored.
    assert good.read_bytes() == b"good" if good.exists() else refused


@pytest.mark.parametrize("attack", ESCAPES)
def test_the_canary_catches_a_writer_that_joins_paths(tmp_path: Path, attack: str) -> None:
    make_canary(tmp_path / "around")
    (tmp_path / "around/target").mkdir()
    before = state(tmp_path / "around", leave_out=tmp_path / "around/target")
    for path, entries in ESCAPES[attack]:
        for entry in entries:
            _write_naively(os.fsencode(tmp_path / "around/target"), path, entry)
    assert state(tmp_path / "around", leave_out=tmp_path / "around/target") != before


def _write_naively(root: bytes, directory: bytes, entry: Planted) -> None:
    path = os.path.join(root, directory, entry.name)
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if stat.S_ISDIR(entry.mode):
            os.makedirs(path, exist_ok=True)
        elif stat.S_ISLNK(entry.mode):
            os.symlink(entry.link, path)
        else:
            with open(path, "wb") as file:
                file.write(b"".join(entry.chunks))


def test_every_entry_that_is_left_out_is_told(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "repository")
    snapshot = plant(
        repository,
        [
            (
                b"",
                [
                    Planted(b"..", chunks=EVIL),
                    Planted(b"../x", chunks=EVIL),
                    Planted(b"a", chunks=(b"a",)),
                    GOOD,
                ],
            )
        ],
    )
    told = Told()
    with pytest.raises(DamageError, match="2 entries could not be restored"):
        restore(repository, snapshot, tmp_path / "target", told=told)
    assert [path for path, _ in told.problems] == [b"..", b"../x"]
    assert sorted(os.listdir(tmp_path / "target")) == ["a", "zz-good"]
