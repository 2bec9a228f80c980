"""A generated tree with everything in it that file systems allow and backup programs get wrong.

    made = nasty_tree.make(root, seed=7)
    ...
    nasty_tree.destroy(root)

The same seed gives the same tree.  What this user or this file system cannot make is named in
`made.left_out`, so that a test can print it.  `shutil.rmtree` cannot remove such a tree; `destroy` can.
"""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
TIB = 1024 * 1024 * MIB
SECOND_NS = 10**9
STAMPS_NS = (
    0,
    -1,
    -2_147_483_648 * SECOND_NS,
    -86_400 * SECOND_NS + 123_456_789,
    1_234_567_890 * SECOND_NS + 1,
    1_600_000_000 * SECOND_NS + 999_999_999,
    2_147_483_648 * SECOND_NS,
    4_102_444_800 * SECOND_NS + 987_654_321,
)
"""Modification times: the epoch, before it, whole and single nanoseconds, 2038 and the year 2100."""


@dataclass(slots=True)
class Nasty:
    """The tree being made, and what could not be made."""

    root: Path
    seed: int
    entries_of_large_directory: int
    levels: int
    random: random.Random
    left_out: list[str] = field(default_factory=list)

    def directory(self, name: str) -> Path:
        """A new directory at the top."""
        path = self.root / name
        path.mkdir()
        return path

    def attempt(self, what: str, make: Callable[[], object]) -> bool:
        """Make something that not every user or file system can make."""
        try:
            make()
        except OSError as error:
            self.left_out.append(f"{what}: {error.strerror}")
            return False
        return True


def make(root: Path, seed: int, *, entries: int = 500, levels: int = 1100) -> Nasty:
    """Fill the empty directory `root`; `entries` go into one directory, `levels` below one another."""
    nasty = Nasty(root, seed, entries, levels, random.Random(seed))
    for part in (
        _sizes,
        _names,
        _long_paths,
        _symlinks,
        _hard_links,
        _sparse_files,
        _special_files,
        _modes,
        _owners,
        _attributes,
        _access_lists,
        _capabilities,
        _empty_and_large_directories,
        _branches,
        _stamps,
    ):
        part(nasty)
    return nasty


def destroy(root: Path) -> None:
    """Remove the tree, however deep it is."""
    subprocess.run(["rm", "-rf", "--", str(root)], check=True)


def _write(path: Path | bytes, content: bytes = b"") -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _sizes(nasty: Nasty) -> None:
    top = nasty.directory("sizes")
    sizes = (0, 1, 511, 4095, 4096, 4097, 127 * KIB, 128 * KIB, 129 * KIB, 5 * MIB, 5 * MIB + 1)
    for size in sizes:
        _write(top / f"random-{size}", nasty.random.randbytes(size))
    _write(top / "zeros-1MiB", bytes(MIB))
    _write(top / "repeated", nasty.random.randbytes(8 * KIB) * 100)
    _write(top / "same-as-repeated", (top / "repeated").read_bytes())


def _names(nasty: Nasty) -> None:
    top = os.fsencode(nasty.directory("names"))
    every_byte = [b"byte-" + bytes([value]) for value in range(1, 256) if value != ord("/")]
    single = [bytes([value]) for value in range(1, 256) if value not in b"./"]
    odd = [
        b"two\nlines\n",
        b"\r\n",
        b"n" * 255,
        "ü".encode() * 127,
        b"\xff\xfe\xfd not UTF-8",
        b"caf\xc3\xa9 composed",
        b"cafe\xcc\x81 composed",
        b"Case",
        b"case",
        b"CASE",
        b"-rf",
        b"--help",
        b"...",
        b"..hidden",
        b" leading and trailing ",
        b"trailing dot.",
        b"*?[a-z]{1,2}$HOME`id`\"'\\",
        b"sorts-before-a-slash!",
        b"sorts-before-a-slash",
        b"sorts-before-a-slash0",
        "\U0001f4be 雪".encode(),
        b"\xed\xa0\x80 lone surrogate",
    ]
    for name in (*every_byte, *single):
        _write(top + b"/" + name, name)
    for name in odd:
        # Directories, so that order among names and paths is tested as well.
        os.mkdir(top + b"/" + name + (b"" if len(name) > 250 else b".d"))
        _write(top + b"/" + (name[:-1] + b"f" if len(name) > 250 else name), name)
    os.mkdir(top + b"/order")
    for name in (b"a", b"a b", b"a-b", b"a.b", b"a0b"):
        os.mkdir(top + b"/order/" + name)
        _write(top + b"/order/" + name + b"/inside", name)


def _long_paths(nasty: Nasty) -> None:
    """One path with long names and one with many, both longer than PATH_MAX."""
    for top, name, levels in ((b"long", b"l" * 200, 30), (b"deep", b"d", nasty.levels)):
        parent = os.open(nasty.root, os.O_RDONLY)
        for level in range(levels + 1):
            component = name if level else top
            os.mkdir(component, dir_fd=parent)
            child = os.open(component, os.O_RDONLY, dir_fd=parent)
            os.close(parent)
            parent = child
            if level % 97 == 1:
                _write_at(parent, b"file", b"level %d" % level)
                # A branch on either side: the walk has to come back to directories far up.
                os.mkdir(b"a-branch", dir_fd=parent)
                os.mkdir(b"z-branch", dir_fd=parent)
        _write_at(parent, b"bottom", b"the last one")
        os.symlink(b"bottom", b"link", dir_fd=parent)
        os.link(b"bottom", b"second name", src_dir_fd=parent, dst_dir_fd=parent)
        os.close(parent)


def _write_at(directory: int, name: bytes, content: bytes) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _symlinks(nasty: Nasty) -> None:
    top = nasty.directory("symlinks")
    (top / "directory").mkdir()
    _write(top / "directory/file", b"behind a link")
    targets: dict[str, bytes] = {
        "dangling": b"nowhere/at all",
        "itself": b"itself",
        "loop-1": b"loop-2",
        "loop-2": b"loop-1",
        "to-directory": b"directory",
        "to-parent": b"..",
        "absolute": b"/etc/passwd",
        "absolute-directory": b"/usr",
        "not-utf-8": b"\xff\xfe\n",
        "longest": b"t" * 4000,
    }
    for name, target in targets.items():
        os.symlink(target, os.fsencode(top / name))
    for name, time_ns in zip(targets, STAMPS_NS, strict=False):
        os.utime(top / name, ns=(time_ns, time_ns), follow_symlinks=False)


def _hard_links(nasty: Nasty) -> None:
    top = nasty.directory("hard-links")
    (top / "a").mkdir()
    (top / "z").mkdir()
    _write(top / "m", nasty.random.randbytes(1000))
    _write(top / "large", nasty.random.randbytes(3 * MIB))
    _write(top / "empty")
    for name in ("m", "large", "empty"):
        os.link(top / name, top / "a" / name)
        os.link(top / name, top / "z" / f"other name of {name}")
    os.symlink("m", top / "link")
    os.link(top / "link", top / "a/same link", follow_symlinks=False)
    os.mkfifo(top / "fifo")
    os.link(top / "fifo", top / "z/same fifo", follow_symlinks=False)
    _write(top / "equal content, another file", (top / "m").read_bytes())


def _sparse_files(nasty: Nasty) -> None:
    top = nasty.directory("sparse")
    data = nasty.random.randbytes(256 * KIB)
    layouts: dict[str, tuple[int, tuple[int, ...]]] = {
        "hole-at-start": (8 * MIB, (7 * MIB,)),
        "hole-in-the-middle": (8 * MIB, (0, 7 * MIB)),
        "hole-at-end": (8 * MIB, (0,)),
        "many-holes": (32 * MIB, tuple(range(0, 32 * MIB, MIB))),
        "all-hole": (16 * MIB, ()),
        "small-all-hole": (20_000, ()),
        "odd-size": (5 * MIB + 4321, (MIB + 12_345,)),
        "1TiB": (TIB, (0, TIB // 2, TIB - MIB)),
        "1TiB-all-hole": (TIB, ()),
    }

    def write(name: str, size: int, offsets: Iterable[int]) -> None:
        with (top / name).open("xb") as file:
            file.truncate(size)
            for offset in offsets:
                file.seek(offset)
                file.write(data)

    for name, (size, offsets) in layouts.items():
        nasty.attempt(f"sparse file {name}", lambda n=name, s=size, o=offsets: write(n, s, o))


def _special_files(nasty: Nasty) -> None:
    top = nasty.directory("special")
    os.mkfifo(top / "fifo", 0o640)
    here = os.open(top, os.O_RDONLY)
    # The address of a socket holds about a hundred bytes, so it is bound by a short path.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)
    for name, kind, device in (
        ("null", stat.S_IFCHR, os.makedev(1, 3)),
        ("large-numbers", stat.S_IFCHR, os.makedev(400, 70_000)),
        ("block", stat.S_IFBLK, os.makedev(7, 200)),
    ):
        nasty.attempt(f"device {name}", lambda n=name, k=kind, d=device: os.mknod(top / n, k | 0o600, d))


def _modes(nasty: Nasty) -> None:
    top = nasty.directory("modes")
    for mode in (0o4755, 0o2755, 0o1644, 0o7777, 0o400, 0o222, 0o111, 0o6000):
        _write(top / f"file-{mode:04o}", b"%o" % mode)
        (top / f"file-{mode:04o}").chmod(mode)
    for mode in (0o1777, 0o2770, 0o3777, 0o700, 0o555):
        (top / f"directory-{mode:04o}").mkdir()
        _write(top / f"directory-{mode:04o}" / "inside", b"%o" % mode)
        (top / f"directory-{mode:04o}").chmod(mode)
    if os.geteuid() != 0:
        nasty.left_out.append("files and directories of mode 0000: only root can read them")
        return
    _write(top / "file-0000", b"closed")
    (top / "file-0000").chmod(0)
    (top / "directory-0000").mkdir()
    _write(top / "directory-0000/inside", b"closed")
    (top / "directory-0000").chmod(0)


def _owners(nasty: Nasty) -> None:
    top = nasty.directory("owners")
    for uid, gid in ((0, 0), (1000, 1000), (65534, 65534), (123_456, 7), (4_000_000_000, 4_294_967_294)):
        path = top / f"{uid}-{gid}"
        link = top / f"link-{uid}-{gid}"
        _write(path, b"owned")
        link.symlink_to("elsewhere")

        def give(path: Path = path, link: Path = link, uid: int = uid, gid: int = gid) -> None:
            os.chown(path, uid, gid)
            os.chown(link, uid, gid, follow_symlinks=False)
            path.chmod(0o6751)

        nasty.attempt(f"owner {uid}:{gid}", give)


def _attributes(nasty: Nasty) -> None:
    top = nasty.directory("attributes")
    file, directory, link = top / "file", top / "directory", top / "link"
    _write(file, b"with attributes")
    directory.mkdir()
    link.symlink_to("file")
    for path in (file, directory):
        for name, value in (
            ("user.text", "größe".encode()),
            ("user.empty", b""),
            ("user.binary", bytes(range(256))),
            ("user.large", nasty.random.randbytes(2000)),
            ("user." + "n" * 240, b"the longest name"),
        ):
            nasty.attempt(
                f"attribute {name[:20]} of a {path.name}",
                lambda p=path, n=name, v=value: os.setxattr(p, n, v),
            )
    nasty.attempt(
        "trusted attribute of a symlink",
        lambda: os.setxattr(link, "trusted.nasty", b"on the link", follow_symlinks=False),
    )
    nasty.attempt("trusted attribute of a file", lambda: os.setxattr(file, "trusted.nasty", b"\0"))


def _access_lists(nasty: Nasty) -> None:
    """POSIX ACLs, in the form in which the kernel keeps them: version 2, then tag, permissions, id."""
    top = nasty.directory("access-lists")
    nobody = 0xFFFF_FFFF
    entries = (
        (0x01, 6, nobody),
        (0x02, 4, 1234),
        (0x02, 7, 4321),
        (0x04, 4, nobody),
        (0x08, 5, 99),
        (0x10, 7, nobody),
        (0x20, 0, nobody),
    )
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    file, directory = top / "file", top / "directory"
    _write(file, b"with an access list")
    directory.mkdir()
    nasty.attempt("ACL of a file", lambda: os.setxattr(file, "system.posix_acl_access", acl))
    nasty.attempt("ACL of a directory", lambda: os.setxattr(directory, "system.posix_acl_access", acl))
    made = nasty.attempt("default ACL", lambda: os.setxattr(directory, "system.posix_acl_default", acl))
    if made:
        # These inherit: a restore must not add what the parent's default gives.
        _write(directory / "inherits", b"inherits")
        (directory / "inherits too").mkdir()
        _write(directory / "does not inherit", b"plain")
        os.removexattr(directory / "does not inherit", "system.posix_acl_access")


def _capabilities(nasty: Nasty) -> None:
    """A file capability, which a change of owner or content takes away again."""
    top = nasty.directory("capabilities")
    _write(top / "ping", b"#!/bin/true\n")
    (top / "ping").chmod(0o755)
    net_raw = struct.pack("<5I", 0x0200_0001, 1 << 13, 0, 0, 0)
    nasty.attempt("file capability", lambda: os.setxattr(top / "ping", "security.capability", net_raw))


def _empty_and_large_directories(nasty: Nasty) -> None:
    top = nasty.directory("directories")
    (top / "empty").mkdir()
    (top / "only-empty/a/b/c").mkdir(parents=True)
    large = os.fsencode(top / "large")
    os.mkdir(large)
    for number in range(nasty.entries_of_large_directory):
        _write(large + b"/entry-%06d" % number, b"%d" % number if number % 10 == 0 else b"")


def _branches(nasty: Nasty) -> None:
    """An ordinary tree of random shape."""
    directories = [nasty.directory("branches")]
    for number in range(60):
        child = nasty.random.choice(directories) / f"{nasty.random.randrange(1000)}-{number}"
        child.mkdir()
        directories.append(child)
    for number in range(200):
        size = nasty.random.choice((0, 10, 1000, 20_000))
        _write(nasty.random.choice(directories) / f"file-{number}", nasty.random.randbytes(size))


def _stamps(nasty: Nasty) -> None:
    """Last, because making an entry changes the time of its directory."""
    top = nasty.directory("stamps")
    for time_ns in STAMPS_NS:
        for path in (top / f"file{time_ns}", top / f"directory{time_ns}"):
            path.mkdir() if path.name.startswith("d") else _write(path, b"stamped")
            os.utime(path, ns=(time_ns, time_ns))
    os.utime(nasty.root / "branches", ns=(1, 1_111_111_111_111_111_111))
    os.utime(top, ns=(1, 1_222_222_222_222_222_222))
    os.utime(nasty.root / "directories/empty", ns=(1, 999_999_999))
    os.utime(nasty.root, ns=(1, 1_333_333_333_333_333_333))
