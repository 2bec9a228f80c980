"""Where secrets come from, and that nothing ever shows one."""

from __future__ import annotations

import logging
import os
import stat
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitbacker.config import (
    SecretSource,
    Table,
    make_config,
    password_from_outside,
    read_config,
    resolve,
)
from bitbacker.config.given import source_in_table
from bitbacker.config.table import parse_toml
from bitbacker.errors import BitBackerError, SecretError, UsageError
from bitbacker.spi import Secret, secret

THE_WAYS = "command, file, env, keyring, systemd, prompt"
HIDDEN = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class WithToken:
    token: Secret | None = secret()  # noqa: RUF009  # it makes a field


def table(text: str, file: str = "b.toml") -> Table:
    return parse_toml(f"[remotes.offsite]\n{text}\n", file).table("remotes").table("offsite")


def source(text: str, file: str = "b.toml") -> SecretSource:
    return source_in_table(table(text, file), "password")


def complaint(call: Callable[[], object]) -> BitBackerError:
    with pytest.raises(BitBackerError) as caught:
        call()
    return caught.value


def resolved(text: str, file: str = "b.toml") -> str:
    return resolve(source(text, file)).reveal()


@pytest.mark.parametrize(
    ("written", "expected"),
    [(HIDDEN, HIDDEN), (f"{HIDDEN}\n", HIDDEN), (f"{HIDDEN}\r\n", HIDDEN), (f"{HIDDEN}\n\n", f"{HIDDEN}\n"),
     (f" {HIDDEN} \n", f" {HIDDEN} "), ("ü\n", "ü")],
)  # fmt: skip
def test_a_file_gives_its_text_without_one_newline(tmp_path: Path, written: str, expected: str) -> None:
    (tmp_path / "secret").write_text(written, newline="")
    assert resolved(f"password = {{ file = {str(tmp_path / 'secret')!r} }}") == expected


def test_a_file_is_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(HIDDEN)
    assert resolved("password = { file = 'secret' }", str(tmp_path / "b.toml")) == HIDDEN


def test_a_file_may_be_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text(HIDDEN)
    assert resolved("password = { file = '~/secret' }") == HIDDEN


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_command_gives_its_output_without_one_newline(tmp_path: Path, end: str) -> None:
    (tmp_path / "secret").write_text(HIDDEN + end)
    assert resolved(f"password = {{ command = ['cat', {str(tmp_path / 'secret')!r}] }}") == HIDDEN


def test_a_variable_gives_its_value_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSITE", f"{HIDDEN}\n")
    assert resolved("password = { env = 'OFFSITE' }") == f"{HIDDEN}\n"


def test_a_systemd_credential_is_a_file_in_the_directory_of_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "offsite").write_text(f"{HIDDEN}\n")
    assert resolved("password = { systemd = 'offsite' }") == HIDDEN


def test_a_prompt_is_asked_what_it_is_for() -> None:
    asked: list[str] = []

    def prompt(purpose: str) -> str:
        asked.append(purpose)
        return HIDDEN

    assert resolve(source("password = { prompt = true }"), prompt).reveal() == HIDDEN
    assert asked == ["'password' in [remotes.offsite]"]


def test_a_keyring_is_asked_for_service_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is optional and no desktop runs here, so a stand-in takes its place."""
    entries = {("https://host", "me"): HIDDEN}
    stand_in = SimpleNamespace(get_password=lambda service, user: entries.get((service, user)))
    monkeypatch.setitem(sys.modules, "keyring", stand_in)  # type: ignore[arg-type]  # no module, but quacks
    assert resolved("password = { keyring = 'https://host/me' }") == HIDDEN
    error = complaint(lambda: resolved("password = { keyring = 'other/me' }"))
    assert "nothing for user 'me' of service 'other'" in str(error)


def test_without_the_package_a_keyring_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)  # type: ignore[arg-type]  # makes the import fail
    error = complaint(lambda: resolved("password = { keyring = 'service/me' }"))
    assert str(error).endswith("the Python package keyring is not installed")
    assert error.hint == "pip install keyring"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'plain'", "a secret does not belong in the file; the file says where it is"),
        ("3", "a secret does not belong in the file; the file says where it is"),
        ("{}", f"exactly one of {THE_WAYS} is needed, not 0"),
        ("{ env = 'A', file = 'b' }", f"exactly one of {THE_WAYS} is needed, not 2"),
        ("{ vault = 'x' }", f"unknown kind of secret 'vault'; known are {THE_WAYS}"),
        ("{ command = 'pass show' }", "'command' must be an array of strings, the program first"),
        ("{ command = [] }", "'command' must be an array of strings, the program first"),
        ("{ command = ['a', 1] }", "'command' must be an array of strings, the program first"),
        ("{ prompt = false }", "'prompt' must be true"),
        ("{ keyring = 'service' }", "'keyring' must be a string \"service/user\""),
        ("{ env = '' }", "'env' must be a string"),
        ("{ file = 3 }", "'file' must be a string"),
    ],
)  # fmt: skip
def test_a_secret_comes_from_exactly_one_place(text: str, expected: str) -> None:
    error = complaint(lambda: source(f"password = {text}"))
    assert isinstance(error, SecretError)
    assert str(error) == f"b.toml:2: 'password' in [remotes.offsite]: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ file = '/nowhere' }", "the file /nowhere cannot be read: No such file or directory"),
        ("{ command = ['/nowhere/program', 'x'] }",
            "the command '/nowhere/program' cannot be run: No such file or directory"),
        ("{ command = ['sh', '-c', 'exit 7'] }", "the command 'sh' failed with exit status 7"),
        ("{ command = ['true'] }", "the command gave nothing, or no UTF-8"),
        ("{ command = ['printf', '\\377'] }", "the command gave nothing, or no UTF-8"),
        ("{ file = '/dev/null' }", "the file gave nothing, or no UTF-8"),
        ("{ env = 'NO_SUCH' }", "the environment has no variable NO_SUCH"),
        ("{ env = 'EMPTY' }", "the env gave nothing, or no UTF-8"),
        ("{ systemd = 'x' }", "this process was given no systemd credentials"),
        ("{ prompt = true }", "it is asked for at a terminal, and there is none"),
    ],
)  # fmt: skip
def test_a_secret_that_cannot_be_had_is_an_error(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    error = complaint(lambda: resolved(f"password = {text}"))
    assert isinstance(error, SecretError)
    assert str(error) == f"b.toml:2: 'password' in [remotes.offsite]: {expected}"


def test_a_missing_systemd_credential_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    error = complaint(lambda: resolved("password = { systemd = 'x' }"))
    assert "there is no systemd credential 'x'" in str(error)


def test_what_a_command_complains_about_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    complaint(lambda: resolved(f"password = {{ command = ['sh', '-c', 'echo {HIDDEN} >&2; exit 1'] }}"))
    assert capfd.readouterr() == ("", "")


def test_a_command_does_not_read_our_input(tmp_path: Path) -> None:
    """`backup --stdin` pipes data in, and a password command must not eat it."""
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\nread -r line || echo at-its-end\necho "$line"\n')
    script.chmod(stat.S_IRWXU)
    reader, writer = os.pipe()
    os.write(writer, b"data\n")
    saved = os.dup(0)
    try:
        os.dup2(reader, 0)
        value = resolved(f"password = {{ command = [{str(script)!r}] }}")
        assert (value.split("\n")[0], os.read(0, 100)) == ("at-its-end", b"data\n")
    finally:
        os.dup2(saved, 0)
        for fd in (reader, writer, saved):
            os.close(fd)


class TestOutside:
    """The command line and the environment."""

    def test_nothing_is_given(self) -> None:
        assert password_from_outside() is None

    def test_a_file_is_given(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(f"{HIDDEN}\n")
        given = password_from_outside(password_file=str(tmp_path / "secret"))
        assert given is not None
        assert resolve(given).reveal() == HIDDEN

    def test_a_command_is_given_as_for_a_shell(self, tmp_path: Path) -> None:
        (tmp_path / "my secret").write_text(HIDDEN)
        given = password_from_outside(password_command=f"cat '{tmp_path}/my secret'")
        assert given is not None
        assert resolve(given).reveal() == HIDDEN

    def test_a_variable_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BITBACKER_PASSWORD", HIDDEN)
        given = password_from_outside()
        assert given is not None
        assert resolve(given).reveal() == HIDDEN

    @pytest.mark.parametrize("command", ["'unclosed", "", " "])
    def test_a_command_that_is_none_is_refused(self, command: str) -> None:
        if not command:
            assert password_from_outside(password_command=command) is None
            return
        error = complaint(lambda: password_from_outside(password_command=command))
        assert (type(error), str(error)) == (SecretError, "--password-command: this is not a command")

    @pytest.mark.parametrize(
        ("file", "command", "variable", "names"),
        [
            ("f", "c", "", "--password-file and --password-command"),
            ("f", "", "v", "--password-file and the variable BITBACKER_PASSWORD"),
            ("", "c", "v", "--password-command and the variable BITBACKER_PASSWORD"),
        ],
    )
    def test_two_at_once_are_an_error(
        self, monkeypatch: pytest.MonkeyPatch, file: str, command: str, variable: str, names: str
    ) -> None:
        if variable:
            monkeypatch.setenv("BITBACKER_PASSWORD", variable)
        error = complaint(lambda: password_from_outside(file, command))
        assert (type(error), str(error)) == (UsageError, f"the password is given twice: by {names}")


def leaks(error: BaseException) -> list[str]:
    """Where an error shows the secret: in its words, its hint, its causes, or its traceback with variables.

    Variables of this file are left out: the tests know the secret.
    """
    shown = {"str": str(error), "repr": repr(error), "hint": getattr(error, "hint", "")}
    for number, frames in enumerate(chain_of(error)):
        shown[f"traceback {number}"] = "\n".join(frames)
    return [where for where, text in shown.items() if HIDDEN in text]


def chain_of(error: BaseException) -> list[list[str]]:
    chain: list[list[str]] = []
    now: BaseException | None = error
    while now is not None:
        report = traceback.TracebackException.from_exception(now, capture_locals=True)
        ours = [frame for frame in report.stack if frame.filename != __file__]
        variables = [f"{name}={text}" for frame in ours for name, text in (frame.locals or {}).items()]
        chain.append([str(now), *variables])
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)
    return chain


FAILING: dict[str, Callable[[Path], Any]] = {
    "plain text": lambda _: source(f"password = '{HIDDEN}'"),
    "plain text for a plugin": lambda _: make_config(WithToken, table(f"token = '{HIDDEN}'")),
    "two sources, one of them plain": lambda _: source(f"password = {{ file = '{HIDDEN}', env = 'X' }}"),
    "a command that prints it and fails": lambda path: resolved(
        f"password = {{ command = ['sh', '-c', 'cat {path}; cat {path} >&2; exit 1'] }}"
    ),
    "a file that ends in no UTF-8": lambda path: resolved(f"password = {{ file = '{path}.bad' }}"),
    "a command line that cannot be parsed": lambda _: password_from_outside(password_command=f"'{HIDDEN}"),
    "a file that is no TOML": lambda path: read_config(f"{path}.toml"),
}


# Variables hold what a user wrote out in the open, where everybody who sees the process sees it, too.
ALLOWED = {
    "a command line that cannot be parsed": ["traceback 0"],
    "a file that is no TOML": ["traceback 0"],
}


@pytest.mark.parametrize("name", FAILING)
def test_no_error_shows_a_secret(name: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(HIDDEN)
    Path(f"{path}.bad").write_bytes(HIDDEN.encode() + b"\xff")
    Path(f"{path}.toml").write_text(f'[remotes.a]\npassword = "{HIDDEN}" oops\n')
    error = complaint(lambda: FAILING[name](path))
    allowed = ALLOWED.get(name, [])
    assert [leak for leak in leaks(error) if leak not in allowed] == []


def test_the_search_for_leaks_finds_one() -> None:
    """The control."""

    def failing(value: str) -> None:
        raise SecretError(f"it is {value}")

    error = complaint(lambda: failing(HIDDEN))
    assert leaks(error) == ["str", "repr", "traceback 0"]


def test_values_that_hold_a_secret_do_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    value = Secret(HIDDEN)
    from_table = source(f"password = {{ command = ['echo', '{HIDDEN}'] }}")
    mistaken = table(f"token = '{HIDDEN}'")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r %s %r", value, value, from_table, mistaken)
    texts = [repr(value), str(value), f"{value}", repr(from_table), str(mistaken), caplog.text]
    assert [text for text in texts if HIDDEN in text] == []
