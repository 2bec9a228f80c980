"""From what the user said to an open repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from bitbacker.app.making import HostMaker, choice_of
from bitbacker.config import (
    Config,
    Remote,
    SecretSource,
    SourceSpec,
    cache_directory,
    choose_remote,
    find_config,
    make_config,
    no_config,
    password_from_outside,
    password_source,
    read_config,
    resolve,
    shown_url,
    state_directory,
)
from bitbacker.crypto.slots import Unlocker
from bitbacker.errors import RepositoryMissing, SecretError, UsageError
from bitbacker.host import Host, Kind
from bitbacker.repo.create import create
from bitbacker.repo.open import Repository, open_repository
from bitbacker.repo.settings import LocalPaths, RepositoryOptions
from bitbacker.repo.slot_memory import SlotMemory
from bitbacker.repo.volume import Padding
from bitbacker.spi import Source, Transport

SINGLE_WRITER = (
    "this repository is for a single writer: its storage cannot decide between two, "
    "so never let two machines write at once"
)

Prompt = Callable[[str], str]
"""Asks for a password; called with what it is for, in words."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the user says which repository is meant and how it opens; all of it may be empty.

    `command` is what he does with it, in the words of the command line: what the trace calls the run.
    """

    config: str = ""
    remote: str = ""
    password_file: str = ""
    password_command: str = ""
    use_cache: bool = True
    command: str = ""


class Wiring:
    """Makes the parts that the configuration and the command line name.

    `prompt` is None where nobody can be asked.
    """

    def __init__(self, access: Access, prompt: Prompt | None = None) -> None:
        path = find_config(access.config)
        self.config: Config = read_config(path) if path else no_config()
        self.host = Host([str(file) for file in self.config.plugins])
        self._access = access
        self._prompt = prompt

    @cached_property
    def remote(self) -> Remote:
        """The one remote that the command works on.  Raises `UsageError`."""
        return choose_remote(self.config, self._access.remote)

    @property
    def paths(self) -> LocalPaths:
        """Where this machine keeps its part."""
        return LocalPaths(cache_directory(), state_directory())

    def transport(self, remote: Remote) -> Transport:
        """The transport of a remote, which has not touched the storage yet.

        Raises `PluginError`, `ConfigError`, `SecretError`.
        """
        offered = self.host.transport(urlsplit(remote.url).scheme)
        return offered(remote.url, make_config(offered.Config, remote.options))

    def unlocker(self, remote: Remote) -> Unlocker:
        """The password of a remote.  Raises `SecretError`, `UsageError`."""
        return Unlocker(self._resolved(self._password(remote)))

    def new_unlocker(self, remote: Remote) -> Unlocker:
        """A password that is being chosen: one that is typed in is typed in twice."""
        source = self._password(remote)
        if source.way == "prompt":
            return self.typed_twice(source.purpose)
        return Unlocker(self._resolved(source))

    def typed_twice(self, purpose: str) -> Unlocker:
        """A new password from the terminal.  Raises `SecretError`, `UsageError`."""
        first = self._resolved(SecretSource("prompt", (), f"new {purpose}"))
        again = self._resolved(SecretSource("prompt", (), f"new {purpose} again"))
        if first != again:
            raise UsageError("the two passwords differ", hint="try again")
        return Unlocker(first)

    def source(self, spec: SourceSpec) -> Source:
        """The source of a table of the configuration.  Raises `PluginError`, `ConfigError`."""
        offered = self.host.source(spec.plugin.name)
        return offered(make_config(offered.Config, spec.plugin.options))

    def named_source(self, name: str) -> SourceSpec:
        """The table of this name.  Raises `UsageError`."""
        for spec in self.config.sources:
            if spec.name == name:
                return spec
        names = ", ".join(spec.name for spec in self.config.sources)
        hint = f"the configuration has: {names}" if names else "the configuration has no sources"
        raise UsageError(f"no source is called {name!r}", hint=hint)

    def options(self, *, single_writer: bool = False) -> RepositoryOptions:
        """What a new repository is made with."""
        wanted = self.config.repository
        return RepositoryOptions(
            choice_of(self.host, Kind.CIPHER, wanted.cipher),
            choice_of(self.host, Kind.CHUNKER, wanted.chunker),
            single_writer,
        )

    def padding(self) -> Padding:
        """How sessions of this machine are padded."""
        wanted = self.config.repository
        return Padding(wanted.padding, wanted.floor_bytes)

    def create(self, remote: Remote, label: str = "", *, single_writer: bool = False) -> Connection:
        """Make a repository, for a single writer if this or the remote says so.

        Raises `RepositoryPresent`, `NotExclusive`, `StorageError`, `PluginError`.
        """
        with ExitStack() as stack:
            transport = stack.enter_context(closing(self.transport(remote)))
            unlocker, maker = self.new_unlocker(remote), HostMaker(self.host)
            location = shown_url(remote.url)
            repository = create(
                transport,
                unlocker,
                self.options(single_writer=single_writer or remote.single_writer),
                maker,
                self.paths,
                label=label,
                padding=self.padding(),
                location=location,
            )
            stack.pop_all()
        return self._connection(remote, repository, unlocker)

    def open(self, remote: Remote) -> Connection:
        """Open a repository.  Raises as `open_repository` does."""
        with ExitStack() as stack:
            transport = stack.enter_context(closing(self.transport(remote)))
            unlocker, maker = self.unlocker(remote), HostMaker(self.host)
            try:
                repository = open_repository(
                    transport,
                    unlocker,
                    maker,
                    self.paths,
                    use_cache=self._access.use_cache,
                    padding=self.padding(),
                    location=shown_url(remote.url),
                )
            except RepositoryMissing as error:
                raise RepositoryMissing(f"there is no repository at {shown_url(remote.url)}") from error
            # From here on the connection closes it.
            stack.pop_all()
        return self._connection(remote, repository, unlocker)

    def used_before(self, remote: Remote) -> bool:
        """Whether this machine has opened a repository at this place."""
        return SlotMemory(self.paths.state, shown_url(remote.url)).used_before

    def _connection(self, remote: Remote, repository: Repository, unlocker: Unlocker) -> Connection:
        repository.purpose = self._access.command
        return Connection(self, remote, repository, unlocker)

    def _resolved(self, source: SecretSource) -> str:
        if source.way == "prompt" and self._prompt is None:
            raise SecretError(
                f"the {source.purpose} would be asked for, but there is no terminal",
                hint="use --password-file, --password-command or BITBACKER_PASSWORD",
            )
        return resolve(source, self._prompt).reveal()

    def _password(self, remote: Remote) -> SecretSource:
        outside = password_from_outside(self._access.password_file, self._access.password_command)
        return password_source(remote, outside)


@dataclass(frozen=True, slots=True)
class Connection:
    """An open repository and how it came to be; `unlocker` is the secret that opened it."""

    wiring: Wiring
    remote: Remote
    repository: Repository
    unlocker: Unlocker

    @property
    def warning(self) -> str:
        """What everybody who is about to write must be told; empty when there is nothing."""
        return SINGLE_WRITER if self.repository.constants.single_writer else ""

    def close(self) -> None:
        """Let go of the storage."""
        self.repository.close()


@contextmanager
def connected(access: Access, prompt: Prompt | None = None) -> Iterator[Connection]:
    """The repository that the user means, open."""
    wiring = Wiring(access, prompt)
    connection = wiring.open(wiring.remote)
    try:
        yield connection
    finally:
        connection.close()
