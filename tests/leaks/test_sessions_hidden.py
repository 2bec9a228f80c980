"""Experiments 11, 12, 13, 16 and 17: what happened between two sessions, and whether it was stored before."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from leak_lab.desk import Desk, OurDesk
from leak_lab.laboratory import Finding, Laboratory, Views, look_at_shape, same_shapes, variants
from leak_lab.plain_store import PlainDesk
from leak_lab.trees import TIME_NS, plant, settle

KIB = 1024
LATER_NS = TIME_NS + 3600 * 10**9


def a_tree(rng: random.Random) -> dict[str, bytes]:
    """Files of several sizes on several levels, 700 KiB in all."""
    files = {f"{folder}/{number}": rng.randbytes(5 * KIB) for folder in "abcd" for number in range(10)}
    return files | {"b/large": rng.randbytes(480 * KIB), "d/deep/er/and/deep/er": rng.randbytes(20 * KIB)}


def touch(path: Path, time_ns: int = LATER_NS) -> None:
    os.utime(path, ns=(time_ns, time_ns))


def change(path: Path, rng: random.Random, size_bytes: int) -> None:
    """New bytes of this size at the end of a file, and nothing else of its directory changes."""
    with path.open("ab") as file:
        file.write(rng.randbytes(size_bytes))
    touch(path)


Deed = Callable[[Path, random.Random], None]


def nothing(source: Path, rng: random.Random) -> None:
    del source, rng


def touched_one(source: Path, rng: random.Random) -> None:
    del rng
    touch(source / "a" / "0")


def touched_all(source: Path, rng: random.Random) -> None:
    for path in sorted(source.rglob("*")):
        touch(path, LATER_NS + rng.randrange(10**9))


def touched_a_folder(source: Path, rng: random.Random) -> None:
    for path in sorted((source / "a").iterdir()):
        touch(path, LATER_NS + rng.randrange(10**9))


def write(path: Path, data: bytes) -> None:
    """A new file, which changes nothing else but the time of its directory."""
    path.write_bytes(data)
    touch(path)
    touch(path.parent)


def wrote_100_kib(source: Path, rng: random.Random) -> None:
    write(source / "new", rng.randbytes(100 * KIB))


def wrote_20_files(source: Path, rng: random.Random) -> None:
    for number in range(20):
        write(source / "c" / f"new{number}", rng.randbytes(2 * KIB))


def removed_a_folder(source: Path, rng: random.Random) -> None:
    del rng
    for path in sorted((source / "a").iterdir()):
        path.unlink()
    (source / "a").rmdir()
    touch(source)


def after(deed: Deed, desk: Desk, rng: random.Random) -> None:
    """A first backup, a second one of the same, something happens, and two more backups."""
    plant(desk.source, a_tree(rng))
    settle()
    desk.back_up()
    desk.back_up()
    deed(desk.source, rng)
    settle()
    desk.back_up()
    desk.back_up()


def after_each(*deeds: Deed) -> dict[str, Callable[[Desk, random.Random], None]]:
    return {deed.__name__: partial(after, deed) for deed in deeds}


@pytest.mark.experiment(11)
def test_whether_anything_changed_is_hidden(laboratory: Laboratory) -> None:
    deeds = (nothing, touched_one, touched_all, wrote_100_kib, wrote_20_files, removed_a_folder)
    laboratory.compare("nothing changed, or something below the floor", after_each(*deeds))


@pytest.mark.experiment(11)
def test_whether_anything_changed_is_hidden_on_a_machine_without_a_cache(laboratory: Laboratory) -> None:
    def after_on_another_machine(deed: Deed, desk: Desk, rng: random.Random) -> None:
        plant(desk.source, a_tree(rng))
        settle()
        desk.back_up()
        deed(desk.source, rng)
        settle()
        desk.back_up(machine="two")

    deeds = (nothing, touched_one, touched_a_folder, wrote_100_kib, wrote_20_files, removed_a_folder)
    worlds = {deed.__name__: partial(after_on_another_machine, deed) for deed in deeds}
    laboratory.compare("the same for a client without a cache", worlds)


@pytest.mark.experiment(12)
def test_which_file_changed_is_hidden(laboratory: Laboratory) -> None:
    def changed(name: str, desk: Desk, rng: random.Random) -> None:
        after(lambda source, rng: change(source / name, rng, 10 * KIB), desk, rng)

    # The large file's last chunk can have up to 512 KiB; the promise is about one bucket.
    names = {"first": "a/0", "last": "d/9", "large": "b/large", "deepest": "d/deep/er/and/deep/er"}
    worlds = {which: partial(changed, name) for which, name in names.items()}
    laboratory.compare("which file changed", worlds)


@pytest.mark.experiment(13)
def test_renaming_a_folder_looks_like_touching_its_files(laboratory: Laboratory) -> None:
    def renamed(source: Path, rng: random.Random) -> None:
        del rng
        (source / "a").rename(source / "z")
        touch(source)

    laboratory.compare("a folder renamed, or its files touched", after_each(renamed, touched_a_folder))


@pytest.mark.experiment(16)
def test_whether_content_was_stored_before_is_hidden(laboratory: Laboratory) -> None:
    def added(which: str, desk: Desk, rng: random.Random) -> None:
        files = {f"old{number}": rng.randbytes(15 * KIB) for number in range(10)}
        fresh = {f"new{number}": rng.randbytes(15 * KIB) for number in range(10)}
        plant(desk.source, files)
        desk.back_up()
        again = {f"new{number}": data for number, data in enumerate(files.values())}
        plant(desk.source, again if which == "again" else fresh)
        desk.back_up()

    laboratory.compare("content stored before, or new", variants(added, "again", "fresh"))


SECRET_HEX = 32


def guessed(laboratory: Laboratory, make: Callable[[Path], Desk], guesses: int) -> Views:
    """One secret beside which an attacker plants guesses, of which one is right."""
    rng = random.Random()
    secret = rng.randbytes(SECRET_HEX).hex()
    wrong = [rng.randbytes(SECRET_HEX).hex() for _ in range(guesses - 1)]
    views = {}
    for number, guess in enumerate([*wrong, secret]):
        desk = make(laboratory.new_folder())
        plant(desk.source, {"file": f"password={secret}\npassword={guess}\n".encode() * 3})
        desk.back_up()
        views["right" if number == guesses - 1 else f"wrong {number}"] = [desk.transport.view()]
        desk.close()
    return views


def right_guess_stands_out(views: Views) -> Finding:
    """Whether the uploaded volume of the right guess is one that no wrong guess has."""
    volumes = {name: view.put_bytes for name, (view,) in views.items()}
    right = volumes.pop("right")
    alone = right not in volumes.values()
    return Finding(
        leak=alone, text=f"the right one of {len(views)} guesses {'stands out' if alone else 'does not'}"
    )


@pytest.mark.experiment(17)
def test_guesses_beside_a_secret_tell_nothing(laboratory: Laboratory) -> None:
    guesses = 256 if laboratory.full else 24
    views = guessed(laboratory, OurDesk, guesses)
    ours = same_shapes(views, look_at_shape)
    control = right_guess_stands_out(guessed(laboratory, PlainDesk, guesses))
    laboratory.record("guesses beside a secret", ours, control, runs=guesses)
