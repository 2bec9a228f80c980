"""Experiments 31, 32 and 38: an older state, a hidden head, and two histories for two clients.

The controls are machines that remember nothing and have no witness: they cannot know, and believe what
they are shown.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bitbacker.errors import ForkDetected, RollbackDetected
from bitbacker.format import names
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from cli.command import Home
from hostile import (
    expect_done,
    forget_state,
    kept,
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


def save(home: Home, text: str) -> None:
    (home.data / "changing").write_text(text)
    expect_done(home.inside("backup", "-q", "--host", "box", "data"))


@pytest.mark.experiment(31)
def test_the_whole_repository_rolled_back(home: Home, laboratory: Laboratory) -> None:
    older = kept(home, "older")
    save(home, "three")
    expect_done(look(home))
    show(home, older)
    for command in (["snapshots"], ["check"], ["backup", "data"], ["restore", "latest", "--target", "out"]):
        assert refusal(home.inside(*command, "--json")) == "rollback"
    forget_state(home)
    expect_done(look(home))
    told(laboratory, "the whole repository rolled back", "rollback", "a machine without state believes it")


@pytest.mark.experiment(31)
def test_a_witness_tells_a_new_machine_of_the_rollback(home: Home, laboratory: Laboratory) -> None:
    older = kept(home, "older")
    save(home, "three")
    witness = expect_done(home.inside("witness")).out.strip()
    forget_state(home)
    expect_done(home.inside("witness", witness))
    show(home, older)
    forget_state(home)
    assert refusal(home.inside("witness", witness, "--json")) == "rollback"
    forget_state(home)
    expect_done(home.inside("witness"))
    told(laboratory, "rolled back, a new machine with a witness", "rollback", "without a witness it believes")


@pytest.mark.experiment(32)
def test_the_newest_head_hidden(home: Home, laboratory: Laboratory) -> None:
    expect_done(look(home))
    newest_head(home).unlink()
    assert refusal(look(home)) == "rollback"
    forget_state(home)
    expect_done(look(home))
    told(laboratory, "the newest head hidden", "rollback", "a machine without state believes it")


@pytest.mark.experiment(32)
def test_the_newest_head_hidden_within_a_session(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.begin()
    (tmp_path / "source").mkdir()
    client = lab.client()
    back_up(client, tmp_path / "source")
    lab.transport.delete([names.head_name(2)])
    with pytest.raises(RollbackDetected):
        client.newest()
    assert lab.client("somebody else").newest().number == 1


@pytest.mark.experiment(32)
def test_all_heads_hidden(home: Home) -> None:
    for head in objects(home, "heads"):
        head.unlink()
    assert refusal(look(home)) == "damage"


@pytest.mark.experiment(32)
def test_a_repository_that_is_hidden_is_not_made_again(home: Home, tmp_path: Path) -> None:
    """`create = true` is for new places; where a repository was used, the storage hides it or lost it."""
    (home.top / "bitbacker.toml").write_text(
        f'[remotes.here]\nurl = "file://{home.repository}"\npassword = {{ env = "BITBACKER_PASSWORD" }}\n'
        f'create = true\n[sources.data]\npaths = ["{home.data}"]\n'
    )
    expect_done(look(home))
    home.repository.rename(tmp_path / "hidden")
    assert home.inside("run").code == 10
    assert not (home.repository / "keyslots").exists()
    forget_state(home)
    expect_done(home.inside("run"))


@pytest.mark.experiment(38)
def test_two_clients_shown_two_histories(prepared: Home, tmp_path: Path, laboratory: Laboratory) -> None:
    """One client is shown the other's history: at the same number, at the next, and later."""
    one, two = prepared.copy(tmp_path / "one"), prepared.copy(tmp_path / "two")
    save(one, "history one")
    witness = expect_done(one.inside("witness")).out.strip()
    for number in range(3):
        save(two, f"history two, {number}")
        show(one, two.repository)
        assert refusal(look(one)) == "fork"
    newcomer = prepared.copy(tmp_path / "new")
    show(newcomer, two.repository)
    assert refusal(newcomer.inside("witness", witness, "--json")) == "fork"
    forget_state(one)
    expect_done(look(one))
    told(laboratory, "two clients shown two histories", "fork", "a machine without state believes it")


@pytest.mark.experiment(38)
@pytest.mark.parametrize("commits", [1, 2, 16, 17, 18, 40])
def test_a_fork_is_found_however_old_it_is(tmp_path: Path, laboratory: Laboratory, commits: int) -> None:
    """Near ones through the head itself, far ones through the catalog, which outlives old heads."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("before the fork")
    lab = Lab(tmp_path / "lab")
    lab.begin()
    back_up(lab.client("one"), source)
    other = lab.copy(tmp_path / "other")
    assert lab.client("two").newest().number == 2
    back_up(lab.client("one"), source)
    two = other.client("somebody")
    for number in range(commits):
        (source / "file").write_text(f"after the fork {number}")
        back_up(two, source)
    if commits > 20:
        options = PruneOptions()
        execute_prune(two, plan_prune(two, options), options)
        assert len(two.heads.numbers()) <= 17
    lab.use(other.transport)
    with pytest.raises(ForkDetected):
        lab.client("one").newest()
    # Whoever was not forked goes on, and a machine that has seen nothing cannot know.
    newest = two.newest().number
    assert [lab.client("two").newest().number, lab.client("new").newest().number] == [newest, newest]
    told(laboratory, f"a fork {commits} commits ago", "fork", "a machine without state believes it")
