"""What the transport `sftp` makes of ssh_config, beside what OpenSSH makes of it: `ssh -G`."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bitbacker.errors import ConfigError
from bitbacker_plugins.sftp import ssh_config
from bitbacker_plugins.sftp.place import Place
from bitbacker_plugins.sftp.ssh_config import Target, target_of

SSH = shutil.which("ssh") or pytest.skip("there is no ssh on this machine", allow_module_level=True)

ALIKE = {
    "an alias with everything": """
        Host vault
          HostName vault.example.org
          Port 2222
          User backup
          IdentityFile ~/.ssh/vault
          IdentitiesOnly yes
          HostKeyAlias The-Vault
          UserKnownHostsFile ~/.ssh/a "/with space/b"
          GlobalKnownHostsFile /etc/c
          ProxyJump me@gate:2200,[2001:db8::1]:22,ssh://last
        """,
    "the first value wins, and identity files add up": """
        Host vault
          Port 1
          IdentityFile /one
        Host *
          Port 2
          IdentityFile /two
          IdentityFile /one
          User all
        """,
    "no value, an empty file": "",
    "comments, signs of equality, quotes, capitals and odd blanks": (
        "hostname = Real.Example.ORG   # a comment\r\n\tPORT=2222#3\n"
        'user "a b"\t# another\nIdentityFile="/x y/#z"\n'
    ).replace("2222#3", "2222"),
    "a hash in a word is no comment": "User a#b #c\n",
    "escapes": 'User DOM\\me\nIdentityFile /a\\ b\\"c\nIdentityFile "/d\\ e\\\\f"\n',
    "patterns": """
        Host v?ult !vault
          Port 1
        Host *.example.org vau*
          Port 2
        Host [v]ault v{a}ult
          User wrong
        """,
    "patterns that exclude": """
        Host * !vault
          User wrong
        Host !other *
          User right
        Host !vault
          Port 1
        """,
    "HostName with the name put in": "HostName %h.example.org\nMatch host vault.example.org\n  Port 5\n",
    "Match host looks at HostName, Match originalhost does not": """
        Match host real
          Port 1
        Match originalhost VAULT
          HostName Real
        Match host rea*,!real
          User wrong
        Match host nothing,real user ro*,nobody
          User right
        """,
    "Match user looks at what is set so far": """
        Match user bob
          Port 1
        Host vault
          User bob
        Match user bob
          HostName two
        """,
    "Match with a denied criterion": (
        "Match !host other !user nobody\n  Port 3\nMatch !host vault\n  User wrong\n"
    ),
    "Match all": "Match host other\n  Port 3\nMatch all\n  User all\n",
    "Match with a sign of equality": "Match host=vault\n  Port 3\n",
    "Match final comes last": """
        Match final host real
          Port 6
          User final
        Match final all
          IdentityFile /final
        Host real
          IdentityFile /second
        Host vault
          HostName Real
          User first
          IdentityFile /first
        """,
    "Match not final": "Match !final\n  User early\nMatch final\n  Port 3\n  User late\n",
    "a command ends with its line": 'ProxyCommand exec "nc  x" y # no comment\n',
    "a command comes before jumps": "ProxyCommand nc x\nProxyJump gate\n",
    "jumps come before a command": "ProxyJump gate\nProxyCommand nc x\n",
    "no command comes before jumps": "ProxyCommand none\nProxyJump gate\n",
    "no jumps leave room for a command": "ProxyJump none\nProxyJump gate\nProxyCommand nc x\n",
    "tokens of known hosts": (
        "Port 7\nUser bob\nHostName real\nUserKnownHostsFile /%h/%n/%p/%r/%k/%u/%i/%d/%%/%L/%l\n"
    ),
    "tokens with an alias": "HostKeyAlias Me\nUserKnownHostsFile /%k\n",
    "no identity file and no known hosts at all": "IdentityFile none\nUserKnownHostsFile none\n",
    "settings that nobody here knows": "IgnoreUnknown Un*\nUnheardOf 7\nCiphers aes256-ctr\nPort 7\n",
    "the block of an Include goes on behind it": """
        Host vault
          Include {}/port
          User bob
        """,
    "an Include at the top": "Include {}/alias\nUser later\nHost vault\nPort 9\n",
    "an Include in a block that is not meant": "Host other\n  Include {}/*\nHost vault\n  Port 9\n",
    "a Match that its own Include makes untrue goes on": """
        Match host vault
          Include {}/alias
          User bob
        Match host vault
          Port 9
        """,
    "an Include of several files in their order, and of none": "Include {}/a* {}/p* {}/absent {}/none/*\n",
    "an Include in quotes, with a comment": 'Include "{}/with space" # {}/port\n',
    "an Include that includes": "Include {}/nested\nPort 9\n",
    "a directory that is included": "Include {}\nPort 9\n",
    "a Host in an Include in a Host": "Host v*\n  Include {}/hosts\nHost w*\n  Include {}/port\n",
}
INCLUDED = {
    "alias": "Host vault\n  HostName included\nHost other\n  Port 1\n",
    "port": "Port 77\nIdentityFile /included\n",
    "with space": "User spaced\n",
    "nested": "Host other\n  Include {}/port\nHost vault\n  Include {}/alias\n  User nested\n",
    "hosts": "Port 3\nHost other\n  User wrong\nHost *lt\n  User right\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files to include."""
    folder = tmp_path / "included"
    folder.mkdir()
    for name, text in INCLUDED.items():
        (folder / name).write_text(text.replace("{}", str(folder)))
    return folder


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> str:
    """ssh asks the list of users where the home directory is, so that is where it is."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    monkeypatch.setenv("HOME", home)
    return home


def written(folder: Path, text: str) -> Path:
    path = folder.parent / "config"
    path.write_bytes(text.replace("{}", str(folder)).encode())
    return path


def said_by_ssh(path: Path, place: Place, home: str) -> Mapping[str, str]:
    """What OpenSSH makes of a file, with what it shows before it is put in, or otherwise, made equal."""
    command = [SSH, "-G", "-F", str(path)]
    command += ["-l", place.user] if place.user else []
    command += ["-p", str(place.port)] if place.port else []
    done = subprocess.run(
        [*command, place.host], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    identities = [re.sub("^~", home, each) for each in found["identityfile"] if each != "none"]
    usual = all(each.startswith(f"{home}/.ssh/id_") for each in identities)
    known = " ".join(found.get("userknownhostsfile", []) + found.get("globalknownhostsfile", []))
    return {
        "hostname": found["hostname"][0],
        "port": found["port"][0],
        "user": found["user"][0],
        "identityfile": "usual" if usual and identities else " ".join(identities),
        "identitiesonly": found["identitiesonly"][0],
        "known": " ".join(each for each in known.split(" ") if each != "none"),
        "hostkeyalias": found.get("hostkeyalias", found["hostname"])[0],
        "proxyjump": found.get("proxyjump", ["none"])[0].replace("ssh://", ""),
        "proxycommand": found.get("proxycommand", ["none"])[0],
    }


def shown(target: Target) -> Mapping[str, str]:
    """A target as `ssh -G` shows it."""
    return {
        "hostname": target.host,
        "port": str(target.port),
        "user": target.user,
        "identityfile": "usual" if target.identity_files is None else " ".join(target.identity_files),
        "identitiesonly": "yes" if target.identities_only else "no",
        "known": " ".join(target.known_hosts),
        "hostkeyalias": target.name,
        "proxyjump": ",".join(map(jump_shown, target.jumps)) or "none",
        "proxycommand": target.proxy_command or "none",
    }


def jump_shown(place: Place) -> str:
    user = f"{place.user}@" if place.user else ""
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"{user}{host}:{place.port}" if place.port else f"{user}{host}"


@pytest.mark.parametrize("text", ALIKE.values(), ids=ALIKE)
def test_a_file_means_what_it_means_to_ssh(folder: Path, text: str, home: str) -> None:
    path = written(folder, text)
    place = Place("vault", "/")
    assert said_by_ssh(path, place, home) == shown(target_of(place, str(path)))


@pytest.mark.parametrize(
    "host", ["VAULT", "Vault.Example.org", "other", "[vault]", "10.0.0.1", "::1", "fe80::1%Eth0"]
)
def test_hosts_are_compared_as_ssh_compares_them(folder: Path, host: str, home: str) -> None:
    path = written(
        folder,
        """
        Host vault 10.*
          Port 1
        Match originalhost vault,vault.example.org,?e80*
          User small
        Match final host vault*
          IdentityFile /final/%%
        Host fe80::1%Eth0 ::*
          User six
        """,
    )
    place = Place(host, "/")
    assert said_by_ssh(path, place, home) == {
        **shown(target_of(place, str(path))),
        # ssh shows it with the percent sign as it stands.
        **({"identityfile": "/final/%%"} if host.lower().startswith("vault") else {}),
    }


def test_what_the_url_says_counts_first(folder: Path, home: str) -> None:
    path = written(folder, "Match user bob\n  HostName bobs\nHost vault\n  Port 1\n  User wrong\n")
    for place in (Place("vault", "/", "bob", 2222), Place("vault", "/", "ann"), Place("vault", "/", None, 1)):
        assert said_by_ssh(path, place, home) == shown(target_of(place, str(path)))


def test_the_system_has_its_say_behind_the_user(
    folder: Path, tmp_path: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, system = tmp_path / "user", tmp_path / "system"
    user.write_text("Host vault\n  Port 1\n  IdentityFile /user\n")
    system.write_text(f"Include {folder}/port\nHost *\n  Port 2\n  User everybody\n")
    monkeypatch.setattr(ssh_config, "USER_CONFIG", str(user))
    monkeypatch.setattr(ssh_config, "SYSTEM_CONFIG", str(system))
    both = written(folder, f"Include {user}\nInclude {system}\n")
    place = Place("vault", "/")
    found = target_of(place, str(user))
    assert (1, "everybody", ("/user", "/included")) == (found.port, found.user, found.identity_files)
    assert said_by_ssh(both, place, home) == shown(found)
    # As with `ssh -F`, a file of another name is the only one, and with none nothing is read.
    assert target_of(place, str(system)).port == 77
    user.rename(tmp_path / "config.other")
    assert target_of(place, str(tmp_path / "config.other")).identity_files == ("/user",)
    assert target_of(place, str(user)).user == "everybody"
    assert target_of(place, "").identity_files is None


def test_a_short_name_is_made_a_full_one_when_the_file_asks_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network with such names cannot be had here, so its answers are made up."""

    def resolve(name: str, port: object) -> object:
        del port
        if name != "vault.two.example":
            raise socket.gaierror(socket.EAI_NONAME)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    domains = "CanonicalDomains one.example two.example\nHost vault.two.example\n  Port 9\n"
    asking = written(folder, f"CanonicalizeHostname yes\n{domains}")
    found = target_of(Place("vault", "/"), str(asking))
    assert (found.host, found.port) == ("vault.two.example", 9)
    assert target_of(Place("other", "/"), str(asking)).host == "other"
    assert target_of(Place("vault", "/"), str(written(folder, domains))).host == "vault"


def test_names_of_included_files_are_taken_from_where_ssh_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ssh cannot be told of another home directory, so its manual is the witness: ~/.ssh and /etc/ssh."""
    system = tmp_path / "etc" / "ssh"
    for directory, port in ((tmp_path / ".ssh", 1), (system, 2), (tmp_path / "elsewhere", 3)):
        (directory / "config.d").mkdir(parents=True)
        (directory / "config.d" / "one.conf").write_text(f"Port {port}\n")
        (directory / "config").write_text("Include config.d/*.conf\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ssh_config, "SYSTEM_CONFIG", str(system / "config"))
    assert target_of(Place("vault", "/"), "~/.ssh/config").port == 1
    assert target_of(Place("vault", "/"), str(tmp_path / "elsewhere" / "config")).port == 1
    (tmp_path / ".ssh" / "config").write_text("Include ~/elsewhere/config.d/*\n")
    assert target_of(Place("vault", "/"), "~/.ssh/config").port == 3
    (tmp_path / ".ssh" / "config").unlink()
    assert target_of(Place("vault", "/"), "~/.ssh/config").port == 2


@pytest.mark.parametrize(("levels", "fine"), [(16, True), (17, False)])
def test_files_may_be_included_as_deeply_as_with_ssh(
    folder: Path, home: str, levels: int, *, fine: bool
) -> None:
    for level in range(levels):
        (folder / f"level{level}").write_text(f"Include {folder}/level{level + 1}\n")
    (folder / f"level{levels}").write_text("Port 9\n")
    path, place = folder / "level0", Place("vault", "/")
    if fine:
        assert said_by_ssh(path, place, home) == shown(target_of(place, str(path)))
        return
    with pytest.raises(subprocess.CalledProcessError) as by_ssh:
        said_by_ssh(path, place, home)
    assert "recursive" in by_ssh.value.stderr
    with pytest.raises(ConfigError, match="too deeply"):
        target_of(place, str(path))


@pytest.mark.parametrize(
    "text",
    [
        "Port many\n",
        "Port 0\n",
        "Port\n",
        "Port 65536\n",
        "Host\n",
        'User "bob\n',
        "Match user\n",
        "ProxyJump [\n",
        "HostName %q\n",
        "UserKnownHostsFile /%\n",
        "Include\n",
    ],
)
def test_what_ssh_does_not_understand_is_an_error(folder: Path, home: str, text: str) -> None:
    path, place = written(folder, text), Place("vault", "/")
    with pytest.raises(subprocess.CalledProcessError):
        said_by_ssh(path, place, home)
    with pytest.raises(ConfigError, match="config"):
        target_of(place, str(path))


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.*No such file"):
        target_of(Place("vault", "/"), str(tmp_path / "absent"))


# What is not decided here.


def commanding(folder: Path, below: str) -> tuple[Path, Path]:
    """A file with a command, and the file that shows that the command ran."""
    ran = folder / "ran"
    return written(folder, f'Match host vault exec "touch {ran}"\n{below}'), ran


@pytest.mark.parametrize("below", ["  Port 1\n", "  IdentityFile /x\n", "  Include {}/port\n"])
def test_no_command_is_run_to_decide_what_counts(folder: Path, home: str, below: str) -> None:
    path, ran = commanding(folder, below)
    with pytest.raises(ConfigError, match=r":\d: .* 'vault' depends on 'Match exec'") as caught:
        target_of(Place("vault", "/"), str(path))
    assert "ssh_config" in caught.value.hint
    assert not ran.exists()
    # The control: the file is one that makes ssh run it.
    said_by_ssh(path, Place("vault", "/"), home)
    assert ran.exists()


def test_a_command_that_decides_nothing_is_passed_over(folder: Path) -> None:
    path, ran = commanding(folder, "  ForwardAgent yes\nHost *\n  Port 9\n")
    assert target_of(Place("vault", "/"), str(path)).port == 9
    path, ran = commanding(folder, "  Port 1\nHost *\n  Port 9\n")
    assert target_of(Place("other", "/"), str(path)).port == 9
    assert target_of(Place("vault", "/", None, 22), str(path)).port == 22
    assert not ran.exists()


@pytest.mark.parametrize(
    "criterion", ["exec true", "!exec true", "localnetwork 10.0.0.0/8", "yet-unheard-of x"]
)
def test_a_criterion_that_is_not_known_is_never_taken_for_met(folder: Path, criterion: str) -> None:
    path = written(folder, f"Match {criterion}\n  ProxyJump gate\n")
    with pytest.raises(ConfigError, match=rf"Match {criterion.split(maxsplit=1)[0].strip('!')}"):
        target_of(Place("vault", "/"), str(path))
