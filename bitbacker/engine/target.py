"""The directory that is restored into; nothing outside it is ever written.

Every call names a directory by its path below the root (bytes, no leading slash) and an entry by its
name in it.  Directories are reached without following symlinks (`target_directories`), entries are
made under a temporary name of ours, finished, and only then given their own name, so that what has
the name is whole.  Calls raise `OSError` when the entry cannot be made (`end_of_target` says whether
others can), and `FormatError` for a name that no directory can hold.  A returned text says what could
not be set on an entry that was made otherwise, and is empty as a rule.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitbacker.engine.target_directories import OpenDirectories, components
from bitbacker.engine.target_metadata import Attributes, Metadata, Newborn, has_acl, through
from bitbacker.engine.target_root import open_root
from bitbacker.errors import TargetError
from bitbacker.format.entries import check_names

CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LEFT_OVER = re.compile(rb"\.bitbacker-[0-9a-f]{16}-[0-9]+")
_END_OF_TARGET = {
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "its quota is used up",
    errno.EROFS: "it is read-only",
}


class Target:
    """Makes directories, files, symlinks, devices and hard links below one open directory."""

    def __init__(self, root: int, note: Callable[[str], None]) -> None:
        self._root = root
        self._token = secrets.token_hex(8).encode()
        self._made = 0
        self.directories = OpenDirectories(root)
        newborn, self._ignores_case = self._probe()
        self.metadata = Metadata(note, newborn)

    def make_directory(self, path: bytes, *, present_ok: bool = False) -> None:
        """Make a directory that only this process may enter, until `finish_directory`.

        With `present_ok` a directory that is there already is taken, and closed to others likewise.
        """
        above, _, name = path.rpartition(b"/")
        check_names(components(path)[-1:] or [name])
        there = self.directories.descriptor(above)
        try:
            os.mkdir(name, 0o700, dir_fd=there)
        except FileExistsError:
            if not present_ok:
                raise
            self._refuse_other_case(there, name)
            _take_over(there, name)

    def finish_directory(self, path: bytes, attributes: Attributes) -> str:
        """Set what a directory is to have, once everything in it is done."""
        problem = self.metadata.to_directory(self.directories.descriptor(path), attributes)
        self.directories.forget(path)
        return problem

    def write_file(
        self, directory: bytes, name: bytes, data: bytes | memoryview, attributes: Attributes
    ) -> str:
        """Make a whole file in one go."""
        check_names([name])
        there = self.directories.descriptor(directory)
        temporary = self.temporary_name()
        descriptor = os.open(temporary, CREATE_FILE, 0o600, dir_fd=there)
        try:
            try:
                if data:
                    write_at(descriptor, data, 0)
                problem = self.metadata.to_file(descriptor, attributes)
            finally:
                os.close(descriptor)
            self.give_name(there, temporary, name)
        except BaseException:
            remove_quietly(there, temporary)
            raise
        return problem

    def make_symlink(self, directory: bytes, name: bytes, to: bytes, attributes: Attributes) -> str:
        """Make a symlink; where it leads is the reader's affair, it is never followed here."""
        with self._making(directory, name) as (there, temporary):
            os.symlink(to, temporary, dir_fd=there)
            return self.metadata.to_symlink(there, temporary, attributes)

    def make_special(self, directory: bytes, name: bytes, device: int, attributes: Attributes) -> str:
        """Make a FIFO or a device; `device` is the number of a device."""
        with self._making(directory, name) as (there, temporary):
            os.mknod(temporary, stat.S_IFMT(attributes.mode) | 0o600, device, dir_fd=there)
            return self.metadata.to_special(there, temporary, attributes)

    def make_link(self, directory: bytes, name: bytes, to_directory: bytes, to_name: bytes) -> None:
        """Give the entry `to_name` of `to_directory` another name, in place of what has that name."""
        check_names([name])
        check_names([to_name])
        source = self.directories.descriptor(to_directory)
        there = self.directories.descriptor(directory)
        with suppress(FileExistsError):
            os.link(to_name, name, src_dir_fd=source, dst_dir_fd=there, follow_symlinks=False)
            return
        with self._making(directory, name) as (there, temporary):
            os.link(to_name, temporary, src_dir_fd=source, dst_dir_fd=there, follow_symlinks=False)
        # A rename between two names of one file leaves both.
        remove_quietly(there, temporary)

    def remove_left_overs(self, directory: bytes, keep: Collection[bytes]) -> None:
        """Remove what an interrupted restore left under temporary names, but nothing in `keep`."""
        there = self.directories.descriptor(directory)
        for name in map(os.fsencode, os.listdir(there)):
            if LEFT_OVER.fullmatch(name) and name not in keep:
                remove_quietly(there, name)

    def temporary_name(self) -> bytes:
        """A name that nobody else uses or foresees."""
        self._made += 1
        return b".bitbacker-%b-%d" % (self._token, self._made)

    def give_name(self, directory: int, temporary: bytes, name: bytes) -> None:
        """What has a temporary name is whole; it takes the place of what has its name."""
        if self._ignores_case:
            self._refuse_other_case(directory, name)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)

    def close(self) -> None:
        """Close every directory."""
        self.directories.close()

    def _probe(self) -> tuple[Newborn, bool]:
        """Make a file and learn what new files are like here, and whether names are found in another case."""
        name = self.temporary_name()
        descriptor = os.open(name, CREATE_FILE, 0o600, dir_fd=self._root)
        try:
            status = os.fstat(descriptor)
            newborn = Newborn(status.st_uid, status.st_gid, has_acl(descriptor))
            return newborn, _is_there(self._root, name.upper())
        finally:
            os.close(descriptor)
            remove_quietly(self._root, name)

    def _refuse_other_case(self, directory: int, name: bytes) -> None:
        """Two entries whose names differ only in case must not overwrite one another."""
        if not self._ignores_case or not _is_there(directory, name):
            return
        if name not in map(os.fsencode, os.listdir(directory)):
            raise FileExistsError(errno.EEXIST, "another name differs from it only in case")

    @contextmanager
    def _making(self, directory: bytes, name: bytes) -> Iterator[tuple[int, bytes]]:
        """A temporary name in the open directory, renamed to `name` if all goes well, else removed."""
        check_names([name])
        there = self.directories.descriptor(directory)
        temporary = self.temporary_name()
        try:
            yield there, temporary
            self.give_name(there, temporary, name)
        except BaseException:
            remove_quietly(there, temporary)
            raise


def open_target(path: Path, *, resume: bool, note: Callable[[str], None]) -> Target:
    """Open the target directory, an absolute path without symlinks, which is made when it is not there.

    Raises `TargetNotEmpty` when there is something in it and `resume` is not set, and `TargetError`
    when it cannot be made, opened or written.
    """
    try:
        root = open_root(path, resume=resume)
        try:
            return Target(root, note)
        except BaseException:
            os.close(root)
            raise
    except OSError as error:
        raise TargetError(f"{path} cannot be restored into: {error.strerror}") from error


def _is_there(directory: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def end_of_target(error: OSError) -> str:
    """Why nothing more can be written to the target, empty when it is the matter of one entry."""
    return _END_OF_TARGET.get(error.errno or 0, "")


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)


def remove_quietly(directory: int, name: bytes) -> None:
    """Remove a file of ours, if it is there and we can."""
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)


def _take_over(there: int, name: bytes) -> None:
    """Close a directory to others, even when its mode forbids us to open it."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=there)
    try:
        os.chmod(through(descriptor), 0o700)
    finally:
        os.close(descriptor)
