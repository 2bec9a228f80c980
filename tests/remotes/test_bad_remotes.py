"""Whatever is wrong with a remote, its user is told what, and what to do, soon and without a secret.

Each case spoils one thing about a remote that works.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import sshd as openssh
from remote_machine import Machine, Remote
from remote_places import ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE, Places, on_s3, on_sshd
from s3_servers import rclone_server

ENDS_WITHIN_S = 40
NOBODY = 65534
SFTP_PROGRAMS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
)
WRONG = "wrong/secret/0123456789abcdefghijklmnopq"
TYPED = "hunter2"


@dataclass(frozen=True)
class Bad:
    """A way to spoil a remote, and what must be told: a code, words of the message, words of the hint."""

    name: str
    spoil: Callable[[Remote, Path], Remote]
    code: str
    message: tuple[str, ...]
    hint: str
    exit_code: int = 20
    command: str = "snapshots"


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as listener:
        listener.bind((openssh.HOST, 0))
        return int(listener.getsockname()[1])


def another_key(remote: Remote, folder: Path) -> Remote:
    return remote.using(key_file=str(openssh.make_key(folder / "another_key")))


def nothing_known(remote: Remote, folder: Path) -> Remote:
    (folder / "known_hosts").touch()
    return remote.using(known_hosts=str(folder / "known_hosts"))


def another_host_key(remote: Remote, folder: Path) -> Remote:
    place, kind, _ = Path(str(remote.options["known_hosts"])).read_text().split()[:3]
    other = openssh.make_key(folder / "host_key").with_suffix(".pub").read_text().split()[1]
    (folder / "known_hosts").write_text(f"{place} {kind} {other}\n")
    return remote.using(known_hosts=str(folder / "known_hosts"))


def at(**changes: str) -> Callable[[Remote, Path], Remote]:
    """The same remote with another part of its URL."""

    def spoil(remote: Remote, _: Path) -> Remote:
        user, host_and_port, path = remote.url.removeprefix("sftp://").replace("@", "/", 1).split("/", 2)
        host, port = host_and_port.split(":")
        part = {"user": user, "host": host, "port": port, "path": path, **changes}
        return replace(remote, url="sftp://{user}@{host}:{port}/{path}".format(**part))

    return spoil


def option(**options: str) -> Callable[[Remote, Path], Remote]:
    return lambda remote, _: remote.using(**options)


def environment(name: str, value: str) -> Callable[[Remote, Path], Remote]:
    return lambda remote, _: remote.knowing(**{name: value})


SFTP = [
    Bad("a key that the server does not know", another_key, "storage-credential", ("127.0.0.1",), "key_file"),
    Bad(
        "a host that is not known", nothing_known, "storage-host-unknown", ("127.0.0.1", "SHA256:"), "ssh -p"
    ),
    Bad("another host key", another_host_key, "storage-host-unknown", ("CHANGED", "SHA256:"), "ask"),
    Bad("a name that is none", at(host="no.such.invalid"), "storage-place", ("no.such.invalid",), "URL"),
    Bad("a closed port", at(port=str(closed_port())), "storage", ("refused", "127.0.0.1"), "reached"),
    Bad("a password in the URL", at(user=f"me:{TYPED}"), "config", ("login_password",), "config check", 16),
    Bad("a misspelt option", option(key_fil="/x"), "config", ("'key_fil'", "'key_file'"), "config check", 16),
    Bad(
        "a secret in the file",
        option(login_password=WRONG),
        "secret",
        ("login_password",),
        "{ file = ... }",
        16,
    ),
]
S3 = [
    Bad("a wrong secret", environment(SECRET_KEY_VARIABLE, WRONG), "storage-credential", ("key",), "key"),
    Bad(
        "an unknown key", environment(ACCESS_KEY_VARIABLE, "AKIAWRONG"), "storage-credential", ("key",), "key"
    ),
    Bad(
        "no secret at all",
        environment(SECRET_KEY_VARIABLE, ""),
        "secret",
        (SECRET_KEY_VARIABLE,),
        "variable",
        16,
    ),
    Bad(
        "a bucket that is missing",
        lambda remote, _: replace(remote, url="s3://no-such-bucket/a/prefix"),
        "storage-place",
        ("no-such-bucket",),
        "URL",
    ),
    Bad(
        "a bucket that is missing, for init",
        lambda remote, _: replace(remote, url="s3://no-such-bucket/a/prefix"),
        "storage-place",
        ("no-such-bucket",),
        "URL",
        command="init",
    ),
    Bad(
        "an endpoint that is closed",
        option(endpoint=f"http://127.0.0.1:{closed_port()}"),
        "storage",
        ("refused", "127.0.0.1:"),
        "reached",
    ),
    Bad(
        "an endpoint that is none",
        option(endpoint="http://no.such.invalid"),
        "storage-place",
        ("no.such.invalid",),
        "URL",
    ),
    Bad(
        "an endpoint of rubbish",
        option(endpoint="tcp:/x"),
        "config",
        ("endpoint", "tcp:/x"),
        "config check",
        16,
    ),
    Bad(
        "a port of rubbish",
        option(endpoint="http://127.0.0.1:x"),
        "config",
        ("endpoint",),
        "config check",
        16,
    ),
    Bad("a misspelt option", option(regoin="x"), "config", ("'regoin'", "'region'"), "config check", 16),
    Bad(
        "a secret in the file",
        option(secret_access_key=WRONG),
        "secret",
        ("secret_access_key",),
        "{ file =",
        16,
    ),
]


@pytest.fixture(scope="session")
def sftp(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Remote:
    """A repository that opens."""
    return sound(tmp_path_factory, places.remote("sftp"))


@pytest.fixture(scope="session")
def s3(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Remote:
    """A repository that opens, on a server that looks at keys."""
    return sound(tmp_path_factory, places.remote("s3-rclone"))


def sound(tmp_path_factory: pytest.TempPathFactory, remote: Remote) -> Remote:
    machine = Machine(tmp_path_factory.mktemp("sound") / "home", remote)
    machine.says("init", *([] if remote.exclusive else ["--single-writer"]))
    # The control of every case: as it is, the remote opens.
    assert machine("snapshots").code == 0
    return remote


@pytest.mark.parametrize("bad", SFTP, ids=lambda bad: bad.name)
def test_sftp_says_what_is_wrong(sftp: Remote, bad: Bad, tmp_path: Path) -> None:
    assert_told(bad, bad.spoil(sftp, tmp_path), tmp_path)


@pytest.mark.parametrize("bad", S3, ids=lambda bad: bad.name)
def test_s3_says_what_is_wrong(s3: Remote, bad: Bad, tmp_path: Path) -> None:
    assert_told(bad, bad.spoil(s3, tmp_path), tmp_path)


def assert_told(bad: Bad, remote: Remote, folder: Path) -> None:
    started_s = time.monotonic()
    told = Machine(folder / "home", remote).fails(bad.command)
    took_s = time.monotonic() - started_s
    print(told)
    assert not any(secret in str(told) for secret in (WRONG, TYPED))
    assert (told["code"], told["exit_code"]) == (bad.code, bad.exit_code)
    assert [word for word in bad.message if word not in told["message"]] == []
    assert bad.hint in told["hint"]
    assert took_s < ENDS_WITHIN_S


def sftp_program() -> str:
    """OpenSSH's own server of files as a program, which can be run as somebody else."""
    for path in SFTP_PROGRAMS:
        if os.path.exists(path):
            return path
    pytest.skip(f"there is none of {', '.join(SFTP_PROGRAMS)}")


def test_a_directory_that_the_account_may_not_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    directives = []
    if os.geteuid() == 0:
        # Nothing is closed to root, so the session becomes somebody else.
        become = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
        directives.append(f"ForceCommand {become} {sftp_program()}")
    else:
        closed.chmod(0o000)
    with openssh.running_sshd(tmp_path / "sshd", directives=directives) as server:
        told = Machine(tmp_path / "home", on_sshd(server, closed / "repository")).fails("init")
    closed.chmod(0o700)
    assert (told["code"], told["exit_code"]) == ("storage-denied", 20)
    assert "closed" in told["message"]
    assert "permissions" in told["hint"]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few MiB; a test that cannot have one is skipped with the reason."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("sftp", ("storage-full", 18, "free space")),
        # rclone says "internal error" whatever has happened to it.
        ("s3", ("storage", 20, "run the command again")),
    ],
)
def test_a_storage_that_is_full(
    places: Places, kind: str, told: tuple[str, int, str], tmp_path: Path, rng: random.Random
) -> None:
    code, exit_code, hint = told
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk"))
        server = None if kind == "sftp" else stack.enter_context(rclone_server(disk))
        remote = on_s3(server) if server else on_sshd(places.sshd, disk / "repository")
        machine = Machine(tmp_path / "home", remote)
        machine.says("init", *([] if remote.exclusive else ["--single-writer"]))
        machine.data.mkdir()
        (machine.data / "small").write_bytes(rng.randbytes(1000))
        # The control: what finds room is stored.
        machine.says("backup", "data")
        (machine.data / "large").write_bytes(rng.randbytes(12_000_000))
        started_s = time.monotonic()
        said = machine.fails("backup", "data", "-q")
        assert time.monotonic() - started_s < ENDS_WITHIN_S
        assert (said["code"], said["exit_code"]) == (code, exit_code)
        assert hint in said["hint"]
        # Nothing half-written is there, and what was there before is whole.
        (summary,) = machine.says("check", "--read-data")
        assert (summary["problems"], summary["snapshots"]) == (0, 1)
