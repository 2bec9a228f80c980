"""The one exception tree of BitBacker.

Rules:

* Every error that a user can meet is a `BitBackerError`; anything else that escapes is a bug.
* `code` is a stable word for scripts, `exit_code` what the process ends with, `retryable` whether the
  same call may succeed later without anybody changing anything.
* The message says what is wrong with what; the hint names the next thing to do.
* No message and no hint ever holds a secret.
* Errors of the source and errors of the storage are disjoint branches, so that a full repository can
  never be mistaken for an unreadable file.
"""

from __future__ import annotations

from typing import ClassVar


class BitBackerError(Exception):
    """Root of the tree: something that was asked for could not be done."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        return self.message


class UsageError(BitBackerError):
    """The command line asks for something that makes no sense."""

    code = "usage"
    exit_code = 2
    default_hint = "see --help"


class InterruptedByUser(BitBackerError):
    """Ctrl-C or SIGTERM: nothing that was acknowledged is lost."""

    code = "interrupted"
    exit_code = 130
    default_hint = "run the same command again; finished work is not repeated"


class ConfigError(BitBackerError):
    """bitbacker.toml is wrong; the message starts with file and line."""

    code = "config"
    exit_code = 16
    default_hint = "bitbacker config check shows every value with its origin"


class SecretError(ConfigError):
    """A secret could not be had from where the configuration says it is."""

    code = "secret"
    default_hint = "check the command, file or variable that is named for this secret"


class PluginError(BitBackerError):
    """A plugin that is named cannot be used."""

    code = "plugin"
    exit_code = 15
    default_hint = "bitbacker plugins lists what is installed"


class PluginMissing(PluginError):
    """No installed distribution offers a plugin of this kind and name."""

    code = "plugin-missing"


class SourceError(BitBackerError):
    """Something about the data that is to be backed up."""

    code = "source"


class SourceMissing(SourceError):
    """A source that the user named does not exist."""

    code = "source-missing"
    exit_code = 17
    default_hint = "check the paths of the source"


class SourceUnreadable(SourceError):
    """One file or directory could not be read; the rest of the source goes on."""

    code = "source-unreadable"
    exit_code = 3
    default_hint = "check its permissions, or exclude it"


class TargetError(BitBackerError):
    """Something about the place that is restored to."""

    code = "target"


class TargetNotEmpty(TargetError):
    """A restore would mix with what is there already."""

    code = "target-not-empty"
    exit_code = 19
    default_hint = "name an empty directory, or continue an interrupted restore with --resume"


class StorageError(BitBackerError):
    """The storage behind a transport did not do what was asked."""

    code = "storage"
    exit_code = 20
    retryable = True
    default_hint = "check that the storage can be reached, then run the command again"


class ObjectMissing(StorageError):
    """There is no object of this name."""

    code = "object-missing"
    retryable = False

    def __init__(self, name: str) -> None:
        super().__init__(f"the storage has no object {name!r}")
        self.name = name


class ObjectExists(StorageError):
    """An exclusive put found the name taken."""

    code = "object-exists"
    retryable = False

    def __init__(self, name: str) -> None:
        super().__init__(f"the storage already has an object {name!r}")
        self.name = name


class StorageFull(StorageError):
    """No space or no quota is left; nothing half-written is visible."""

    code = "storage-full"
    exit_code = 18
    retryable = False
    default_hint = "free space or raise the quota, then run the command again; finished work is kept"


class StorageDenied(StorageError):
    """The credential may not do this, or the storage is read-only or append-only."""

    code = "storage-denied"
    retryable = False
    default_hint = "check the permissions of the credential on the storage"


class NotExclusive(StorageError):
    """The storage cannot decide which of two writers came first."""

    code = "storage-not-exclusive"
    retryable = False
    default_hint = (
        "use a storage that can, or make the repository with init --single-writer "
        "and never let two machines write to it at once"
    )


class HostUnknown(StorageError):
    """The key of the server is not known on this machine, or another one than is known."""

    code = "storage-host-unknown"
    retryable = False
    default_hint = "connect once by hand, compare the fingerprint, and let the client remember the key"


class CredentialRefused(StorageError):
    """The storage does not accept who this machine says it is: wrong or expired keys."""

    code = "storage-credential"
    retryable = False
    default_hint = "check the user, the key and the token of this remote, and whether they have expired"


class PlaceMissing(StorageError):
    """The bucket, the directory or the server's name does not exist, or is somewhere else."""

    code = "storage-place"
    retryable = False
    default_hint = "check the URL of the remote, and for a bucket its region"


class ClockSkewed(StorageError):
    """The clock of this machine is too far from that of the storage."""

    code = "storage-clock"
    retryable = False
    default_hint = "set the clock of this machine; timedatectl shows whether it is synchronised"


class ObjectsLocked(StorageError):
    """The storage keeps these objects until a time; every other one of the call has been removed.

    `names` are the objects, `free_at_s` is when the last of them may be removed, in seconds since 1970.
    """

    code = "storage-locked"
    retryable = False
    default_hint = "run bitbacker prune again after that time"

    def __init__(self, names: frozenset[str], free_at_s: float) -> None:
        super().__init__(f"the storage keeps {len(names)} objects locked")
        self.names = names
        self.free_at_s = free_at_s


class RepositoryError(BitBackerError):
    """Something about the repository as a whole."""

    code = "repository"


class RepositoryMissing(RepositoryError):
    """The storage holds no repository."""

    code = "repository-missing"
    exit_code = 10
    default_hint = "check the URL, or make a repository with bitbacker init"


class RepositoryPresent(RepositoryError):
    """`init` found a repository already there."""

    code = "repository-present"
    default_hint = "use it as it is, or name another place"


class RaceLost(RepositoryError):
    """Other clients committed first, again and again."""

    code = "race-lost"
    exit_code = 11
    retryable = True
    default_hint = "run the command again; what was uploaded is not sent twice"


class WrongPassword(RepositoryError):
    """No key slot opens with this password or recovery code."""

    code = "wrong-password"
    exit_code = 12
    default_hint = "check BITBACKER_PASSWORD, --password-file or --password-command"


class VersionUnknown(RepositoryError):
    """The repository was made by another version of the format."""

    code = "repository-version"
    exit_code = 14
    default_hint = "install a BitBacker release that knows this version"


class DamageError(RepositoryError):
    """What the storage returned is not what was stored."""

    code = "damage"
    exit_code = 13
    default_hint = "bitbacker check --read-data names everything that is affected"


class FormatError(DamageError):
    """Bytes that do not follow docs/format.md."""

    code = "format"


class SealBroken(DamageError):
    """Authenticated decryption failed: altered or renamed bytes, or those of another repository."""

    code = "seal-broken"
    default_hint = (
        "altered bytes, bytes under another name and objects of another repository look the same; "
        "bitbacker check --read-data names everything that is affected"
    )


class SizeWrong(SealBroken):
    """An object has another size, or is listed with another, than every object of its kind."""

    code = "object-size"
    default_hint = "something was cut short or made longer; bitbacker check names everything that is affected"


class RollbackDetected(DamageError):
    """The storage shows an older state than this client has seen."""

    code = "rollback"
    default_hint = "find out who restored or replaced the storage before you trust it"


class ForkDetected(DamageError):
    """The storage shows another history than this client has seen."""

    code = "fork"
    default_hint = (
        "clients were shown different histories: compare bitbacker witness on all machines, "
        "and find out what happened to the storage before you trust it"
    )


class HistoryUnknown(DamageError):
    """The repository should know whether it goes on from a state that was seen before, and does not."""

    code = "history-unknown"
    default_hint = "compare bitbacker witness on all machines before you trust the storage"


class KeySlotsReplaced(DamageError):
    """The key slots are not those that this machine has used, or not those that belong together."""

    code = "keyslots-replaced"
    default_hint = "find out who replaced the key slots before you type a password again"


class KeySlotsRolledBack(DamageError):
    """The storage shows older key slots than this machine has seen."""

    code = "keyslots-rollback"
    default_hint = "a password that was removed may open them: find out who brought them back"


class RepositoryReplaced(DamageError):
    """Another repository lies where this machine has used one."""

    code = "repository-replaced"
    default_hint = "find out who replaced the repository before you store anything in it"


class SnapshotUnknown(RepositoryError):
    """No snapshot answers to this name."""

    code = "snapshot-unknown"
    default_hint = "bitbacker snapshots lists them"


class PathUnknown(RepositoryError):
    """The snapshot does not hold this path."""

    code = "path-unknown"
    default_hint = "bitbacker ls shows what the snapshot holds"
