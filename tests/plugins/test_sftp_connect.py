"""The transport `sftp` on its way to a server: host keys, ssh_config, jumps, and who is let in."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bitbacker.errors import (
    BitBackerError,
    ConfigError,
    CredentialRefused,
    HostUnknown,
    PlaceMissing,
    StorageError,
)
from bitbacker.spi import Secret
from bitbacker_plugins.sftp import SftpTransport, ssh_config
from bitbacker_plugins.sftp.config import SftpConfig
from sshd import HOST, Sshd, make_key, running_sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    directory = tmp_path_factory.mktemp("server") / "sshd"
    with running_sshd(directory, host_key_types=["ed25519", "ecdsa", "rsa"]) as sshd:
        yield sshd


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without keys, no agent, and nothing said for the whole system."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(ssh_config, "SYSTEM_CONFIG", str(home / "none"))
    return home


def use(transport: SftpTransport) -> None:
    """Store and read something."""
    try:
        transport.put("keyslots", b"x", replace=True)
        assert transport.get("keyslots") == b"x"
    finally:
        transport.close()


def refuse(transport: SftpTransport, error: type[BitBackerError], match: str) -> BitBackerError:
    """The error with which a call ends."""
    try:
        with pytest.raises(error, match=match) as caught:
            transport.get("keyslots")
    finally:
        transport.close()
    return caught.value


def host_key(sshd: Sshd, kind: str) -> str:
    """Type and key, as known_hosts has them."""
    return " ".join((sshd.directory / f"host_key_{kind}.pub").read_text().split()[:2])


def name_of(sshd: Sshd) -> str:
    return f"[{HOST}]:{sshd.port}"


def other_key(tmp_path: Path, kind: str = "ed25519") -> str:
    """A host key of nobody."""
    return " ".join(Path(f"{make_key(tmp_path / f'other_{kind}', kind)}.pub").read_text().split()[:2])


# Host keys.


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_any_one_of_a_servers_keys_is_enough(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"{name_of(sshd)} {host_key(sshd, kind)}\n")
    use(sshd.transport(tmp_path / "repository", known_hosts=str(known_hosts)))


def test_an_unknown_host_is_an_error_with_the_command_to_run_once(sshd: Sshd, tmp_path: Path) -> None:
    transport = sshd.transport(tmp_path, known_hosts=str(tmp_path / "absent"))
    error = refuse(transport, HostUnknown, "not known on this machine: ssh-ed25519 SHA256:")
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", str(sshd.directory / "host_key_ed25519.pub")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[1]
    assert fingerprint in str(error)
    # What the command makes known must be found again, so it names the file that is looked into.
    file = shlex.quote(f'UserKnownHostsFile="{tmp_path}/absent"')
    assert error.hint.endswith(f": ssh -p {sshd.port} -o {file} {sshd.user}@{sshd.host}")
    assert not error.retryable


def test_the_command_that_is_shown_reads_the_same_configuration(sshd: Sshd, tmp_path: Path) -> None:
    nothing = SftpTransport(sshd.url(tmp_path), SftpConfig(ssh_config=""))
    assert f"ssh -p {sshd.port} -F none " in refuse(nothing, HostUnknown, "not known").hint
    (tmp_path / "ssh_config").touch()
    other = SftpTransport(sshd.url(tmp_path), SftpConfig(ssh_config=str(tmp_path / "ssh_config")))
    assert f"ssh -p {sshd.port} -F {tmp_path}/ssh_config " in refuse(other, HostUnknown, "not known").hint


def test_the_command_that_is_shown_makes_the_host_known(sshd: Sshd, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known hosts"
    transport = sshd.transport(tmp_path / "repository", known_hosts=str(known_hosts))
    command = refuse(transport, HostUnknown, "not known").hint.rpartition(": ")[2]
    options = ["-o", "StrictHostKeyChecking=accept-new", "-o", "HashKnownHosts=yes"]
    options += ["-o", "BatchMode=yes", "-i", str(sshd.key_file)]
    subprocess.run([*shlex.split(command), *options, "true"], capture_output=True, check=True)
    assert known_hosts.read_text().startswith("|1|")
    use(sshd.transport(tmp_path / "repository", known_hosts=str(known_hosts)))


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_changed_host_key_is_an_alarm(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"{name_of(sshd)} {other_key(tmp_path, kind)}\n")
    error = refuse(sshd.transport(tmp_path, known_hosts=str(known_hosts)), HostUnknown, "CHANGED")
    assert "intercept" in str(error)
    assert "ssh -p" not in error.hint
    assert "ssh-keygen" not in error.hint
    assert not error.retryable


def test_a_server_without_a_key_of_the_known_kind_has_changed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("server") / "sshd"
    with running_sshd(directory, host_key_types=["ecdsa"]) as server:
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"{name_of(server)} {other_key(tmp_path)}\n")
        refuse(server.transport(tmp_path, known_hosts=str(known_hosts)), HostUnknown, "CHANGED")


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("@revoked * {key}\n{host} {key}", "revoked"),
        ("@cert-authority * {key}", "not known"),
        ("@cert-authority {host} {key}", "not known"),
        ("# {host} {key}", "not known"),
        ("{host}1 {key}", "not known"),
        ("elsewhere,!{host},!127.0.0.1,* {key}", "not known"),
        ("|1|bm90aGluZw==|bm90aGluZw== {key}", "not known"),
        ("|1|broken {key}", "not known"),
    ],
)
def test_only_a_line_that_trusts_this_host_does(sshd: Sshd, tmp_path: Path, lines: str, error: str) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(lines.format(host=name_of(sshd), key=host_key(sshd, "ed25519")) + "\n")
    refuse(sshd.transport(tmp_path, known_hosts=str(known_hosts)), HostUnknown, error)


@pytest.mark.parametrize(
    "line", ["{host} {key}", "elsewhere,{host} {key} a comment", "[127.*]:* {key}", "127.0.0.1 {key}"]
)
def test_hosts_are_found_as_ssh_finds_them(sshd: Sshd, tmp_path: Path, line: str) -> None:
    """The control of the test above."""
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(line.format(host=name_of(sshd), key=host_key(sshd, "ed25519")) + "\n")
    use(sshd.transport(tmp_path / "repository", known_hosts=str(known_hosts)))


def test_the_users_known_hosts_are_the_default(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    transport = sshd.transport(tmp_path / "repository", known_hosts="")
    refuse(transport, HostUnknown, "not known")
    (home / ".ssh" / "known_hosts").write_text(sshd.known_hosts_file.read_text())
    use(sshd.transport(tmp_path / "repository", known_hosts=""))


# Who is let in.


def test_a_wrong_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    error = refuse(sshd.transport(tmp_path, key_file=str(wrong)), CredentialRefused, "accepts no key")
    assert f"it has refused '{wrong}'" in str(error)
    assert "authorized_keys" in error.hint
    assert not error.retryable


def test_no_key_at_all_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    error = refuse(sshd.transport(tmp_path, key_file=""), CredentialRefused, "accepts no key")
    assert "no ssh agent with a key" in str(error)
    assert "key_file" in error.hint
    transport = sshd.transport(tmp_path, key_file="", agent=False)
    refuse(transport, CredentialRefused, "there was none to try")


@pytest.mark.parametrize("content", [None, "no key"], ids=["absent", "broken"])
def test_a_key_that_cannot_be_read_is_named(sshd: Sshd, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "my key"
    if content is not None:
        path.write_text(content)
    refuse(sshd.transport(tmp_path, key_file=str(path)), CredentialRefused, "my key")


def allow(sshd: Sshd, key: Path) -> None:
    with (sshd.directory / "authorized_keys").open("a") as file:
        file.write(Path(f"{key}.pub").read_text())


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_an_encrypted_key_needs_its_passphrase(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / "encrypted", kind, passphrase="open sesame")
    allow(sshd, key)
    use(sshd.transport(tmp_path / "repository", key_file=str(key), key_passphrase=Secret("open sesame")))
    for passphrase, why in ((None, "is not set"), (Secret("wrong and secret"), "does not open it")):
        transport = sshd.transport(tmp_path, key_file=str(key), key_passphrase=passphrase)
        error = refuse(transport, CredentialRefused, f"is encrypted, and 'key_passphrase' {why}")
        assert error.hint.endswith(f"ssh-add {key}")
        assert "wrong and secret" not in f"{error} {error.hint}"


def test_the_usual_key_is_found(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    allow(sshd, make_key(home / ".ssh" / "id_ed25519"))
    use(sshd.transport(tmp_path / "repository", key_file=""))


@contextmanager
def agent_with(key: Path) -> Iterator[str]:
    """The socket of an ssh agent that holds a key."""
    path = str(key.parent / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(path):
            assert agent.poll() is None
            time.sleep(0.01)
        environment = {**os.environ, "SSH_AUTH_SOCK": path}
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True, capture_output=True)
        yield path
    finally:
        agent.terminate()
        agent.wait()


def test_the_agent_is_asked_unless_told_not_to(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(tmp_path / "in_agent")
    allow(sshd, key)
    with agent_with(key) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", agent)
        use(sshd.transport(tmp_path / "repository", key_file=""))
        refuse(sshd.transport(tmp_path, key_file="", agent=False), CredentialRefused, "accepts no key")
        stranger = SftpTransport(
            f"sftp://nobody-of-this-name@{HOST}:{sshd.port}/srv", sshd.config(key_file="")
        )
        refuse(stranger, CredentialRefused, "it has refused SHA256:.* of the agent")


# paramiko leaves the socket open with which it could not reach the agent.
@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_an_agent_that_is_gone_is_no_error(
    sshd: Sshd, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    allow(sshd, make_key(home / ".ssh" / "id_ed25519"))
    use(sshd.transport(tmp_path / "repository", key_file=""))


# The way to the server.


def test_a_host_that_does_not_exist_is_a_missing_place(tmp_path: Path) -> None:
    transport = SftpTransport(f"sftp://me@no-such-host.invalid{tmp_path}", SftpConfig(timeout_s=10.0))
    # Without a network a resolver cannot know; then it says so, and it is worth another try.
    try:
        socket.getaddrinfo("no-such-host.invalid", 22)
    except socket.gaierror as error:
        expected = PlaceMissing if error.errno == socket.EAI_NONAME else StorageError
    found = refuse(transport, expected, "cannot connect to no-such-host.invalid port 22")
    assert "bucket" not in found.hint
    assert found.retryable == (expected is StorageError)


def test_a_refused_connection_is_worth_another_try(sshd: Sshd, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        transport = SftpTransport(sshd.url(tmp_path, port=port), sshd.config())
        error = refuse(transport, StorageError, f"cannot connect to {HOST} port {port}: Connection refused")
        assert "port in the URL" in error.hint
        assert error.retryable


def test_something_that_is_no_ssh_server_is_told(sshd: Sshd, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as mute:
        transport = SftpTransport(sshd.url(tmp_path, port=mute.getsockname()[1]), sshd.config(timeout_s=1.0))
        error = refuse(transport, StorageError, f"{HOST} port .* does not greet as an SSH server")
        assert "port in the URL" in error.hint
        assert error.retryable


@pytest.mark.parametrize("command", ["false", "echo Welcome to the machine that stores backups"])
def test_an_account_without_sftp_is_told(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, command: str
) -> None:
    directory = tmp_path_factory.mktemp("server") / "sshd"
    with running_sshd(directory, directives=[f"ForceCommand {command}"]) as server:
        error = refuse(server.transport(tmp_path), StorageError, "SFTP")
    assert "login script" in f"{error} {error.hint}"


def test_a_file_in_the_place_of_a_directory_is_told(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with closing(sshd.transport(tmp_path / "file" / "repository")) as transport:
        with pytest.raises(StorageError, match=rf"{tmp_path}/file' is no directory") as caught:
            transport.put("keyslots", b"x")
        assert "path in the URL" in caught.value.hint


def test_a_directory_that_cannot_be_made_is_told(sshd: Sshd) -> None:
    told = pytest.raises(StorageError, match="the directory '/proc/repository' cannot be made: ")
    with closing(sshd.transport("/proc/repository")) as transport, told:
        transport.put("keyslots", b"x")


# ssh_config.


def write_config(home: Path, text: str) -> None:
    (home / ".ssh" / "config").write_text(text)


def full_block(sshd: Sshd, alias: str) -> str:
    return (
        f"Host {alias}\n  HostName {sshd.host}\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile {sshd.key_file}\n  UserKnownHostsFile {sshd.known_hosts_file}\n"
    )


def test_an_alias_says_everything(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    write_config(home, full_block(sshd, "vault"))
    use(SftpTransport(f"sftp://vault{tmp_path}/repository", SftpConfig()))


def test_the_url_counts_before_the_configuration(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    write_config(home, full_block(sshd, "vault").replace(f"Port {sshd.port}", "Port 1"))
    refuse(SftpTransport(f"sftp://vault{tmp_path}", SftpConfig()), StorageError, "refused")
    use(SftpTransport(f"sftp://vault:{sshd.port}{tmp_path}/repository", SftpConfig()))
    refuse(
        SftpTransport(f"sftp://nobody-of-this-name@vault:{sshd.port}{tmp_path}", SftpConfig()),
        CredentialRefused,
        "nobody-of-this-name",
    )


def test_options_count_before_the_configuration(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    write_config(home, full_block(sshd, "vault"))
    wrong = make_key(tmp_path / "wrong")
    url = f"sftp://vault{tmp_path}"
    refuse(SftpTransport(url, SftpConfig(key_file=str(wrong))), CredentialRefused, "accepts no key")
    refuse(SftpTransport(url, SftpConfig(known_hosts="/dev/null")), HostUnknown, "not known")
    refuse(SftpTransport(url, SftpConfig(ssh_config="")), PlaceMissing, "no such host|resolution")


def test_another_configuration_may_be_named(sshd: Sshd, tmp_path: Path) -> None:
    path = tmp_path / "ssh_config"
    path.write_text(full_block(sshd, "vault"))
    use(SftpTransport(f"sftp://vault{tmp_path}/repository", SftpConfig(ssh_config=str(path))))


def test_files_that_the_configuration_includes_count(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    (home / ".ssh" / "config.d").mkdir()
    (home / ".ssh" / "config.d" / "vault.conf").write_text(full_block(sshd, "vault"))
    write_config(home, "Include config.d/*.conf absent\nConnectTimeout 10\nHost *\n  Port 1\n")
    use(SftpTransport(f"sftp://vault{tmp_path}/repository", SftpConfig()))


def test_a_host_key_may_be_known_under_another_name(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"the-vault {host_key(sshd, 'ed25519')}\n")
    block = full_block(sshd, "vault").replace(str(sshd.known_hosts_file), str(known_hosts))
    url = f"sftp://vault{tmp_path}/repository"
    write_config(home, block)
    refuse(SftpTransport(url, SftpConfig()), HostUnknown, "not known")
    write_config(home, block + "  HostKeyAlias the-vault\n")
    use(SftpTransport(url, SftpConfig()))


@pytest.mark.parametrize("jumps", ["gate", "gate,gate"])
def test_jumps_are_made(sshd: Sshd, tmp_path: Path, home: Path, jumps: str) -> None:
    write_config(home, full_block(sshd, "gate") + full_block(sshd, "vault") + f"  ProxyJump {jumps}\n")
    before = sshd.log.count("Accepted publickey")
    use(SftpTransport(f"sftp://vault{tmp_path}/repository", SftpConfig()))
    assert sshd.log.count("Accepted publickey") - before == 2 + jumps.count(",")


def test_the_key_of_a_gate_is_checked(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    gate = full_block(sshd, "gate").replace(str(sshd.known_hosts_file), "/dev/null")
    write_config(home, gate + full_block(sshd, "vault") + "  ProxyJump gate\n")
    refuse(SftpTransport(f"sftp://vault{tmp_path}", SftpConfig()), HostUnknown, "not known")


def test_the_command_that_is_shown_goes_the_same_way(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    vault = full_block(sshd, "vault").replace(str(sshd.known_hosts_file), "/dev/null")
    write_config(home, full_block(sshd, "gate") + vault + f"  ProxyJump gate,{sshd.user}@gate:{sshd.port}\n")
    error = refuse(SftpTransport(f"sftp://vault{tmp_path}", SftpConfig()), HostUnknown, "not known")
    assert error.hint.endswith(
        f": ssh -p {sshd.port} -J gate,{sshd.user}@gate:{sshd.port} {sshd.user}@{sshd.host}"
    )


def test_a_gate_that_cannot_reach_the_server_is_told(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    vault = full_block(sshd, "vault").replace(f"Port {sshd.port}", "Port 1")
    write_config(home, full_block(sshd, "gate") + vault + "  ProxyJump gate\n")
    error = refuse(SftpTransport(f"sftp://vault{tmp_path}", SftpConfig()), StorageError, "cannot reach")
    assert error.retryable


def test_jumps_in_a_circle_end(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    one = full_block(sshd, "one") + "  ProxyJump two\n"
    two = full_block(sshd, "two") + "  ProxyJump one\n"
    write_config(home, one + two)
    error = refuse(SftpTransport(f"sftp://one{tmp_path}", SftpConfig()), ConfigError, "jumps")
    assert "ProxyJump none" in error.hint


def test_a_command_may_make_the_connection(sshd: Sshd, tmp_path: Path, home: Path) -> None:
    """The command is told host and port, also when they come from the URL."""
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        "there = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def pump(source, target):\n"
        "    while data := os.read(source, 65536):\n"
        "        os.write(target, data)\n"
        "threading.Thread(target=pump, args=(0, there.fileno()), daemon=True).start()\n"
        "pump(there.fileno(), 1)\n"
    )
    block = full_block(sshd, "vault").replace(f"  Port {sshd.port}\n", "")
    write_config(home, block + f"  ProxyCommand {shlex.quote(sys.executable)} {relay} %h %p\n")
    use(SftpTransport(f"sftp://vault:{sshd.port}{tmp_path}/repository", SftpConfig()))


def test_a_configuration_that_cannot_be_understood_is_told(tmp_path: Path, home: Path) -> None:
    write_config(home, "this is no configuration\nPort many\n")
    refuse(SftpTransport(f"sftp://vault{tmp_path}", SftpConfig()), ConfigError, "vault")
