"""The exclude rules of the source `files`, and `explain`, which must always agree with the walk."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bitbacker.errors import ConfigError
from bitbacker.spi import Explains, Located
from bitbacker.testing.source import path_in
from bitbacker_plugins.files import FilesConfig, FilesSource

CACHE_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n"


def source_of(*paths: Path, exclude: Sequence[str] = (), **options: Any) -> FilesSource:
    rules = tuple(Located(rule, "bitbacker.toml", line) for line, rule in enumerate(exclude, 10))
    places = tuple(Located(str(path)) for path in paths)
    return FilesSource(FilesConfig(paths=places, exclude=rules, **options))


def kept(source: FilesSource, root: Path) -> list[str]:
    """What is backed up below `root`, directories with a slash at the end."""
    problems: list[tuple[bytes, str]] = []
    top = os.fsencode(root)[1:] + b"/"
    listed = set()
    found = []
    for listing in source.walk(lambda *problem: problems.append(problem)):
        listed.add(listing.path)
        found += [path_in(listing, index) for index in range(len(listing.names))]
    assert problems == []
    shown = [os.fsdecode(path[len(top) :] + (b"/" if path in listed else b"")) for path in found]
    return sorted(shown[i] for i, path in enumerate(found) if path.startswith(top))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in (
        "Documents/letter.txt",
        "Documents/letter.txt~",
        "Documents/old/draft.tmp",
        "build/out.o",
        "src/build/out.o",
        "src/main.c",
        "src/main.o",
        "top.tmp",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


NOBODY = ("", 0)
EVERYTHING = [
    "Documents/",
    "Documents/letter.txt",
    "Documents/letter.txt~",
    "Documents/old/",
    "Documents/old/draft.tmp",
    "build/",
    "build/out.o",
    "src/",
    "src/build/",
    "src/build/out.o",
    "src/main.c",
    "src/main.o",
    "top.tmp",
]


def test_without_rules_everything_is_kept(root: Path) -> None:
    assert kept(source_of(root), root) == EVERYTHING


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        (["*.tmp"], ["Documents/old/draft.tmp", "top.tmp"]),
        (["*.tmp", "!top.tmp"], ["Documents/old/draft.tmp"]),
        (["!top.tmp", "*.tmp"], ["Documents/old/draft.tmp", "top.tmp"]),
        (["build"], ["build/", "build/out.o", "src/build/", "src/build/out.o"]),
        (["build/"], ["build/", "build/out.o", "src/build/", "src/build/out.o"]),
        (["main.c/"], []),
        (["src/build"], ["src/build/", "src/build/out.o"]),
        (["src/main.?"], ["src/main.c", "src/main.o"]),
        (["main.[!o]"], ["src/main.c"]),
        (["main.[a-c]", "[[:upper:]]*/"], ["src/main.c", *EVERYTHING[:5]]),
        (["**/build/*.o"], ["build/out.o", "src/build/out.o"]),
        (["src/**"], EVERYTHING[8:12]),
        (["src/**/out.o"], ["src/build/out.o"]),
        (["*", "!top.tmp"], EVERYTHING[:-1]),
        (["src/*", "!src/main.c"], ["src/build/", "src/build/out.o", "src/main.o"]),
        # Below an excluded directory nothing can be brought back, as in git.
        (["src/", "!src/main.c"], EVERYTHING[7:12]),
        (["letter.txt*"], ["Documents/letter.txt", "Documents/letter.txt~"]),
        ([r"letter.txt\~"], ["Documents/letter.txt~"]),
        (["main"], []),
        (["BUILD"], []),
    ],
)
def test_rules_exclude(root: Path, rules: list[str], gone: list[str]) -> None:
    assert kept(source_of(root, exclude=rules), root) == [name for name in EVERYTHING if name not in gone]


def test_a_leading_slash_is_the_root_of_the_file_system(root: Path) -> None:
    source = source_of(root, exclude=["/build", f"{root}/src", f"{root.parent}/*/Documents/**"])
    assert kept(source, root) == ["Documents/", "build/", "build/out.o", "top.tmp"]


def test_a_rule_with_a_slash_begins_at_each_path(root: Path) -> None:
    source = source_of(
        root / "src", root / "Documents", exclude=["build/out.o", "old/draft.tmp", "src/main.c"]
    )
    assert [name for name in EVERYTHING if name not in kept(source, root)] == [
        "Documents/old/draft.tmp",
        "build/",
        "build/out.o",
        "src/build/out.o",
        "top.tmp",
    ]


def test_configured_paths_are_never_excluded(root: Path) -> None:
    source = source_of(root, root / "src/build", root / "top.tmp", exclude=["*.tmp", "src", "build", "Doc*"])
    assert kept(source, root) == ["src/", "src/build/", "src/build/out.o", "top.tmp"]


def test_rules_of_files_come_first_and_have_comments(root: Path) -> None:
    rules = root.parent / "rules"
    rules.write_bytes(b"\xef\xbb\xbf*.tmp\r\n\n# a comment\n\\#not one\n*.o  \n!main.o\n")
    (root / "#not one").touch()
    source = source_of(root, exclude=["!top.tmp"], exclude_file=(Located(str(rules)),))
    gone = {*EVERYTHING, "#not one"} - {*kept(source, root)}
    assert gone == {"Documents/old/draft.tmp", "build/out.o", "src/build/out.o", "#not one"}
    explanation = source.explain(str(root / "build/out.o"))
    assert (explanation.rule, explanation.file, explanation.line) == ("*.o  ", str(rules), 5)


def test_a_number_sign_is_no_comment_in_the_configuration(root: Path) -> None:
    (root / "#draft#").touch()
    assert kept(source_of(root, exclude=["#*#"]), root) == EVERYTHING


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("gr?n", "grün"),
        ("?", "雪"),
        ("caf[éè]", "café"),
        ("line*break", "line\nbreak"),
        ("not-?", os.fsdecode(b"not-\xff")),
        ("two words ", "two words"),
        (r"space\ ", "space "),
        ("[]]", "]"),
        ("[!]a]", "b"),
        ("[]-]", "-"),
        ("[a\\]]", "]"),
        ("a[[:digit:][:space:]]", "a\t"),
        (r"\*\?\[", "*?["),
        (r"\!important", "!important"),
        ("-rf", "-rf"),
        ("a**b", "axxb"),
        ("$(id).+|^", "$(id).+|^"),
    ],
)
def test_a_pattern_matches_a_name(tmp_path: Path, pattern: str, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "another name").touch()
    assert kept(source_of(tmp_path, exclude=[pattern]), tmp_path) == ["another name"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("[abc", "a '[' is never closed"),
        ("abc\\", "ends in a lone backslash"),
        ("", "names nothing"),
        ("/", "names nothing"),
        ("!", "names nothing"),
        ("[[:colour:]]", "there is no character class"),
        ("./build", "can never match"),
    ],
)
def test_a_rule_that_can_never_match_is_refused(rule: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        source_of(Path("/"), exclude=["fine", rule])
    assert str(caught.value).startswith("bitbacker.toml:11: the rule ")
    assert words in str(caught.value)


def test_a_rule_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = Located(str(tmp_path / "missing"), "bitbacker.toml", 4)
    with pytest.raises(ConfigError, match=r"bitbacker.toml:4: the rules in .* cannot be read"):
        source_of(tmp_path, exclude_file=(path,))


def test_a_marker_keeps_itself_and_nothing_beside_it(root: Path) -> None:
    (root / "src/.nobackup").touch()
    source = source_of(root, root / "src/build/out.o", exclude_if_present=(Located(".nobackup"),))
    gone = {"src/main.c", "src/main.o"}
    assert kept(source, root) == sorted({*EVERYTHING, "src/.nobackup"} - gone)


def test_a_cache_keeps_its_tag_and_nothing_beside_it(root: Path) -> None:
    (root / "build/CACHEDIR.TAG").write_bytes(CACHE_TAG)
    assert kept(source_of(root), root) == sorted({*EVERYTHING, "build/CACHEDIR.TAG"} - {"build/out.o"})
    everything = kept(source_of(root, exclude_caches=False), root)
    assert everything == sorted({*EVERYTHING, "build/CACHEDIR.TAG"})


@pytest.mark.parametrize("what", ["other content", "directory", "fifo", "symlink"])
def test_what_is_only_called_like_a_cache_tag_excludes_nothing(root: Path, what: str) -> None:
    tag = root / "build/CACHEDIR.TAG"
    if what == "directory":
        tag.mkdir()
    elif what == "fifo":
        os.mkfifo(tag)
    elif what == "symlink":
        (root / "tag").write_bytes(CACHE_TAG)
        tag.symlink_to(root / "tag")
    else:
        tag.write_bytes(b"Signature: of another kind")
    assert "build/out.o" in kept(source_of(root), root)


def test_files_above_a_size_are_left_out(root: Path) -> None:
    (root / "large").write_bytes(bytes(1001))
    (root / "at the limit").write_bytes(bytes(1000))
    found = kept(source_of(root, larger_than_bytes=1000), root)
    assert found == sorted([*EVERYTHING, "at the limit"])


def test_rules_that_match_nothing_change_no_byte_of_a_listing(root: Path) -> None:
    plain = list(source_of(root).walk(lambda *_: None))
    rules = ["*.nothing", "/nowhere/**", "a/b/c", "**/x/y", "!*.c"]
    assert list(source_of(root, exclude=rules).walk(lambda *_: None)) == plain


@pytest.mark.parametrize(
    ("path", "included", "reason", "decider"),
    [
        ("src/main.o", False, "excluded by the rule for {root}/src/main.o", ("*.o", 10)),
        ("build/out.o", True, "re-included by the rule for {root}/build/out.o", ("!out.o", 11)),
        ("Documents/old/draft.tmp", False, "excluded by the rule for {root}/Documents/old", ("old/", 12)),
        ("src/main.c", True, "no rule matches: included", NOBODY),
        ("caches", True, "no rule matches: included", NOBODY),
        ("caches/page", False, "CACHEDIR.TAG in {root}/caches", NOBODY),
        ("caches/CACHEDIR.TAG", True, "no rule matches: included", NOBODY),
        ("quiet/file", False, "exclude_if_present .nobackup in {root}/quiet", NOBODY),
        ("large", False, "larger than 100000 bytes", NOBODY),
        (".", True, "a path of this source", NOBODY),
        ("..", True, "on the way to a path of this source", NOBODY),
        ("../elsewhere", False, "not below any path of this source", NOBODY),
        ("not there/file.o", False, "excluded by the rule for {root}/not there/file.o", ("*.o", 10)),
        ("not there/old/", False, "excluded by the rule for {root}/not there/old", ("old/", 12)),
    ],
)
def test_explain_names_what_decided(
    root: Path, path: str, included: bool, reason: str, decider: tuple[str, int]
) -> None:
    for name in ("caches", "quiet"):
        (root / name).mkdir()
    (root / "caches/CACHEDIR.TAG").write_bytes(CACHE_TAG)
    (root / "quiet/.nobackup").touch()
    (root / "large").write_bytes(bytes(100_001))
    source = source_of(
        root,
        exclude=["*.o", "!out.o", "old/"],
        exclude_if_present=(Located(".nobackup"),),
        larger_than_bytes=100_000,
    )
    assert isinstance(source, Explains)
    explanation = source.explain(f"{root}/{path}")
    assert explanation.reason == reason.format(root=root)
    assert (explanation.included, explanation.rule, explanation.line) == (included, *decider)
    assert explanation.file == ("bitbacker.toml" if decider != NOBODY else "")


@pytest.fixture
def crowd(tmp_path: Path, rng: random.Random) -> Iterator[Path]:
    """A tree of few names in many combinations, so that random rules hit it often."""
    root = tmp_path / "crowd"
    directories = [root]
    root.mkdir()
    for _ in range(60):
        path = rng.choice(directories) / rng.choice(NAMES)
        if path.exists():
            continue
        if rng.random() < 0.5:
            path.mkdir()
            directories.append(path)
        else:
            path.touch()
    yield root
    shutil.rmtree(root)


NAMES = ["a", "b", "ab", "a.o", "b.o", ".a", "a b", "[a]", "ä"]
SEGMENTS = [*NAMES, "*", "?", "a*", "*.o", "[ab]", "[!a]", "**", "[[]a]", ".*", "*b*"]


def random_rule(rng: random.Random) -> str:
    segments = rng.choices(SEGMENTS, k=rng.choice([1, 1, 1, 2, 2, 3]))
    return (
        rng.choice(["", "", "!"]) + rng.choice(["", "", "/"]) + "/".join(segments) + rng.choice(["", "", "/"])
    )


@pytest.mark.parametrize("turn", range(20))
def test_the_walk_agrees_with_explain(crowd: Path, rng: random.Random, turn: int) -> None:
    rules = [random_rule(rng).replace("!/", f"!{crowd}/") for _ in range(5)]
    rules = [str(crowd) + rule if rule.startswith("/") else rule for rule in rules]
    print("turn", turn, "rules", rules)
    source = source_of(crowd, exclude=rules)
    everything = [name.rstrip("/") for name in kept(source_of(crowd), crowd)]
    expected = [name for name in everything if source.explain(f"{crowd}/{name}").included]
    assert [name.rstrip("/") for name in kept(source, crowd)] == expected


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: nothing to compare with")
@pytest.mark.parametrize("turn", range(20))
def test_rules_mean_what_they_mean_to_git(crowd: Path, rng: random.Random, turn: int) -> None:
    rules = [random_rule(rng) for _ in range(5)]
    print("turn", turn, "rules", rules)
    everything = [name.rstrip("/") for name in kept(source_of(crowd), crowd)]
    # There "?" and "[!a]" stand for a byte, here for a character.
    everything = [name for name in everything if name.isascii()]
    ignored = ignored_by_git(crowd, rules, everything)
    # What git anchors at its top, a source anchors at the root of the file system.
    here = [rule.replace("!/", f"!{crowd}/") for rule in rules]
    here = [str(crowd) + rule if rule.startswith("/") else rule for rule in here]
    found = [name.rstrip("/") for name in kept(source_of(crowd, exclude=here), crowd)]
    assert [name for name in found if name.isascii()] == [name for name in everything if name not in ignored]


def ignored_by_git(root: Path, rules: Sequence[str], names: Sequence[str]) -> set[str]:
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/exclude").write_text("\n".join(rules) + "\n")
    asked = "\0".join(names)
    answer = subprocess.run(
        ["git", "-C", str(root), "check-ignore", "-z", "--stdin", "--no-index"],
        input=asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr == ""
    shutil.rmtree(root / ".git")
    return {name for name in answer.stdout.split("\0") if name}
