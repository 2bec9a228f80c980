"""Our reader makes of every vector what the vector says; another reader of the format does the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bitbacker.format import names
from vectors.generators.example import DOCUMENT, Example, filled
from vectors.reading import WORDS, Outcome, read
from vectors.vector import DATA, Vector, parse, read_objects, vectors

BUDGET_BYTES = 3_000_000
every_vector = pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.name)


@every_vector
def test_a_vector_gives_what_it_says(vector: Vector, tmp_path: Path) -> None:
    assert read(vector, tmp_path) == Outcome(vector.fields["expect"], vector.listing)


@every_vector
def test_a_vector_says_what_it_is_for(vector: Vector) -> None:
    assert vector.fields["comment"].endswith(".")
    assert (vector.fields["expect"] == "success") == bool(vector.listing)


def test_every_outcome_that_a_reader_tells_apart_has_its_vector() -> None:
    # A rollback is seen only by a client that remembers: tests/repo has it.
    expected = {*WORDS.values(), "success"} - {"rollback"}
    assert {vector.fields["expect"] for vector in vectors()} == expected


def test_an_expectation_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """The control: content, metadata and outcome are really compared."""
    vector = next(vector for vector in vectors() if vector.name == "example")
    good = read(vector, tmp_path)
    for line in ("entry: hello.txt", "14", "1000", "1700000000123456789"):
        assert any(line in found for found in good.listing)
    changed = replace(vector, lists={**vector.lists, "entry": []})
    assert good != Outcome("success", changed.listing)


@pytest.mark.parametrize("line", ["expct: success", "expect success", "expect: success\nexpect: success"])
def test_a_vector_that_is_not_understood_is_an_error(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.vector").write_text(line)
    with pytest.raises(ValueError, match=r"expe?ct"):
        parse(tmp_path / "x.vector")


def test_every_file_belongs_to_a_vector() -> None:
    used = {path for vector in vectors() for path in (DATA / vector.fields["repository"]).rglob("*")}
    used |= {DATA / f"{vector.name}.vector" for vector in vectors()}
    used |= {
        DATA / change.split(" ")[2]
        for vector in vectors()
        for change in vector.lists["change"]
        if change.startswith("put ")
    }
    assert {path for path in DATA.rglob("*") if path.is_file()} - used == set()


def test_the_vectors_are_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < BUDGET_BYTES


def test_the_document_shows_the_bytes_of_the_example() -> None:
    example = Example()
    document = DOCUMENT.read_text("utf-8")
    assert filled(document, example.parts()) == document
    assert read_objects(DATA / "repositories" / "example") == example.builder.objects


def test_a_drifted_example_is_noticed() -> None:
    """The control of the test above."""
    parts = Example().parts()
    document = DOCUMENT.read_text("utf-8")
    assert filled(document.replace("68656c6c6f2e747874", "68656c6c6f2e747875"), parts) == document
    assert all(f"<!-- example: {name} -->" in document for name in parts)


def test_the_example_has_the_sizes_of_the_document() -> None:
    sizes = {name.partition("/")[0]: len(data) for name, data in Example().builder.objects.items()}
    assert sizes == {
        "keyslots": names.KEYSLOTS_SIZE_BYTES,
        "heads": names.HEAD_SIZE_BYTES,
        "segments": names.SMALL_SEGMENT_SIZE_BYTES,
    }
