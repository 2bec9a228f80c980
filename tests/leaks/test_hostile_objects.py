"""Experiments 33 to 37 and 40: objects that are dropped, swapped, altered, foreign or far too large.

The controls are the same commands on the repository as it was, and doctored clients: one that does not
look whether segments are there, one whose seals do not bind names, one that does not verify seals, one
that believes in sizes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from bitbacker.crypto.seal import Sealer
from bitbacker.errors import SealBroken, SizeWrong
from bitbacker.format import names
from bitbacker.repo.check import _Check
from bitbacker.spi import Buffer
from bitbacker_plugins import local
from cli.command import Home
from format.test_memory_bounds import outcomes
from hostile import (
    change,
    expect_done,
    flip,
    forget_state,
    kept,
    keyslots,
    look,
    make_home,
    newest_head,
    objects,
    refusal,
    show,
    told,
)
from lab import Lab, back_up
from leak_lab.laboratory import Laboratory


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def home(prepared: Home, tmp_path: Path) -> Home:
    return prepared.copy(tmp_path / "home")


def make_lab(folder: Path) -> Lab:
    """A repository with large and small segments."""
    lab = Lab(folder / "lab")
    lab.begin()
    source = folder / "source"
    source.mkdir()
    (source / "noise").write_bytes(os.urandom(5_000_000))
    for number in range(3):
        (source / "file").write_text(f"version {number}")
        back_up(lab.client(), source)
    return lab


def segments(home: Home) -> list[Path]:
    return objects(home, "segments")


def small(lab: Lab) -> list[str]:
    """Names of segments of the same size."""
    listed = lab.transport.list(names.SEGMENTS)
    return [info.name for info in listed if info.size_bytes == names.SMALL_SEGMENT_SIZE_BYTES]


def fetch(lab: Lab, name: str) -> None:
    """What every read of a segment does, on a machine that holds nothing."""
    lab.client("fresh").segments.fetch(names.segment_identity(name))


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctored seals, which do not bind an object to its name."""
    seal_into, open_into = Sealer.seal_into, Sealer.open_into
    monkeypatch.setattr(Sealer, "seal_into", lambda self, _, *buffers: seal_into(self, "", *buffers))
    monkeypatch.setattr(Sealer, "open_into", lambda self, _, *buffers: open_into(self, "", *buffers))


def unverified(self: Sealer, name: str, sealed: Buffer, out: bytearray) -> None:
    """A doctored client, which decrypts without looking at commitment and tag."""
    data = bytes(sealed)
    key, _ = self._derive(data[:32], name)
    # What AES-GCM does with a nonce of 12 bytes, of which the first block is for the tag.
    stream = Cipher(AES(key), CTR(bytes(12) + (2).to_bytes(4, "big"))).decryptor()
    out[:] = stream.update(data[64:-16])


@pytest.mark.experiment(33)
def test_a_segment_dropped(home: Home, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    every = kept(home, "every")
    for victim in segments(home):
        hidden = victim.rename(home.top / "hidden")
        done = home.inside("check", "--no-cache", "--json")
        assert done.code == 13
        assert victim.name in done.out + done.err
        hidden.rename(victim)
    expect_done(home.inside("check", "--no-cache"))
    for victim in segments(home):
        victim.unlink()
    assert refusal(look(home)) == "segment-missing"
    show(home, every)
    monkeypatch.setattr(_Check, "_check_presence", lambda *_: 0)
    data = next(victim for victim in segments(home) if unnoticed(home, victim))
    data.unlink()
    assert home.inside("restore", "latest", "--target", "out", "--json").code == 13
    told(laboratory, "a segment dropped", "segment-missing", "a check that does not list finds nothing wrong")


def unnoticed(home: Home, victim: Path) -> bool:
    """Whether a check finds nothing wrong when this segment is gone."""
    hidden = victim.rename(home.top / "hidden")
    done = home.inside("check", "--no-cache")
    hidden.rename(victim)
    return done.code == 0


@pytest.mark.experiment(34)
def test_two_segments_swapped(home: Home, laboratory: Laboratory) -> None:
    """The experiment end to end; every segment takes the place of another of its size."""
    small_ones = [path for path in segments(home) if path.stat().st_size == names.SMALL_SEGMENT_SIZE_BYTES]
    contents = [path.read_bytes() for path in small_ones]
    for path, data in zip(small_ones, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(data)
    assert refusal(look(home)) == "seal-broken"
    assert refusal(home.inside("check", "--read-data", "--no-cache", "--json")) == "seal-broken"
    for path, data in zip(small_ones, contents, strict=True):
        path.write_bytes(data)
    expect_done(look(home))
    told(laboratory, "segments swapped", "seal-broken", "seals that bind no names open: see the control")


def swapped(lab: Lab) -> list[str]:
    first, second, *_ = small(lab)
    one, two = lab.transport.get(first), lab.transport.get(second)
    lab.transport.put(first, two, replace=True)
    lab.transport.put(second, one, replace=True)
    return [first, second]


@pytest.mark.experiment(34)
def test_each_of_two_swapped_segments_is_refused(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    for name in swapped(lab):
        with pytest.raises(SealBroken):
            fetch(lab, name)


@pytest.mark.experiment(34)
@pytest.mark.usefixtures("nameless")
def test_control_seals_that_bind_no_names_open_swapped_segments(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    for name in swapped(lab):
        fetch(lab, name)


@pytest.mark.experiment(35)
def test_an_old_object_under_a_new_name(home: Home, laboratory: Laboratory) -> None:
    old = {path.name: path.read_bytes() for path in segments(home)}
    (home.data / "changing").write_text("three")
    expect_done(home.inside("backup", "-q", "--host", "box", "data"))
    newer = kept(home, "newer")
    again = [data for data in old.values() if len(data) == names.SMALL_SEGMENT_SIZE_BYTES]
    for path in segments(home):
        if path.name not in old:
            path.write_bytes(again.pop())
    assert refusal(look(home)) == "seal-broken"
    show(home, newer)
    newest, before, *_ = objects(home, "heads")
    newest.write_bytes(before.read_bytes())
    assert refusal(look(home)) == "seal-broken"
    show(home, newer)
    expect_done(look(home))
    told(laboratory, "an old object under a new name", "seal-broken", "seals that bind no names open")


@pytest.mark.experiment(35)
@pytest.mark.usefixtures("nameless")
def test_control_seals_that_bind_no_names_open_under_every_name(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    again = names.segment_name(bytes(16))
    lab.transport.put(again, lab.transport.get(small(lab)[0]))
    fetch(lab, again)


Change = Callable[[bytes], bytes]
FLIPS: dict[str, Change] = {
    "salt": flip(0),
    "commitment": flip(32),
    "first block": flip(64),
    "contents offset": flip(66),
    "middle": lambda data: flip(len(data) // 2)(data),
    "last block": flip(-17),
    "tag": flip(-1),
}
CUTS: dict[str, Change] = {
    "cut by a byte": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "longer by a byte": lambda data: data + b"\0",
    "twice": lambda data: data + data,
}
RECLASSED: dict[str, Change] = {
    "as another class": lambda data: (
        data.ljust(names.LARGE_SEGMENT_SIZE_BYTES, b"\0")
        if len(data) == names.SMALL_SEGMENT_SIZE_BYTES
        else data[: names.SMALL_SEGMENT_SIZE_BYTES]
    ),
}


@pytest.mark.experiment(36)
@pytest.mark.parametrize("how", [*FLIPS, *CUTS])
def test_a_head_altered(tmp_path: Path, how: str) -> None:
    lab = make_lab(tmp_path)
    name = next(iter(lab.transport.list(names.HEADS))).name
    good = lab.transport.get(name)
    lab.transport.put(name, {**FLIPS, **CUTS}[how](good), replace=True)
    with pytest.raises(SizeWrong if how in CUTS else SealBroken):
        lab.client("fresh").newest()
    lab.transport.put(name, good, replace=True)
    lab.client("fresh").newest()


@pytest.mark.experiment(36)
def test_every_segment_altered_in_every_region(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    sizes = set()
    for info in [*lab.transport.list(names.SEGMENTS)]:
        good = lab.transport.get(info.name)
        sizes.add(len(good))
        for how, altered in {**FLIPS, **CUTS, **RECLASSED}.items():
            lab.transport.put(info.name, altered(good), replace=True)
            with pytest.raises(SizeWrong if how in CUTS else SealBroken):
                fetch(lab, info.name)
        lab.transport.put(info.name, good, replace=True)
        fetch(lab, info.name)
    assert {names.SMALL_SEGMENT_SIZE_BYTES, names.LARGE_SEGMENT_SIZE_BYTES} == sizes


@pytest.mark.experiment(36)
def test_altered_objects_end_to_end(
    home: Home, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = kept(home, "good")
    for find, wrong_size in ((newest_head, "object-size"), (keyslots, "damage")):
        for how, code in ((FLIPS["middle"], "seal-broken"), (CUTS["cut by a byte"], wrong_size)):
            change(find(home), how)
            assert refusal(look(home)) == ("damage" if find is keyslots else code)
            show(home, good)
    for how, code in ((FLIPS["middle"], "seal-broken"), (CUTS["twice"], "object-size")):
        for path in segments(home):
            change(path, how)
        assert refusal(look(home)) == code
        show(home, good)
    expect_done(look(home))
    data = max(segments(home), key=lambda path: path.stat().st_size)
    change(data, FLIPS["middle"])
    assert home.inside("check", "--read-data", "--no-cache", "--json").code == 13
    show(home, good)
    change(newest_head(home), flip(-70))
    assert refusal(look(home)) == "seal-broken"
    monkeypatch.setattr(Sealer, "open_into", unverified)
    forget_state(home)
    expect_done(look(home))
    told(laboratory, "objects altered", "seal-broken, object-size", "a client that verifies no seal takes it")


@pytest.mark.experiment(37)
def test_objects_of_another_repository_with_the_same_password(
    home: Home, tmp_path: Path, laboratory: Laboratory
) -> None:
    foreign = make_home(tmp_path / "foreign")
    good = kept(home, "good")
    expect_done(look(home))
    show(home, foreign.repository)
    assert refusal(look(home)) == "repository-replaced"
    show(home, good)
    keyslots(home).write_bytes(keyslots(foreign).read_bytes())
    assert refusal(look(home)) == "repository-replaced"
    show(home, good)
    newest_head(home).write_bytes(newest_head(foreign).read_bytes())
    assert refusal(look(home)) == "seal-broken"
    show(home, good)
    small_ones = [path for path in segments(foreign) if path.stat().st_size == names.SMALL_SEGMENT_SIZE_BYTES]
    for path in segments(home):
        if path.stat().st_size == names.SMALL_SEGMENT_SIZE_BYTES:
            path.write_bytes(small_ones[0].read_bytes())
    assert refusal(look(home)) == "seal-broken"
    show(home, good)
    expect_done(look(home))
    show(home, foreign.repository)
    forget_state(home)
    expect_done(look(home))
    told(
        laboratory,
        "objects of another repository",
        "repository-replaced",
        "without state it is believed",
    )


@pytest.mark.experiment(40)
def test_objects_far_larger_than_any(
    home: Home, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tebibyte of nothing, which takes no room on the storage."""
    good = kept(home, "good")
    for path in (keyslots(home), newest_head(home), *segments(home)):
        os.truncate(path, 2**40)
        if path.parent.name != "segments":
            assert refusal(look(home)) == "object-size"
            show(home, good)
    assert refusal(look(home)) == "object-size"
    show(home, good)
    expect_done(look(home))
    monkeypatch.setattr(local, "_SIZE_MAX_BYTES", 2**41)
    os.truncate(keyslots(home), 2**40)
    done = look(home)
    assert (done.code, "not enough memory" in done.err) == (1, True)
    told(laboratory, "objects of a tebibyte", "object-size", "a client without a limit has not enough memory")


@pytest.mark.experiment(40)
def test_declared_lengths_and_bombs_in_bounded_memory(laboratory: Laboratory) -> None:
    """In a process with little memory; the inputs are in tests/format/bounded.py."""
    found = outcomes()
    refused = {name: what for name, what in found.items() if not name.startswith(("control", "extremes"))}
    assert {"FormatError"} == set(refused.values())
    assert {"MemoryError"} == {what for name, what in found.items() if name.startswith("control")}
    title = f"{len(refused)} declared lengths and bombs"
    told(laboratory, title, "format, in bounded memory", "a decoder that trusts lengths runs out of memory")
