"""The control is a backup program: what it stored comes back, and it stores content once."""

from __future__ import annotations

import random
from pathlib import Path

from leak_lab.plain_store import PlainDesk
from leak_lab.trees import plant


def test_the_leaky_program_restores_what_it_backed_up(tmp_path: Path, rng: random.Random) -> None:
    desk = PlainDesk(tmp_path / "desk")
    files = {"a": rng.randbytes(500_000), "empty": b"", "deep/er/b": b"text " * 1000}
    plant(desk.source, files)
    name = desk.back_up()
    (tmp_path / "target").mkdir()
    desk.restore(name, tmp_path / "target")
    assert files == {file: (tmp_path / "target" / file).read_bytes() for file in files}


def test_the_leaky_program_stores_content_once(tmp_path: Path, rng: random.Random) -> None:
    desk = PlainDesk(tmp_path / "desk")
    data = rng.randbytes(500_000)
    plant(desk.source, {"a": data, "b": data})
    desk.back_up()
    desk.back_up()
    names = [event.name for event in desk.transport.events if event.operation == "put"]
    assert len(names) == len(set(names))
    assert desk.transport.view().put_bytes < 600_000
