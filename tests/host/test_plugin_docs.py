"""The plugins that docs/plugins.md shows are plugins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bitbacker.config import make_config, read_config
from bitbacker.host import Host, Kind
from bitbacker.host.check import CONTRACTS
from bitbacker.spi import BackupFinished, RetentionPolicy, SnapshotInfo
from bitbacker.testing.retention import RetentionContract

TEXT = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
TABLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
SUNDAY_NS = 1_800_187_200_000_000_000


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """The single-file plugin beside the configuration that uses it."""
    (tmp_path / "weekday.py").write_text(PROGRAMS[0])
    path = tmp_path / "bitbacker.toml"
    path.write_text(TABLES[0] + '\n[sources.home]\npaths = ["."]\n')
    return path


@pytest.fixture
def policy(config_file: Path) -> RetentionPolicy:
    config = read_config(str(config_file))
    retention = config.sources[0].retention
    assert retention is not None
    offered = Host(config.plugins).retention(retention.plugin.name)
    return offered(make_config(offered.Config, retention.plugin.options))


class TestTheExample(RetentionContract):
    @pytest.fixture
    def policy(self, policy: RetentionPolicy) -> RetentionPolicy:
        return policy


def test_it_takes_its_key_from_the_configuration(policy: RetentionPolicy) -> None:
    history = [SnapshotInfo(str(day), SUNDAY_NS - day * 86400 * 10**9, "host", "home") for day in range(8)]
    assert [one.snapshot.id for one in policy.judge(history, SUNDAY_NS) if one.keep] == ["0", "7"]


def test_the_observer_observes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "observer.py"
    path.write_text(PROGRAMS[-1])
    troubles: list[Exception] = []
    fanout = Host([str(path)]).fanout({}, troubles.append)
    fanout.send(BackupFinished(0, "home", "0a1b", 0, 0, 0, 0, 0, 0, 0.0))
    assert (capsys.readouterr().out, troubles) == ("home is safe\n", [])


def test_every_kind_is_in_the_table() -> None:
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| `bitbacker\.spi\.(\w+)` \| `([\w.]+)` \|", TEXT, re.MULTILINE)
    expected = [(kind.value, CONTRACTS[kind].__name__, kind.group) for kind in Kind]
    assert sorted(rows) == sorted(expected)
