"""Plugins are found by name, only the named one is imported, and what is wrong is said in full."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pluggy
import pytest

from bitbacker.config import make_config
from bitbacker.errors import PluginError, PluginMissing
from bitbacker.host import Host, Kind, catalog
from host_distributions import CIPHER, install

GOOD = CIPHER.format(name="Good", word="good")
BROKEN = "raise RuntimeError('boom')\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of installed distributions, the only ones besides what really is installed."""
    before = set(sys.modules)
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    yield path
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(path)):
            del sys.modules[name]


def install_cipher(site: Path, module: str, *, word: str = "good", text: str = GOOD) -> None:
    """A distribution `bitbacker-xyz 1.2` that offers one cipher."""
    install(site, "bitbacker-xyz", "1.2", f"[bitbacker.ciphers]\n{word} = {module}\n", {module: text})


def refusal(call: str, host: Host | None = None, kind: Kind = Kind.CIPHER) -> PluginError:
    with pytest.raises(PluginError) as caught:
        (host or Host()).origin(kind, call)
    return caught.value


class TestByName:
    def test_a_named_plugin_is_loaded(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        assert Host().cipher("good").__name__ == "Good"

    def test_its_origin_is_known(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        plugin = Host().origin(Kind.CIPHER, "good")
        assert (plugin.distribution, plugin.version, plugin.origin) == ("bitbacker-xyz", "1.2", "xyz_good")
        assert plugin.requirement == "bitbacker-xyz>=1.2"

    def test_it_is_loaded_once(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        host = Host()
        assert host.cipher("good") is host.cipher("good")

    def test_one_module_may_answer_to_several_names(self, site: Path) -> None:
        text = GOOD.replace('if name == "good" else None', 'if name in ("good", "better") else None')
        install(
            site,
            "bitbacker-xyz",
            "1.2",
            "[bitbacker.ciphers]\ngood = xyz_two\nbetter = xyz_two\n",
            {"xyz_two": text},
        )
        host = Host()
        assert host.cipher("good") is host.cipher("better")

    def test_an_unnamed_plugin_is_never_touched(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        install(site, "bitbacker-bad", "3", "[bitbacker.ciphers]\nbad = bad_module\n", {"bad_module": BROKEN})
        Host().cipher("good")
        assert "bad_module" not in sys.modules

    def test_the_one_that_is_broken_fails_when_it_is_named(self, site: Path) -> None:
        """The control of the test above."""
        install(site, "bitbacker-bad", "3", "[bitbacker.ciphers]\nbad = bad_module\n", {"bad_module": BROKEN})
        expected = "cipher plugin 'bad' (bad_module of bitbacker-bad 3) cannot be loaded: RuntimeError: boom"
        assert str(refusal("bad")) == expected


class TestListing:
    def test_a_listing_names_everything_and_imports_nothing(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        install(site, "bitbacker-bad", "3", "[bitbacker.sources]\nbad = bad_module\n", {"bad_module": BROKEN})
        rows = {(row.kind, row.name, row.distribution, row.version, row.origin) for row in catalog()}
        assert rows >= {
            (Kind.CIPHER, "good", "bitbacker-xyz", "1.2", "xyz_good"),
            (Kind.SOURCE, "bad", "bitbacker-bad", "3", "bad_module"),
        }
        assert [name for name in ("xyz_good", "bad_module") if name in sys.modules] == []

    def test_a_listing_imports_no_plugin_of_ours(self) -> None:
        program = "import sys; from bitbacker.host import catalog; catalog(); print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], env=python_path(), capture_output=True, text=True, check=True
        )
        assert [name for name in done.stdout.split() if name.startswith("bitbacker_plugins")] == []

    def test_a_single_file_is_listed_by_its_hooks(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.py"
        path.write_text(f"{GOOD}\n{BROKEN}")
        (row,) = (row for row in catalog([str(path)]) if row.origin == str(path))
        assert (row.kind, row.name, row.distribution, str(row)) == (
            Kind.CIPHER,
            "mine.py",
            "",
            f"the file {path}",
        )

    def test_a_file_that_cannot_be_read_does_not_stop_a_listing(self, tmp_path: Path) -> None:
        (tmp_path / "odd.py").write_text("def (")
        files = [str(tmp_path / "odd.py"), str(tmp_path / "absent.py")]
        assert catalog(files) == catalog()

    def test_every_kind_has_its_own_group_and_hook(self) -> None:
        assert [(kind.group, kind.hook) for kind in Kind] == [
            ("bitbacker.chunkers", "bitbacker_chunker"),
            ("bitbacker.ciphers", "bitbacker_cipher"),
            ("bitbacker.transports", "bitbacker_transport"),
            ("bitbacker.retention", "bitbacker_retention"),
            ("bitbacker.sources", "bitbacker_source"),
            ("bitbacker.notifiers", "bitbacker_notifier"),
        ]


class TestMissing:
    def test_a_name_that_nobody_has_is_guessed(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        error = refusal("goood")
        assert isinstance(error, PluginMissing)
        assert str(error) == "no cipher plugin is called 'goood'; did you mean 'good'?"
        assert "good" in error.hint

    def test_what_the_repository_recorded_is_what_to_install(self) -> None:
        with pytest.raises(PluginMissing) as caught:
            Host().cipher("xyz", "bitbacker-xyz>=1.2")
        assert caught.value.hint == "install bitbacker-xyz>=1.2"

    def test_a_bare_clone_says_that_it_is_not_installed(self, tmp_path: Path) -> None:
        """Only our package and what it imports are on the path, without any metadata."""
        root = Path(__file__).parents[2]
        (tmp_path / "bitbacker").symlink_to(root / "bitbacker")
        program = (
            "import sys; sys.path[:] = [sys.argv[1], *[p for p in sys.path if 'packages' not in p]]\n"
            "sys.path.append(sys.argv[2]); import pluggy; sys.path.pop()\n"
            "from bitbacker.errors import PluginMissing\n"
            "from bitbacker.host import Host\n"
            "try: Host().transport('file')\n"
            "except PluginMissing as error: print(error, '|', error.hint)\n"
        )
        packages = str(Path(pluggy.__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-I", "-c", program, str(tmp_path), packages],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == (
            "no transport plugin is called 'file' | "
            "BitBacker itself is not installed; in its checkout run: pip install -e .\n"
        )

    def test_a_missing_library_is_an_extra_that_is_called_like_the_plugin(self, site: Path) -> None:
        entry_points = "[bitbacker.ciphers]\nrare = needs_rare\n"
        install(
            site,
            "bitbacker-xyz",
            "1.2",
            entry_points,
            {"needs_rare": "import no_such_library"},
            extras=("rare", "test"),
        )
        error = refusal("rare")
        assert str(error).endswith("cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'")
        assert error.hint == "pip install 'bitbacker-xyz[rare]'"


class TestTwoOfOneName:
    def test_two_distributions_are_both_named(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        install(site, "bitbacker-abc", "7", "[bitbacker.ciphers]\ngood = abc_good\n", {"abc_good": GOOD})
        error = refusal("good")
        assert str(error).startswith("2 cipher plugins are called 'good': ")
        assert "xyz_good of bitbacker-xyz 1.2" in str(error)
        assert "abc_good of bitbacker-abc 7" in str(error)
        assert [name for name in ("xyz_good", "abc_good") if name in sys.modules] == []

    def test_two_kinds_may_share_a_name(self, site: Path) -> None:
        install_cipher(site, "xyz_good")
        install(site, "bitbacker-abc", "7", "[bitbacker.sources]\ngood = abc_good\n", {"abc_good": GOOD})
        assert Host().cipher("good").__name__ == "Good"

    def test_one_distribution_that_is_found_twice_is_one(
        self, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An editable install beside a checkout on the path looks like this."""
        install_cipher(site, "xyz_good")
        install_cipher(tmp_path / "again", "xyz_good")
        monkeypatch.syspath_prepend(str(tmp_path / "again"))
        assert Host().cipher("good").__name__ == "Good"

    def test_a_file_and_a_distribution_are_both_named(self, site: Path, tmp_path: Path) -> None:
        install_cipher(site, "xyz_good")
        path = tmp_path / "mine.py"
        path.write_text(GOOD)
        error = refusal("good", Host([str(path)]))
        assert str(error) == (
            f"2 cipher plugins are called 'good': the file {path} and xyz_good of bitbacker-xyz 1.2"
        )

    def test_two_files_are_both_named(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a.py", tmp_path / "b.py"]
        for path in paths:
            path.write_text(GOOD)
        error = refusal("good", Host([str(path) for path in paths]))
        assert (
            str(error) == f"2 cipher plugins are called 'good': the file {paths[0]} and the file {paths[1]}"
        )


WRONG = {
    "is for another api": (
        GOOD.replace("api_version = 1", "api_version = 2"),
        "has api_version 2, this BitBacker needs 1",
    ),
    "says no api": (GOOD.replace("api_version = 1", ""), "has api_version None, this BitBacker needs 1"),
    "has no Config": (GOOD.replace("    Config = Config\n", ""), "has no Config, a frozen dataclass"),
    "has a Config that is no dataclass": (
        GOOD.replace("Config = Config", "Config = dict"),
        "has no Config, a frozen dataclass",
    ),
    "has a Config that can change": (GOOD.replace("frozen=True", "frozen=False"), "Config is not frozen"),
    "lacks a method": (GOOD.replace("def open_into", "def open_onto"), "Good lacks open_into"),
    "lacks a constant": (GOOD.replace("    tag_size_bytes = 16\n", ""), "Good lacks tag_size_bytes"),
    "returns an instance": (
        GOOD.replace("return Good if", "return Good(None) if"),
        "its hook bitbacker_cipher returned Good, not a class",
    ),
    "returns nothing": (GOOD.replace("return Good if", "return None if"), "is absent or returned nothing"),
    "has no hook": (GOOD.replace("@hookimpl", ""), "its hook bitbacker_cipher is absent or returned nothing"),
    "has a misspelt hook": (
        GOOD.replace("bitbacker_cipher", "bitbacker_cypher"),
        "unknown hook 'bitbacker_cypher'",
    ),
    "has a hook with another argument": (
        GOOD.replace("bitbacker_cipher(name)", "bitbacker_cipher(nom)"),
        "Argument(s) {'nom'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "fails in its hook": (
        GOOD.replace("return Good if", "return Goof if"),
        "its hook bitbacker_cipher failed: NameError: name 'Goof' is not defined",
    ),
    "ends the process": ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
    "is empty": ("", "is absent or returned nothing"),
    "is no Python": ("def (", "cannot be loaded: SyntaxError"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_plugin_that_cannot_be_used_says_where_it_is_from_and_why(site: Path, wrong: str) -> None:
    text, expected = WRONG[wrong]
    assert text != GOOD
    install_cipher(site, "xyz_wrong", text=text)
    message = str(refusal("good"))
    assert "cipher plugin 'good' (xyz_wrong of bitbacker-xyz 1.2)" in message
    assert expected in message
    assert "\n" not in message


def test_a_plugin_that_failed_fails_again_and_spoils_no_other(site: Path) -> None:
    install_cipher(site, "xyz_wrong", word="wrong", text=WRONG["has a misspelt hook"][0])
    install(site, "bitbacker-abc", "7", "[bitbacker.ciphers]\ngood = abc_good\n", {"abc_good": GOOD})
    host = Host()
    assert "unknown hook" in str(refusal("wrong", host))
    assert host.cipher("good").__name__ == "Good"
    assert "unknown hook" in str(refusal("wrong", host))


class TestSingleFile:
    def test_a_file_answers_to_its_names(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(GOOD)
        host = Host([str(tmp_path / "mine.py")])
        assert host.cipher("good").__name__ == "Good"
        assert host.origin(Kind.CIPHER, "good").requirement == ""

    def test_its_annotations_can_be_understood(self, tmp_path: Path) -> None:
        """The file says `from __future__ import annotations`, so they are strings."""
        (tmp_path / "mine.py").write_text(GOOD)
        schema = Host([str(tmp_path / "mine.py")]).cipher("good").Config
        assert make_config(schema, {"rounds": 7}, "here").rounds == 7

    def test_two_files_of_one_name_in_two_directories_are_two(self, tmp_path: Path) -> None:
        for word in ("one", "two"):
            (tmp_path / word).mkdir()
            (tmp_path / word / "mine.py").write_text(CIPHER.format(name=word.title(), word=word))
        host = Host([str(tmp_path / word / "mine.py") for word in ("one", "two")])
        assert [host.cipher(word).__name__ for word in ("one", "two")] == ["One", "Two"]

    def test_installed_plugins_are_found_beside_it(self, site: Path, tmp_path: Path) -> None:
        install_cipher(site, "xyz_good")
        (tmp_path / "mine.py").write_text(CIPHER.format(name="Mine", word="mine"))
        assert Host([str(tmp_path / "mine.py")]).cipher("good").__name__ == "Good"

    def test_it_is_not_imported_for_a_listing(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(GOOD + BROKEN)
        assert Host([str(tmp_path / "mine.py")]).catalog() == catalog([str(tmp_path / "mine.py")])

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (BROKEN, "the plugin file {} cannot be loaded: RuntimeError: boom"),
            (WRONG["has a misspelt hook"][0], "the plugin file {} is wrong: unknown hook 'bitbacker_cypher'"),
            (
                WRONG["lacks a method"][0],
                "cipher plugin 'good' (the file {}) cannot be used: Good lacks open_into",
            ),
        ],
    )
    def test_what_is_wrong_with_it_is_said_with_its_path(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        path = tmp_path / "mine.py"
        path.write_text(text)
        assert str(refusal("good", Host([str(path)]))).startswith(expected.format(path))

    def test_a_file_that_does_not_exist_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "absent.py"
        assert str(refusal("good", Host([str(path)]))) == f"the plugin file {path} does not exist"

    def test_a_file_that_is_no_python_file_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.txt"
        path.write_text(GOOD)
        assert str(refusal("good", Host([str(path)]))) == f"the plugin file {path} is not a Python file"


def test_every_plugin_that_we_ship_loads() -> None:
    """The names are those of our own entry points; each passes the checks."""
    try:
        version("bitbacker")
    except PackageNotFoundError:
        pytest.skip("BitBacker is not installed here, so it has no entry points")
    host = Host()
    ours = [row for row in catalog() if row.distribution == "bitbacker"]
    assert len(ours) >= 10
    assert [host.origin(row.kind, row.name) for row in ours] == ours


def python_path() -> dict[str, str]:
    """An environment in which a new interpreter finds what this one finds."""
    return {"PYTHONPATH": ":".join(path for path in sys.path if path)}
