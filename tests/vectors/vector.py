"""Vector files: what they say, and the objects that they mean.  README.md describes the format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

DATA = Path(__file__).parent / "data"
SINGLE = ("comment", "repository", "expect", "password", "snapshot", "mode")
REPEATED = ("change", "entry", "xattr", "same")


@dataclass(frozen=True)
class Vector:
    """One scenario: lines of one keyword once, of others as often as needed."""

    name: str
    fields: dict[str, str]
    lists: dict[str, list[str]]

    @property
    def objects(self) -> dict[str, bytes]:
        """What the storage holds, after all changes."""
        objects = read_objects(DATA / self.fields["repository"])
        for change in self.lists["change"]:
            apply(objects, change)
        return objects

    @property
    def listing(self) -> list[str]:
        """The lines that say what the snapshot holds, keyword included, sorted."""
        return sorted(f"{key}: {line}" for key in ("entry", "xattr", "same") for line in self.lists[key])


def parse(path: Path) -> Vector:
    """Raises `ValueError` for a line that is not understood, so that no expectation is lost."""
    fields: dict[str, str] = {}
    lists: dict[str, list[str]] = {key: [] for key in REPEATED}
    for line in path.read_text("utf-8").splitlines():
        key, colon, value = line.partition(": ")
        if key in REPEATED and colon:
            lists[key].append(value)
        elif key in SINGLE and colon and key not in fields:
            fields[key] = value
        else:
            raise ValueError(f"{path.name}: {line!r}")
    return Vector(path.stem, fields, lists)


def vectors() -> list[Vector]:
    """All of them, by name."""
    return [parse(path) for path in sorted(DATA.glob("*.vector"))]


def read_objects(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def apply(objects: dict[str, bytes], change: str) -> None:
    """One `change` line.  Raises `KeyError` when its object is not there, `ValueError` for nonsense."""
    word, name, *more = change.split(" ")
    if word == "flip":
        position, mask = int(more[0]), int(more[1], 16)
        data = bytearray(objects[name])
        data[position] ^= mask
        objects[name] = bytes(data)
    elif word == "cut":
        objects[name] = objects[name][: int(more[0])]
    elif word == "extend":
        objects[name] += bytes.fromhex(more[0])
    elif word == "remove":
        del objects[name]
    elif word == "copy":
        objects[more[0]] = objects[name]
    elif word == "swap":
        objects[name], objects[more[0]] = objects[more[0]], objects[name]
    elif word == "put":
        objects[name] = (DATA / more[0]).read_bytes()
    else:
        raise ValueError(f"a change that nobody knows: {change!r}")


def quoted(path: bytes) -> str:
    """A path as vector files write it."""
    return quote_from_bytes(path, safe="/")
