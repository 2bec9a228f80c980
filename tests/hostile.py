"""A storage that attacks: what it does to a repository in a directory, and what a client says to that."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bitbacker.crypto import slots
from cli.command import Done, Home, plant
from leak_lab.laboratory import Finding, Laboratory


def make_home(folder: Path) -> Home:
    """A home whose repository has two snapshots, and large segments, most with nothing but data in them."""
    made = Home(folder / "home")
    plant(made.data)
    (made.data / "noise").write_bytes(os.urandom(17_000_000))
    expect_done(made.inside("init", "-q"))
    for text in ("one", "two"):
        (made.data / "changing").write_text(text)
        expect_done(made.inside("backup", "-q", "--host", "box", "data"))
    return made


def expect_done(done: Done) -> Done:
    assert done.code == 0, done.out + done.err
    return done


def refusal(done: Done) -> str:
    """The code of the one error that a command with `--json` ends with, which is exit code 13."""
    assert "Traceback" not in done.err
    errors = [json.loads(line) for line in done.err.splitlines()]
    assert [error["message_type"] for error in errors] == ["error"], done.err
    assert (done.code, errors[0]["exit_code"]) == (13, 13)
    assert errors[0]["hint"]
    code: str = errors[0]["code"]
    return code


def look(home: Home, *arguments: str) -> Done:
    """The cheapest command that reads keyslots, head and catalog; nothing comes from the cache."""
    return home.inside("snapshots", "--json", "--no-cache", *arguments)


def forget_state(home: Home) -> None:
    """A machine that remembers nothing: the control of what is told by memory alone."""
    shutil.rmtree(home.top / "state")


def objects(home: Home, kind: str) -> list[Path]:
    """The files of a kind; heads count down, so the newest stands first."""
    return sorted((home.repository / kind).iterdir())


def newest_head(home: Home) -> Path:
    return objects(home, "heads")[0]


def keyslots(home: Home) -> Path:
    return home.repository / "keyslots"


def show(home: Home, other: Path) -> None:
    """From now on the storage shows these objects."""
    shutil.rmtree(home.repository)
    shutil.copytree(other, home.repository)


def kept(home: Home, name: str) -> Path:
    """A copy of the objects as they are now, which the storage keeps."""
    return Path(shutil.copytree(home.repository, home.top / name))


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


def flip(at: int) -> Callable[[bytes], bytes]:
    """Change one bit of the byte at this offset; negative ones count from the end."""

    def changed(data: bytes) -> bytes:
        out = bytearray(data)
        out[at] ^= 0x10
        return bytes(out)

    return changed


def with_checksum(data: bytes) -> bytes:
    """The keyslots with the checksum that fits: whoever attacks can compute it."""
    return slots.with_checksum(data[: -slots.CHECKSUM_SIZE_BYTES])


def told(laboratory: Laboratory, title: str, refused: str, accepted: str) -> None:
    """Keep a result: how we refuse an attack, and how a client without the defence fails to."""
    laboratory.record(
        title, Finding(leak=False, text=f"refused: {refused}"), Finding(leak=True, text=accepted), runs=1
    )
