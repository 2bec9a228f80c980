"""Writes all vectors anew.  From the directory `tests`: `python -m vectors.generators.write`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from bitbacker.format import names
from vectors.generators.builder import PASSWORD, RECOVERY_ENTROPY, recovery_code
from vectors.generators.example import Example
from vectors.generators.faults import Faults, SpoiledObjects
from vectors.generators.repositories import Told, deltas, everything, lines
from vectors.vector import DATA

Lines = Iterator[tuple[str, list[str]]]
"""Names of vectors and their lines."""


def head(comment: str, repository: str, expect: str, password: str = PASSWORD) -> list[str]:
    return [
        f"comment: {comment}",
        f"repository: repositories/{repository}",
        f"password: {password}",
        f"expect: {expect}",
    ]


def successes(told: dict[str, Told], example: Example) -> Lines:
    listing = lines({b"hello.txt": example.made})
    yield "example", head("The worked example of docs/format.md.", "example", "success") + listing
    tree = lines(told["everything"].trees["everything"])
    ways = {
        "everything": ("One of everything, with the password of the sixth slot.", PASSWORD),
        "everything-other-password": ("The same, with the password of the third slot.", "zwei Wörter"),
        "everything-recovery-code": ("The same, with a recovery code.", recovery_code()),
    }
    for name, (comment, password) in ways.items():
        yield name, head(comment, "everything", "success", password) + tree
    comments = {
        "1": "The oldest snapshot, whose record a later catalog table replaces (F-8.2).",
        "2": "Entries that were replaced and dropped (F-6.35), are new, and are gone, on two pages.",
        "3": "Dropped: what overruled an entry, a whole directory; back: what was dropped.",
        "4": "A file that became a directory, and a directory that became a file.",
        "partial": "A checkpoint can be read like any snapshot.",
        "sloppy": "An entry is replaced and, against F-6.35, not dropped (F-6.24).",
    }
    for label, comment in comments.items():
        chosen = [f"snapshot: {told['deltas'].snapshots[label].id}"]
        tree = lines(told["deltas"].trees[label])
        yield f"deltas-{label}", head(comment, "deltas", "success") + chosen + tree
    chosen = [f"snapshot: {told['deltas'].snapshots['4'].id}", "mode: without-heads"]
    tree = lines(told["deltas"].trees["4"])
    without = "Snapshots are found without heads (section 14.3)."
    remove = [f"change: remove {name}" for name in stored(told["deltas"]) if name.startswith(names.HEADS)]
    yield "without-heads", head(without, "deltas", "success") + chosen + remove + tree


def refusals(told: dict[str, Told]) -> Lines:
    forgotten = [f"snapshot: {told['deltas'].snapshots['forgotten'].id}"]
    yield "deltas-forgotten", head("A forgotten snapshot is none.", "deltas", "no-snapshot") + forgotten
    yield (
        "without-heads-forgotten",
        [
            *head(
                "Nor is it without heads, as long as the record is there that says so.",
                "deltas",
                "no-snapshot",
            ),
            *forgotten,
            "mode: without-heads",
        ],
    )
    wrong = {
        "wrong-password": ("No slot opens with this password.", "incorrect horse battery staple"),
        "wrong-password-space": ("A password is taken as it is (F-10.3).", PASSWORD + " "),
        "wrong-recovery-code": (
            "A recovery code of another repository.",
            recovery_code(RECOVERY_ENTROPY[::-1]),
        ),
        "mistyped-recovery-code": ("One digit is wrong (F-10.13).", recovery_code()[:-1] + "0"),
    }
    for name, (comment, password) in wrong.items():
        yield name, head(comment, "everything", "wrong-password", password)


def changed(told: dict[str, Told]) -> Lines:
    """Objects that are altered, cut, moved or removed."""
    objects = stored(told["deltas"])
    newest = min(name for name in objects if name.startswith(names.HEADS))
    random = told["deltas"].builder.random
    one, other = (names.segment_name(random(f"segment {label}", 16)) for label in ("base", "deltas"))
    next_head = names.head_name(names.head_number(newest) + 1)
    cases: dict[str, tuple[str, str, list[str]]] = {
        "keyslots-removed": ("There is no repository.", "no-repository", ["remove keyslots"]),
        "keyslots-flipped": ("A bit of the first slot is flipped.", "damage", ["flip keyslots 100 0x04"]),
        "keyslots-unused": ("A bit of an unused slot is flipped.", "damage", ["flip keyslots 3000 0x80"]),
        "keyslots-checksum": ("A bit of the checksum is flipped.", "damage", ["flip keyslots 4095 0x01"]),
        "keyslots-cut": ("The object is a byte short.", "damage", ["cut keyslots 4095"]),
        "keyslots-long": ("The object is a byte long.", "damage", ["extend keyslots 00"]),
        "heads-removed": ("There is no head.", "damage", [f"remove {newest}"]),
        "head-cut": ("The newest head is a byte short.", "seal-broken", [f"cut {newest} 65535"]),
        "head-empty": ("The newest head is empty.", "seal-broken", [f"cut {newest} 0"]),
        "head-moved": (
            "An old head is shown under the name of a newer one (F-3.2).",
            "seal-broken",
            [f"copy {newest} {next_head}"],
        ),
        "segment-cut": ("A segment is cut at half.", "seal-broken", [f"cut {one} 131072"]),
        "segment-long": ("A segment is a byte long.", "seal-broken", [f"extend {one} 00"]),
        "segments-swapped": ("Two segments have changed names.", "seal-broken", [f"swap {one} {other}"]),
        "segment-removed": ("A segment is not there.", "missing-segment", [f"remove {one}"]),
        "stray-segment": (
            "A segment that no head lists is no concern of a reader.",
            "success",
            [f"copy {one} segments/{'0' * 32}"],
        ),
    }
    regions = {"salt": 0, "commitment": 32, "ciphertext": 64, "padding": -100, "tag": -1}
    for what, name, size in (("head", newest, names.HEAD_SIZE_BYTES), ("segment", one, 262144)):
        for region, position in regions.items():
            change = f"flip {name} {position % size} 0x10"
            cases[f"{what}-flipped-{region}"] = (
                f"A bit of its {region} is flipped.",
                "seal-broken",
                [change],
            )
    last = lines(told["deltas"].trees["4"])
    for name, (comment, expect, changes) in cases.items():
        shown = [f"snapshot: {told['deltas'].snapshots['4'].id}", *last] if expect == "success" else []
        yield name, head(comment, "deltas", expect) + [f"change: {change}" for change in changes] + shown


def faults(repository: Faults) -> Lines:
    for fault, snapshot in repository.snapshots:
        yield (
            f"fault-{fault.name}",
            [*head(fault.comment, "faults", fault.expect), f"snapshot: {snapshot.id}"],
        )


def stored(told: Told) -> dict[str, bytes]:
    """The objects without the heads before the newest, which nobody needs."""
    heads = sorted(name for name in told.builder.objects if name.startswith(names.HEADS))
    return {name: data for name, data in told.builder.objects.items() if name not in heads[1:]}


def write_objects(folder: Path, objects: dict[str, bytes]) -> None:
    for name, data in objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_vectors(found: Lines) -> None:
    for name, text in found:
        (DATA / f"{name}.vector").write_text("\n".join(text) + "\n", "utf-8")


def spoiled(example: Example) -> Lines:
    listing: Sequence[str] = lines({b"hello.txt": example.made})
    for item in SpoiledObjects():
        name = item.fault.name
        write_objects(DATA / "objects", {name: item.data})
        change = f"change: put {item.target} objects/{name}"
        text = [*head(item.fault.comment, "example", item.fault.expect), change]
        yield f"spoiled-{name}", text + (list(listing) if item.fault.expect == "success" else [])


def main() -> None:
    """Remove what is there and write everything."""
    shutil.rmtree(DATA, ignore_errors=True)
    example, told, faulty = Example(), {"everything": everything(), "deltas": deltas()}, Faults()
    write_objects(DATA / "repositories" / "example", example.builder.objects)
    for name, one in told.items():
        write_objects(DATA / "repositories" / name, stored(one))
    write_objects(DATA / "repositories" / "faults", stored(Told(faulty.builder, {}, {})))
    for found in (successes(told, example), refusals(told), changed(told), faults(faulty), spoiled(example)):
        write_vectors(found)


if __name__ == "__main__":
    main()
