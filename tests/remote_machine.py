"""A machine with a home, a configuration with one remote called `far`, and secrets that it must not tell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from bitbacker.app.access import Access, Wiring, connected
from bitbacker.repo.open import Repository
from bitbacker.spi import Transport
from cli.command import PASSWORD, Done, Home

NAME = "far"
Option = str | int | bool | Mapping[str, str]


@dataclass(frozen=True)
class Remote:
    """Where a repository lies: the keys of the remote's table, and the environment that they name.

    `exclusive`: whether the storage decides between two writers.
    """

    url: str
    options: Mapping[str, Option] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    exclusive: bool = True

    def using(self, **options: Option) -> Remote:
        """The same remote with other options."""
        return replace(self, options={**self.options, **options})

    def without(self, *options: str) -> Remote:
        """The same remote without these options."""
        return replace(
            self, options={key: value for key, value in self.options.items() if key not in options}
        )

    def knowing(self, **environment: str) -> Remote:
        """The same remote in another environment; what is empty is absent."""
        return replace(self, environment={**self.environment, **environment})

    def table(self, **more: Option) -> str:
        """The remote in TOML."""
        values = {"url": self.url, **self.options, **more}
        return "".join(
            [f"[remotes.{NAME}]\n", *(f"{key} = {_toml(value)}\n" for key, value in values.items())]
        )


def _toml(value: Option) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {json.dumps(text)}" for key, text in value.items())
        return f"{{ {inside} }}"
    return json.dumps(value)


class Machine(Home):
    """A home on a machine that backs up to one remote."""

    def __init__(self, top: Path, remote: Remote, config: str = "", **table: Option) -> None:
        super().__init__(top)
        self.remote = remote
        top.mkdir(parents=True, exist_ok=True)
        (top / "bitbacker.toml").write_text(f"{remote.table(**table)}\n{config}")

    def environment(self, **more: str) -> dict[str, str]:
        """What a process sees, the secrets of the remote among it."""
        whole = super().environment(**{"BITBACKER_REMOTE": NAME, **self.remote.environment, **more})
        return {name: value for name, value in whole.items() if value}

    def fails(self, *arguments: str) -> dict[str, Any]:
        """What the one line of JSON says with which a process of its own ends; no secret is told."""
        done = self(*arguments, "--json")
        self.assert_keeps_secrets(done)
        lines = [json.loads(line) for line in done.err.splitlines()]
        warned = (
            [] if self.remote.exclusive else [line for line in lines if line["message_type"] == "warning"]
        )
        told: dict[str, Any]
        (told,) = [line for line in lines if line not in warned]
        assert (told["message_type"], told["exit_code"]) == ("error", done.code)
        return told

    def says(self, *arguments: str, process: bool = False) -> list[dict[str, Any]]:
        """What a command that succeeds says in JSON; with `process` in a process of its own."""
        done = (self if process else self.inside)(*arguments, "--json")
        warned = {json.loads(line)["message_type"] for line in done.err.splitlines()}
        allowed = set() if self.remote.exclusive else {"warning"}
        assert (done.code, warned - allowed) == (0, set()), (arguments, done)
        self.assert_keeps_secrets(done)
        told = [json.loads(line) for line in done.out.splitlines()]
        return [line for line in told if line["message_type"] not in {"status", "note"}]

    def assert_keeps_secrets(self, done: Done) -> None:
        """Neither output holds a password or a secret of the remote."""
        told = done.out + done.err
        assert "Traceback" not in told, told
        for secret in (PASSWORD, *self.remote.environment.values()):
            assert not secret or secret not in told

    @contextmanager
    def transports(self, count: int = 1) -> Iterator[list[Transport]]:
        """Connections to the remote, made as commands make them."""
        with self._here(), ExitStack() as stack:
            wiring = Wiring(Access())
            made = (wiring.transport(wiring.remote) for _ in range(count))
            yield [stack.enter_context(closing(transport)) for transport in made]

    @contextmanager
    def opened(self) -> Iterator[Repository]:
        """The repository, open as commands open it."""
        with self._here(), connected(Access()) as connection:
            yield connection.repository

    @contextmanager
    def _here(self) -> Iterator[None]:
        """This process on this machine."""
        before = os.getcwd()
        os.chdir(self.top)
        try:
            with mock.patch.dict(os.environ, self.environment(), clear=True):
                yield
        finally:
            os.chdir(before)
