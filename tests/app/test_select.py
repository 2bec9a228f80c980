"""Which snapshots a user means."""

from __future__ import annotations

import pytest

from bitbacker.app.select import Filter, Snapshot, pick
from bitbacker.errors import SnapshotUnknown


def snapshot(number: int, host: str = "box", source: str = "home", tags: tuple[str, ...] = ()) -> Snapshot:
    """Ids begin with the same digits for neighbours: 10, 11, 12..."""
    identity = bytes([number]) + bytes(15)
    return Snapshot(identity, number, host, source, (), tags, (), "test")


EVERY = tuple(snapshot(number) for number in (0x10, 0x11, 0x20))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", EVERY[2]),
        ("latest~0", EVERY[2]),
        ("latest~2", EVERY[0]),
        ("2", EVERY[2]),
        ("11", EVERY[1]),
        (EVERY[0].id, EVERY[0]),
    ],
)
def test_a_snapshot_is_named_by_age_or_by_the_beginning_of_its_id(text: str, expected: Snapshot) -> None:
    assert pick(EVERY, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "2 snapshots start with '1'"),
        ("3", "no snapshot starts with '3'"),
        ("latest~3", "there is no snapshot 'latest~3': only 3 snapshots fit"),
        ("latest~-1", "'latest~-1' is no snapshot: an id has the digits 0-9 and a-f"),
        ("", "'' is no snapshot: an id has the digits 0-9 and a-f"),
    ],
)
def test_what_names_none_or_several_is_refused(text: str, message: str) -> None:
    with pytest.raises(SnapshotUnknown) as caught:
        pick(EVERY, text)
    assert str(caught.value) == message


def test_latest_without_any_snapshot_says_so() -> None:
    with pytest.raises(SnapshotUnknown, match="no snapshots fit"):
        pick((), "latest")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), True),
        (Filter(hosts=("box", "other")), True),
        (Filter(hosts=("other",)), False),
        (Filter(sources=("home",), tags=("a",)), True),
        (Filter(tags=("a", "b")), True),
        (Filter(tags=("a", "c")), False),
    ],
)
def test_a_filter_wants_one_of_the_hosts_and_sources_and_all_of_the_tags(wanted: Filter, fits: bool) -> None:
    assert wanted.fits(snapshot(1, tags=("a", "b"))) == fits
