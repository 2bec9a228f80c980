"""The repositories of the vectors, and what their snapshots hold, spelled out by hand."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from bitbacker.format.block import BlockKind
from bitbacker.format.catalog import (
    CatalogRecord,
    SegmentRecord,
    SegmentState,
    Snapshot,
    encode_segment,
    encode_snapshot,
)
from bitbacker.format.entries import Directory, encode_page
from bitbacker.format.root import RUNG_LIST, RUNG_SKETCH, PageRef, TableRef, TableRoot
from vectors.generators import sketching
from vectors.generators.builder import (
    PASSWORD,
    RECOVERY_ENTROPY,
    Builder,
    KeyslotsPlan,
    Session,
    derived,
    entry_page,
    tip_of,
)
from vectors.generators.entry import Made, directory, fingerprint
from vectors.vector import quoted

Tree = dict[bytes, Made]
"""Entries by their paths: what a reader is to find."""

DIRECTORY = stat.S_IFDIR | 0o755
WORDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character-device",
    stat.S_IFBLK: "block-device",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Told:
    """A repository, and for each snapshot by its label the identity and the expected entries."""

    builder: Builder
    snapshots: dict[str, Snapshot]
    trees: dict[str, Tree]


def lines(tree: Tree) -> list[str]:
    """The listing of a tree as vector files hold it."""
    found: list[str] = []
    first: dict[tuple[int, int], bytes] = {}
    for path, made in sorted(tree.items(), key=lambda item: item[0].split(b"/")):
        kind = WORDS[stat.S_IFMT(made.mode)]
        size, digest = made.size_bytes or 0, "-"
        if kind == "symlink":
            size, digest = len(made.target), sha256(made.target).hexdigest()
        elif kind == "file":
            size, digest = len(made.content), sha256(made.content).hexdigest()
            if made.nlink > 1:
                other = first.setdefault((made.filesystem, made.inode), path)
                if other != path:
                    found.append(f"same: {quoted(other)} {quoted(path)}")
        uid, gid = made.owner
        mode = f"{made.mode & 0o7777:04o}"
        found.append(f"entry: {quoted(path)} {kind} {mode} {uid} {gid} {made.mtime_ns} {size} {digest}")
        found += [f"xattr: {quoted(path)} {quoted(name)} {value.hex() or '-'}" for name, value in made.xattrs]
    return sorted(found)


def listed(builder: Builder, tree: Tree, paths: Sequence[bytes]) -> list[Directory]:
    """The directories at `paths` with their entries, in the order given."""
    return [
        directory(
            builder.keys,
            path,
            [made for whole, made in tree.items() if whole.rpartition(b"/")[0] == path],
        )
        for path in paths
    ]


def snapshot_of(builder: Builder, label: str, tables: tuple[TableRef, ...], minute: int) -> Snapshot:
    return Snapshot(
        identity=builder.random(f"snapshot {label}", 16),
        time_ns=1_700_000_000_000_000_000 + minute * 60_000_000_000,
        host="host",
        source=f"source {label}",
        roots=("/",),
        tags=("tag",),
        tables=tables,
        program="vectors",
    )


def stored(session: Session, tree: Tree) -> Tree:
    """The same entries with their contents stored, in chunks of at most 1,000 bytes."""
    result = dict(tree)
    for path, made in tree.items():
        if stat.S_ISREG(made.mode) and made.content and not made.chunk_ids:
            data = made.content
            if made.extents is not None:
                data = b"".join(data[offset : offset + size] for offset, size in made.extents)
            pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
            if pieces:
                result[path] = replace(made, chunk_ids=session.data(pieces))
    return result


def entry(path: bytes, **options: Any) -> tuple[bytes, Made]:
    return path, Made(path.rpartition(b"/")[2], **options)


def everything_tree() -> Tree:
    """One of everything that an entry can be."""
    sparse = bytearray(20_000)
    sparse[4096:4106] = b"0123456789"
    sparse[8192:8195] = b"abc"
    acl = bytes.fromhex("0200000001000600ffffffff04000400ffffffff20000400ffffffff")
    long = derived("a long file", 2500)
    return dict(
        [
            entry(b"a", mode=DIRECTORY),
            entry(b"a/deep", mode=DIRECTORY | stat.S_ISVTX),
            entry(b"a/deep/er", mode=DIRECTORY),
            entry(b"a/deep/er/file", content=b"deep\n"),
            entry(b"a-b", mode=DIRECTORY),
            entry(b"a-b/file", content=b"a hyphen sorts before a slash\n"),
            entry(b"a.txt", content=b"a dot sorts before a slash, too\n", mode=0o104755),
            entry(b"block", mode=stat.S_IFBLK | 0o660, size_bytes=0x0801),
            entry(b"char", mode=stat.S_IFCHR | 0o666, size_bytes=0x0103),
            entry(b"changed", content=b"longer than its row", size_bytes=5, mark=1),
            entry(b"compressible", content=b"again and " * 400),
            entry(b"empty"),
            entry(b"empty-directory", mode=stat.S_IFDIR | 0o2700),
            entry(b"far", content=b"future", mtime_ns=2**63 - 1),
            entry(b"fifo", mode=stat.S_IFIFO | 0o600),
            entry(b"hard-1", content=b"one file\n", nlink=3, inode=77),
            entry(b"hard-2", content=b"one file\n", nlink=3, inode=77),
            entry(b"hard-elsewhere", content=b"other file", nlink=2, inode=77, filesystem=1),
            entry(b"large-numbers", content=b"x", owner=(2**32 - 2, 2**31), inode=2**64 - 1),
            entry(b"long", content=long),
            entry(b"long-again", content=long[:1000]),
            entry(b"link", mode=stat.S_IFLNK | 0o777, target=b"../\xff target"),
            entry(b"new\nline", content=b"a name of two lines"),
            entry(b"not-utf-8-\xe9\xff", content=b"a name that is no text"),
            entry(b"past", content=b"before 1970", mtime_ns=-1),
            entry(b"socket", mode=stat.S_IFSOCK | 0o755),
            entry(b"sparse", content=bytes(sparse), extents=((4096, 10), (8192, 3))),
            entry(b"sparse-empty", content=bytes(5000), extents=()),
            entry(b"xattrs", content=b"x", xattrs=((b"user.a", b"\0\1"), (b"user.empty", b""))),
            entry(b"acl", mode=DIRECTORY, xattrs=((b"system.posix_acl_access", acl),)),
        ]
    )


def everything() -> Told:
    """One snapshot with everything; a directory in three parts; a page of row form 0; rungs."""
    plan = KeyslotsPlan(
        derived("root key everything", 32),
        cipher="chacha20-poly1305",
        passwords={2: "zwei W\N{LATIN SMALL LETTER O WITH DIAERESIS}rter", 5: PASSWORD},
        recovery={0: RECOVERY_ENTROPY},
    )
    builder = Builder("everything", plan)
    session = Session(builder, "1")
    tree = stored(session, everything_tree())
    root, *below = listed(builder, tree, [b"", b"a", b"a/deep", b"a/deep/er", b"a-b"])
    names = sorted(path for path in tree if b"/" not in path)
    cut = [names[:3], names[3:10], names[10:]]
    parts = [directory(builder.keys, b"", [tree[name] for name in part]) for part in cut]
    assert b"\0".join(part.names for part in parts) == root.names
    unused = b"nobody uses this"
    session.block(BlockKind.DATA, unused, builder.keys.chunk_identity(unused), (len(unused),))
    places = [session.block(BlockKind.ENTRIES, encode_page(entry_page(parts[:2])))]
    places.append(session.block(BlockKind.ENTRIES, encode_page(entry_page([parts[2]]), planes=False)))
    places.append(session.block(BlockKind.ENTRIES, encode_page(entry_page(below))))
    counts = [len(cut[0]) + len(cut[1]), len(cut[2]), sum(part.entries for part in below)]
    refs = [PageRef(at, key, n) for at, key, n in zip(places, (b"", b"", b"a"), counts, strict=True)]
    found = sketching.numbers(
        fingerprint(builder.keys, path.rpartition(b"/")[0], made) for path, made in tree.items()
    )
    sketch = sketching.sketch(found, sketching.RUNG_PART_CELLS)
    rungs = session.rungs(RUNG_SKETCH, sketch, pieces=3)
    rungs += session.rungs(RUNG_LIST, sketching.fingerprint_list(found), pieces=2)
    table = session.table(TableRoot(BlockKind.ENTRIES, tuple(refs), rungs=tuple(rungs)))
    session.index_table()
    snapshot = snapshot_of(builder, "everything", (table,), 1)
    session.catalog_table([snapshot], born=2)
    tip = tip_of(builder.keys.source_identity(snapshot.host, snapshot.source), snapshot, found)
    builder.commit(session, born=2, tip=tip)
    return Told(builder, {"everything": snapshot}, {"everything": tree})


class Deltas:
    """A repository of two segments: a base, and tables that overlay it, one by one."""

    def __init__(self) -> None:
        self.builder = Builder("deltas", KeyslotsPlan(derived("root key deltas", 32)))
        self.snapshots: dict[str, Snapshot] = {}
        self.trees: dict[str, Tree] = {}

    def told(self) -> Told:
        base = self._base()
        self._deltas(base)
        return Told(self.builder, self.snapshots, self.trees)

    def _base(self) -> Tree:
        session = Session(self.builder, "base")
        tree = stored(
            session,
            dict(
                [
                    entry(b"again", content=b"dropped and back again\n"),
                    entry(b"changes", content=b"version 1\n"),
                    entry(b"d", mode=DIRECTORY),
                    entry(b"d/stays", content=b"stays\n"),
                    entry(b"d/goes", content=b"goes\n"),
                    entry(b"in-disguise", content=b"before\n"),
                    entry(b"torn", content=b"read in the mid", size_bytes=20, mark=1),
                    entry(b"gone", mode=DIRECTORY),
                    entry(b"gone/file", content=b"gone\n"),
                    entry(b"gone/sub", mode=DIRECTORY),
                    entry(b"gone/sub/file", content=b"gone, too\n"),
                    entry(b"to-directory", content=b"was a file\n"),
                    entry(b"to-file", mode=DIRECTORY),
                    entry(b"to-file/inside", content=b"was inside\n"),
                ]
            ),
        )
        paths = [b"", b"d", b"gone", b"gone/sub", b"to-file"]
        self._first = session.entry_table([entry_page(listed(self.builder, tree, paths))])
        session.index_table()
        self._keep("1", (self._first,), tree)
        self._keep("forgotten", (self._first,), tree)
        session.catalog_table([self.snapshots["1"], self.snapshots["forgotten"]], born=2)
        self.builder.commit(session, born=2)
        return tree

    def _keep(self, label: str, tables: tuple[TableRef, ...], tree: Tree) -> None:
        self.snapshots[label] = snapshot_of(self.builder, label, tables, len(self.snapshots) + 1)
        self.trees[label] = tree

    def _drop(self, tree: Tree, *paths: bytes) -> list[bytes]:
        return [fingerprint(self.builder.keys, path.rpartition(b"/")[0], tree[path]) for path in paths]

    def _deltas(self, base: Tree) -> None:
        session = Session(self.builder, "deltas")
        # The same chunk is stored once more: the later index table rules, and either is right.
        session.data([b"stays\n"])
        table_1, tree_1 = self._second(session, base)
        self._keep("2", (self._first, table_1), tree_1)
        table_2, tree_2 = self._third(session, base, tree_1)
        self._keep("3", (self._first, table_1, table_2), tree_2)
        table_3, tree_3 = self._fourth(session, tree_2)
        self._keep("4", (self._first, table_1, table_2, table_3), tree_3)
        self._keep("partial", (self._first, table_1), tree_1)
        table_4, tree_4 = self._sloppy(session, base)
        self._keep("sloppy", (self._first, table_4), tree_4)
        self.snapshots["partial"] = replace(
            self.snapshots["partial"], partial=True, parent=self.snapshots["1"].identity
        )
        self._moved(session, base)
        session.index_table()
        empty = Session(self.builder, "nothing but padding")
        self._catalog(session, empty)
        self.builder.commit(session, born=3, empty=[empty])

    def _second(self, session: Session, base: Tree) -> tuple[TableRef, Tree]:
        """Changed, new, gone; the drops are on two pages, the second of which has no directory.

        `in-disguise` has other content and the same fingerprint, which the table drops all the same.
        `torn` had changed while it was read, so that its fingerprint is another although its row is not.
        """
        fresh = stored(
            session,
            dict(
                [
                    entry(b"changes", content=b"version 2\n", mtime_ns=1_700_000_100_000_000_000),
                    entry(b"d/new", content=b"new\n"),
                    entry(b"in-disguise", content=b"after!\n"),
                    entry(b"torn", content=b"read in the middle!\n"),
                ]
            ),
        )
        replaced = [b"changes", b"in-disguise", b"torn"]
        table = session.entry_table(
            [
                entry_page(listed(self.builder, fresh, [b"", b"d"]), self._drop(base, b"again", *replaced)),
                entry_page([], self._drop(base, b"d/goes")),
            ]
        )
        tree = {path: made for path, made in base.items() if path not in {b"again", b"d/goes"}} | fresh
        return table, tree

    def _third(self, session: Session, base: Tree, tree: Tree) -> tuple[TableRef, Tree]:
        """What overruled is dropped and what it overruled stays away; a whole directory goes.

        `again` comes back as it was, in a table that drops its fingerprint for the tables before it.
        """
        gone = [b"changes", b"gone", b"gone/file", b"gone/sub", b"gone/sub/file"]
        back = {b"again": base[b"again"]}
        drops = self._drop(tree, *gone) + self._drop(base, b"again") + [bytes(8)]
        table = session.entry_table([entry_page(listed(self.builder, back, [b""]), drops)])
        return table, {path: made for path, made in tree.items() if path not in gone} | back

    def _fourth(self, session: Session, tree: Tree) -> tuple[TableRef, Tree]:
        """A file becomes a directory and a directory a file."""
        fresh = stored(
            session,
            dict(
                [
                    entry(b"to-directory", mode=DIRECTORY),
                    entry(b"to-directory/inside", content=b"is a directory now\n"),
                    entry(b"to-file", content=b"is a file now\n"),
                ]
            ),
        )
        drops = self._drop(tree, b"to-directory", b"to-file", b"to-file/inside")
        table = session.entry_table([entry_page(listed(self.builder, fresh, [b"", b"to-directory"]), drops)])
        return table, {path: made for path, made in tree.items() if path != b"to-file/inside"} | fresh

    def _sloppy(self, session: Session, base: Tree) -> tuple[TableRef, Tree]:
        """A writer must drop what it replaces, and a reader does not rely on it."""
        fresh = stored(session, dict([entry(b"changes", content=b"undropped\n", mtime_ns=5)]))
        return session.entry_table([entry_page(listed(self.builder, fresh, [b""]))]), base | fresh

    def _moved(self, session: Session, base: Tree) -> None:
        """Snapshot 1 gets another table of the same entries, as a prune would give it."""
        paths = [b"", b"d", b"gone", b"gone/sub", b"to-file"]
        table = session.entry_table([entry_page(listed(self.builder, base, paths))])
        self.snapshots["1"] = replace(self.snapshots["1"], tables=(table,))

    def _catalog(self, session: Session, empty: Session) -> None:
        own = [
            SegmentRecord(segment.identity, SegmentState.LIVE, segment.size_bytes, 3)
            for segment in (session, empty)
        ]
        condemned = SegmentRecord(self.builder.random("condemned", 16), SegmentState.CONDEMNED, 0, 3)
        records = [*map(encode_segment, own), encode_segment(condemned), *session.head_records()]
        records += [
            encode_snapshot(self.snapshots[label]) for label in self.snapshots if label != "forgotten"
        ]
        records += [
            CatalogRecord(self.snapshots["forgotten"].key, None),
            CatalogRecord(b"x" + bytes(16), b"a kind of a later time"),
            CatalogRecord(b"g" + bytes(16), None),
        ]
        session.catalog_records(sorted(records, key=lambda record: record.key))


def deltas() -> Told:
    """Snapshots 1 to 4, each a table more; a partial one, and one that was forgotten."""
    return Deltas().told()
