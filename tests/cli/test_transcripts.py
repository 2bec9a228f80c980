"""Every transcript plays as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command import PASSWORD, Done, Home
from cli.transcript import Scene, play, read

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_plays_as_written(home: Home, path: Path) -> None:
    for scene in read(path):
        done = play(home, scene)
        assert scene.complaint(done) == ""
        assert PASSWORD not in done.out + done.err


@pytest.mark.parametrize(
    "done",
    [
        Done(1, "one two\n", ""),
        Done(0, "one\n", ""),
        Done(0, "one two\nmore\n", ""),
        Done(0, "one two\n", "!\n"),
    ],
    ids=["exit code", "stdout", "more stdout", "stderr"],
)
def test_a_transcript_that_does_not_fit_is_found(done: Done) -> None:
    scene = Scene("true", 1, out=["one ...o"])
    assert scene.complaint(Done(0, "one two\n", "")) == ""
    assert scene.complaint(done) != ""
