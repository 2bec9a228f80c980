"""A storage that keeps objects locked: what it keeps stays condemned, and a later prune deletes it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitbacker.errors import ObjectsLocked
from bitbacker.format import names
from bitbacker.repo.check import check
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository
from bitbacker.repo.sweep import HEADS_KEPT, PruneResult, execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, PrunePlan, plan_prune
from bitbacker.testing.faults import Crash, CrashingTransport, LockingTransport, RecordingTransport
from lab import Found, Lab, back_up, contents, tree

DAY_S = 86_400.0
LOCK_S = 10 * DAY_S
OPTIONS = PruneOptions(live_part_min=1.0)
STRICT = PruneOptions(strict=True)


class Clock:
    """The time of the storage."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_days(self, days: float) -> None:
        self.now_s += days * DAY_S


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    return root


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lab(tmp_path: Path, clock: Clock) -> Lab:
    return locked_lab(tmp_path / "lab", clock)


def locked_lab(folder: Path, clock: Clock) -> Lab:
    lab = Lab(folder)
    lab.use(LockingTransport(lab.transport, LOCK_S, clock))
    lab.begin()
    return lab


def prune(client: Repository, options: PruneOptions = OPTIONS) -> PruneResult:
    return execute_prune(client, plan_prune(client, options), options)


def forget_all_but_newest(client: Repository) -> None:
    forget(client, [item.identity for item in client.catalog(client.newest()).snapshots[:-1]])


def segments(lab: Lab) -> dict[bytes, int]:
    return {names.segment_identity(info.name): info.size_bytes for info in lab.transport.list(names.SEGMENTS)}


@pytest.fixture
def history(lab: Lab, source: Path, rng: random.Random) -> Repository:
    """Three backups of which the newest one is kept."""
    client = lab.client()
    for _ in range(3):
        (source / "file").write_bytes(rng.randbytes(100_000))
        back_up(client, source)
    forget_all_but_newest(client)
    return client


def test_what_is_locked_stays_condemned_and_is_told(lab: Lab, history: Repository, clock: Clock) -> None:
    plan = plan_prune(history, OPTIONS)
    result = execute_prune(history, plan, OPTIONS)
    catalog = history.catalog(history.newest())
    assert plan.victims == catalog.condemned
    assert plan.victims <= segments(lab).keys()
    assert (0, 0) == (result.deleted_segments, result.freed_bytes)
    assert (len(plan.victims), plan.freed_bytes) == (result.locked_segments, result.locked_bytes)
    assert clock.now_s + LOCK_S == result.locked_until_s
    assert plan.freed_bytes == sum(catalog.segments[one].size_bytes for one in catalog.condemned)


def test_a_prune_before_the_time_deletes_nothing_and_stores_nothing(
    lab: Lab, history: Repository, clock: Clock
) -> None:
    first = prune(history)
    clock.pass_days(9)
    before = lab.objects()
    again = prune(history)
    assert before == lab.objects()
    assert (0, 0, 0) == (again.deleted_segments, again.freed_bytes, again.stored_bytes)
    assert (first.locked_segments, first.locked_bytes) == (again.locked_segments, again.locked_bytes)


def test_a_prune_after_the_time_deletes_it_without_a_commit(
    lab: Lab, history: Repository, clock: Clock
) -> None:
    first = prune(history)
    clock.pass_days(11)
    head = history.newest()
    plan = plan_prune(history, OPTIONS)
    assert (plan.condemned, first.locked_bytes) == (plan.victims, plan.freed_bytes)
    last = execute_prune(history, plan, OPTIONS)
    assert PruneResult(first.locked_segments, first.locked_bytes, 0) == last
    assert head == history.newest()
    assert history.catalog(head).live == segments(lab).keys()
    assert plan_prune(history, OPTIONS).nothing_to_do


def test_a_weekly_prune_of_a_locked_repository_commits_only_when_something_is_condemned(
    lab: Lab, source: Path, rng: random.Random, clock: Clock
) -> None:
    client = lab.client()
    for _ in range(3):
        (source / "file").write_bytes(rng.randbytes(100_000))
        back_up(client, source)
    forget_all_but_newest(client)
    numbers = []
    for _ in range(4):
        prune(client)
        numbers.append(client.newest().number)
        clock.pass_days(4)
    assert numbers == [numbers[0]] * 4


def test_another_client_sees_what_an_earlier_prune_has_left(lab: Lab, history: Repository) -> None:
    prune(history)
    plan = plan_prune(lab.client("other"), OPTIONS)
    assert (history.catalog(history.newest()).condemned, frozenset()) == (plan.condemned, plan.orphans)
    assert not plan.needs_commit


def test_a_record_stays_while_the_segment_does_and_goes_with_a_later_commit(
    lab: Lab, history: Repository, source: Path, rng: random.Random, clock: Clock
) -> None:
    prune(history)
    left = history.catalog(history.newest())
    clock.pass_days(5)
    for days in (0, 6, 0):
        clock.pass_days(days)
        (source / "file").write_bytes(rng.randbytes(100_000))
        back_up(history, source)
        forget_all_but_newest(history)
        before = segments(lab).keys() & left.condemned
        prune(history)
        catalog = history.catalog(history.newest())
        assert before == catalog.condemned & left.condemned
        assert all(left.segments[one] == catalog.segments[one] for one in before)
    assert not left.condemned & catalog.segments.keys()


def test_what_can_go_goes_though_something_else_is_locked(
    lab: Lab, history: Repository, source: Path, rng: random.Random, clock: Clock
) -> None:
    old = segments(lab)
    clock.pass_days(11)
    (source / "file").write_bytes(rng.randbytes(100_000))
    back_up(history, source)
    (source / "file").write_bytes(rng.randbytes(100_000))
    back_up(history, source)
    forget_all_but_newest(history)
    plan = plan_prune(history, OPTIONS)
    result = execute_prune(history, plan, OPTIONS)
    gone = plan.victims - segments(lab).keys()
    assert gone == plan.victims & old.keys()
    assert (len(gone), sum(old[one] for one in gone)) == (result.deleted_segments, result.freed_bytes)
    assert 0 < result.locked_segments == len(plan.victims - gone)


def test_locked_heads_go_another_time(lab: Lab, source: Path, clock: Clock) -> None:
    client = lab.client()
    for number in range(HEADS_KEPT + 4):
        (source / "file").write_text(str(number))
        back_up(client, source)
    forget_all_but_newest(client)
    prune(client)
    assert HEADS_KEPT + 7 == len(client.heads.numbers())
    clock.pass_days(11)
    (source / "file").write_text("another one")
    back_up(client, source)
    forget_all_but_newest(client)
    prune(client)
    assert HEADS_KEPT == len(client.heads.numbers())


def test_a_strict_prune_leaves_everything_that_was_there_condemned(
    lab: Lab, history: Repository, source: Path, clock: Clock
) -> None:
    before = segments(lab)
    result = prune(history, STRICT)
    assert (len(before), 0) == (result.locked_segments, result.freed_bytes)
    assert history.catalog(history.newest()).condemned == before.keys()
    clock.pass_days(11)
    assert len(before) == prune(history).deleted_segments
    reader = lab.client("reader")
    assert tree(source) == contents(reader, reader.catalog(reader.newest()).snapshots[-1])


def test_a_backup_stores_again_what_is_only_in_locked_segments(
    lab: Lab, source: Path, rng: random.Random
) -> None:
    """The data is there still, and nobody may rely on it."""
    client = lab.client()
    data = rng.randbytes(3_000_000)
    (source / "file").write_bytes(data)
    back_up(client, source)
    (source / "file").unlink()
    back_up(client, source)
    forget_all_but_newest(client)
    prune(client)
    doomed = client.catalog(client.newest()).condemned
    (source / "file").write_bytes(data)
    result = back_up(client, source)
    assert len(data) <= result.snapshot.stats.added_bytes
    assert not doomed & client.catalog(client.newest()).live
    assert isinstance(lab.transport, LockingTransport)
    lab.transport.inner.delete(map(names.segment_name, doomed))
    assert tree(source) == contents(lab.client("reader"), result.snapshot)
    assert check(client, read_data=True).problems == ()


def test_a_prune_that_was_cut_off_before_it_deleted_is_finished_without_a_commit(
    tmp_path: Path, source: Path, rng: random.Random
) -> None:
    lab = Lab(tmp_path / "free")
    lab.begin()
    client = lab.client()
    for _ in range(3):
        (source / "file").write_bytes(rng.randbytes(100_000))
        back_up(client, source)
    forget_all_but_newest(client)
    plan = plan_prune(client, OPTIONS)
    recording = RecordingTransport(lab.copy(tmp_path / "counted").transport)
    prune(lab.client("counted", recording))
    puts = sum(operation.kind == "put" for operation in recording.log)
    dying = lab.client("dying", CrashingTransport(lab.transport, puts + 2))
    with pytest.raises(Crash):
        prune(dying)
    head = client.newest()
    left = segments(lab).keys() & client.catalog(head).condemned
    assert len(plan.victims) - 1 == len(left)
    assert len(left) == prune(client).deleted_segments
    assert head == client.newest()


def test_what_another_head_overtook_is_planned_again_before_anything_is_deleted(
    lab: Lab, history: Repository, source: Path, clock: Clock
) -> None:
    """The head that condemns might have been one whose number was used and trimmed before."""
    prune(history)
    clock.pass_days(11)
    client = lab.client("pruner", recording := RecordingTransport(lab.transport))
    plan = plan_prune(client, OPTIONS)
    assert not plan.needs_commit
    back_up(history, source)
    recording.clear()
    result = execute_prune(client, plan, OPTIONS)
    kinds = [one.kind for one in recording.log if one.name.startswith(names.SEGMENTS)]
    assert kinds.index("list") < kinds.index("delete")
    assert plan.victims.isdisjoint(segments(lab))
    assert len(plan.victims) <= result.deleted_segments
    assert check(lab.client("reader"), read_data=True).problems == ()


def test_control_the_storage_refuses_to_delete_what_is_locked(lab: Lab, history: Repository) -> None:
    name = names.segment_name(min(history.catalog(history.newest()).live))
    with pytest.raises(ObjectsLocked):
        lab.transport.delete([name])
    assert lab.transport.get(name)


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["back up", "forget", "prune", "strict", "wait"]), st.integers(0, 7)),
    min_size=4,
    max_size=14,
)


def live_history(folder: Path, steps: list[Step]) -> tuple[Lab, dict[str, dict[bytes, Found]]]:
    """Do these steps and check after each that nothing condemned has come back."""
    clock = Clock()
    lab = locked_lab(folder / "lab", clock)
    client = lab.client()
    promised: dict[str, dict[bytes, Found]] = {}
    condemned: frozenset[bytes] = frozenset()
    for number, (what, value) in enumerate(steps):
        if what == "back up":
            root = folder / "source"
            root.mkdir(exist_ok=True)
            (root / f"file{value}").write_bytes(random.Random(value).randbytes(40_000 + number * (value % 2)))
            promised[back_up(client, root).snapshot.id] = tree(root)
        elif what == "forget" and promised:
            identity = list(promised)[value % len(promised)]
            del promised[identity]
            forget(client, [bytes.fromhex(identity)])
        elif what in {"prune", "strict"}:
            prune(client, STRICT if what == "strict" else OPTIONS)
        elif what == "wait":
            clock.pass_days(value)
        catalog = client.catalog(client.newest())
        condemned |= catalog.condemned
        assert not condemned & catalog.live, "a condemned segment was taken for live again"
        assert condemned & segments(lab).keys() <= catalog.condemned, "what is still there was dropped"
    return lab, promised


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_done_on_a_locked_storage_every_snapshot_is_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    lab, promised = live_history(tmp_path_factory.mktemp("locked"), steps)
    reader = lab.client("reader")
    held = {one.id: contents(reader, one) for one in reader.catalog(reader.newest()).snapshots}
    assert promised == held
    assert check(reader, read_data=True).problems == ()


def test_control_a_prune_that_drops_what_is_locked_from_the_catalog_is_caught(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PrunePlan.victims

    def forgetful(plan: PrunePlan) -> frozenset[bytes]:
        return real.__get__(plan) - plan.condemned

    steps = [("back up", 1), ("back up", 3), ("forget", 0), ("prune", 0)] * 2
    live_history(tmp_path_factory.mktemp("right"), steps)
    monkeypatch.setattr(PrunePlan, "victims", property(forgetful))
    with pytest.raises(AssertionError, match="was dropped"):
        live_history(tmp_path_factory.mktemp("wrong"), steps)
