"""Owners, modes, extended attributes and times of what a restore makes.

Everything goes through a descriptor, or through the last component of an open directory without
following it.  The order matters: a change of owner clears set-user-id bits and capabilities, a mode
may forbid its owner to set attributes, a mode is part of an access control list, and the time of
modification comes last because it says that an entry is complete.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from bitbacker.format.extras import Xattr

_ACL = b"system.posix_acl_"
_SET_IDS = stat.S_ISUID | stat.S_ISGID


class Attributes(NamedTuple):
    """What an entry gets besides its content: `mode` is st_mode, owners are numbers of this machine."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: tuple[Xattr, ...] = ()


class Newborn(NamedTuple):
    """What a new file has in the target before anything is set.

    A set-group-id directory or a mount option decides about its owner, too, and a default access list
    of the target is handed on to everything below it.
    """

    uid: int
    gid: int
    has_acl: bool


class Metadata:
    """Sets attributes, and says once what this process may not do at all.

    Methods return what could not be set, in words, empty when all was; `note` hears, once each, what
    an unprivileged process cannot do.
    """

    def __init__(self, note: Callable[[str], None], newborn: Newborn) -> None:
        self._note = note
        self._noted: set[str] = set()
        self._privileged = os.geteuid() == 0
        self._groups = {os.getegid(), *os.getgroups()}
        self._new_files_owner = newborn[:2]
        self._inherits_acls = newborn.has_acl

    def to_file(self, descriptor: int, attributes: Attributes) -> str:
        """For a file that this process has just made and has open."""
        as_it_is = (attributes.uid, attributes.gid) == self._new_files_owner and not self._inherits_acls
        if attributes.xattrs or not as_it_is:
            return self._all(descriptor, attributes)
        os.fchmod(descriptor, attributes.mode & 0o7777)
        os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))
        return ""

    def to_directory(self, descriptor: int, attributes: Attributes) -> str:
        """For an open directory."""
        return self._all(descriptor, attributes)

    def to_special(self, directory: int, name: bytes, attributes: Attributes) -> str:
        """For a FIFO or a device, which must not be opened to be changed."""
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if stat.S_IFMT(os.fstat(descriptor).st_mode) != stat.S_IFMT(attributes.mode):
                return "somebody replaced it while it was restored"
            return self._all(through(descriptor), attributes)
        finally:
            os.close(descriptor)

    def to_symlink(self, directory: int, name: bytes, attributes: Attributes) -> str:
        """For a symlink itself, never for what it points to."""
        failures: list[str | None] = []
        owner = (attributes.uid, attributes.gid)
        times = (attributes.mtime_ns, attributes.mtime_ns)
        if owner != self._new_files_owner:
            failures.append(
                self._failure(
                    "owner", lambda: os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
                )
            )
        path = through(directory) + b"/" + name
        failures += [self._set(path, xattr, follow=False) for xattr in attributes.xattrs]
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
        return "; ".join(filter(None, failures))

    def _all(self, what: int | bytes, attributes: Attributes) -> str:
        if self._inherits_acls:
            _remove_acls(what)
        mode = attributes.mode & 0o7777
        failures = [self._failure("owner", lambda: self._own(what, attributes))]
        if failures[0] is not None and mode & _SET_IDS:
            mode &= ~_SET_IDS
            self._note_once("set-user-id and set-group-id bits are left out where the owner is another")
        acls = [xattr for xattr in attributes.xattrs if xattr.name.startswith(_ACL)]
        failures += [self._set(what, xattr) for xattr in attributes.xattrs if xattr not in acls]
        failures.append(self._failure("mode", lambda: os.chmod(what, mode)))
        failures += [self._set(what, xattr) for xattr in acls]
        os.utime(what, ns=(attributes.mtime_ns, attributes.mtime_ns))
        return "; ".join(filter(None, failures))

    def _own(self, what: int | bytes, attributes: Attributes) -> None:
        try:
            os.chown(what, attributes.uid, attributes.gid)
        except PermissionError:
            if not self._privileged and attributes.gid in self._groups:
                os.chown(what, -1, attributes.gid)
            raise

    def _set(self, what: int | bytes, xattr: Xattr, *, follow: bool = True) -> str | None:
        attribute = f"extended attribute {os.fsdecode(xattr.name)}"
        return self._failure(
            attribute, lambda: os.setxattr(what, xattr.name, xattr.value, follow_symlinks=follow)
        )

    def _failure(self, attribute: str, action: Callable[[], None]) -> str | None:
        """None when the action was done, words when that is a problem, else the empty string."""
        try:
            action()
        except OSError as error:
            if error.errno == errno.EPERM and not self._privileged:
                self._note_once(f"{attribute} is not restored where only root may set it")
                return ""
            return f"{attribute} is not restored: {error.strerror}"
        except ValueError:
            return f"{attribute} is not restored: its name is not possible here"
        return None

    def _note_once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)


def has_acl(descriptor: int) -> bool:
    """Whether something that is open has an access list besides its mode."""
    with suppress(OSError):
        return bool(os.getxattr(descriptor, _ACL + b"access"))
    return False


def _remove_acls(what: int | bytes) -> None:
    for kind in (b"access", b"default"):
        with suppress(OSError):
            os.removexattr(what, _ACL + kind)


def through(descriptor: int) -> bytes:
    """A path that leads to what is open, wherever its name is by now."""
    return b"/proc/self/fd/%d" % descriptor
