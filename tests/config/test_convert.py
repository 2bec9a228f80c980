"""A dataclass is the schema of a table: names, types and units."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from bitbacker.config import SecretSource, Table, make_config
from bitbacker.config.table import parse_toml
from bitbacker.errors import ConfigError, PluginError, SecretError
from bitbacker.spi import Located, NoConfig, Secret, path, secret

A_SIZE = "a number of bytes or a size such as '512 KiB' or '10 GB'"
A_DURATION = "a number of seconds or a duration such as '90s', '12h' or '7d'"
A_MODE = "one of 'fast', 'small'; did you mean 'small'?"


@dataclass(frozen=True, slots=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Schema:
    """One field of each type that a plugin may ask for."""

    flag: bool = False
    number: int = 0
    ratio: float = 0.0
    text: str = ""
    place: Located = Located("")  # noqa: RUF009  # a string is immutable
    maybe: int | None = None
    maybe_text: str | None = None
    words: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    places: tuple[Located, ...] = ()
    nested: tuple[tuple[int, ...], ...] = ()
    buffer_bytes: int = 0
    timeout_s: float = 1.0
    pause_s: int | None = None
    file: str = path(default="")
    files: tuple[str, ...] = path(default=())
    mode: Literal["fast", "small"] = "fast"
    token: Secret | None = secret()  # noqa: RUF009  # it makes a field
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True, slots=True)
class Needy:
    name: str
    number: int = 3

    def __post_init__(self) -> None:
        if self.number > 9:
            raise ConfigError(f"'number' is {self.number}, more than 9")


def made(text: str, schema: type[Any] = Schema) -> Any:
    return make_config(schema, table(text))


def table(text: str) -> Table:
    return parse_toml(f"[sources.home]\n{text}", "some/b.toml").table("sources").table("home")


def complaint(text: str, schema: type[Any] = Schema) -> str:
    with pytest.raises(ConfigError) as caught:
        made(text, schema)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flag = true", Schema(flag=True)),
        ("number = -3", Schema(number=-3)),
        ("ratio = 0.5", Schema(ratio=0.5)),
        ("ratio = 2", Schema(ratio=2.0)),
        ("text = 'a'", Schema(text="a")),
        ("maybe = 3", Schema(maybe=3)),
        ("maybe_text = 'never'", Schema(maybe_text="never")),
        ("words = ['a', 'b']", Schema(words=("a", "b"))),
        ("numbers = []", Schema(numbers=())),
        ("nested = [[1], [2, 3]]", Schema(nested=((1,), (2, 3)))),
        ("buffer_bytes = 7", Schema(buffer_bytes=7)),
        ("buffer_bytes = '4 KiB'", Schema(buffer_bytes=4096)),
        ("timeout_s = 0.5", Schema(timeout_s=0.5)),
        ("timeout_s = '2m'", Schema(timeout_s=120.0)),
        ("pause_s = '2m'", Schema(pause_s=120)),
        ("pause_s = 'never'", Schema(pause_s=None)),
        ("mode = 'small'", Schema(mode="small")),
        ("inner = { depth = 3 }", Schema(inner=Inner(3))),
        ("", Schema()),
    ],
)
def test_values_have_the_type_of_their_field(text: str, expected: Schema) -> None:
    assert made(text) == expected


def test_a_whole_number_for_a_float_becomes_a_float() -> None:
    assert isinstance(made("ratio = 2").ratio, float)


def test_located_strings_keep_their_place() -> None:
    config = made("place = 'x'\nplaces = [\n'y',\n'z']")
    assert [(text.file, text.line) for text in (config.place, *config.places)] == [
        ("some/b.toml", 2),
        ("some/b.toml", 4),
        ("some/b.toml", 5),
    ]


def test_paths_are_absolute_and_keep_their_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    config = made("file = 'a/../b'\nfiles = ['/c', '~/d', '.']")
    assert config.file == str(tmp_path / "some" / "b")
    assert config.files == ("/c", "/home/me/d", str(tmp_path / "some"))
    assert [each.line for each in config.files] == [3, 3, 3]


def test_an_empty_path_is_none_at_all() -> None:
    assert made("file = ''").file == ""
    assert complaint("files = ['/a',\n'']") == "some/b.toml:3: 'files' in [sources.home] holds an empty path"


def test_only_a_field_that_holds_a_path_is_changed() -> None:
    assert made("text = '~/x'").text == "~/x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flag = 1", "some/b.toml:2: 'flag' in [sources.home] must be true or false"),
        ("number = true", "some/b.toml:2: 'number' in [sources.home] must be an integer"),
        ("number = 1.0", "some/b.toml:2: 'number' in [sources.home] must be an integer"),
        ("number = '3'", "some/b.toml:2: 'number' in [sources.home] must be an integer"),
        ("ratio = '3'", "some/b.toml:2: 'ratio' in [sources.home] must be a number"),
        ("ratio = true", "some/b.toml:2: 'ratio' in [sources.home] must be a number"),
        ("text = 3", "some/b.toml:2: 'text' in [sources.home] must be a string"),
        ("words = 'a'", "some/b.toml:2: 'words' in [sources.home] must be an array"),
        ("words = ['a',\n\n 1]", "some/b.toml:4: 'words' in [sources.home] must be a string"),
        ("nested = [[1],\n[2,\n'3']]", "some/b.toml:4: 'nested' in [sources.home] must be an integer"),
        ("buffer_bytes = '4 K'", f"some/b.toml:2: 'buffer_bytes' in [sources.home] must be {A_SIZE}"),
        ("timeout_s = 'never'", f"some/b.toml:2: 'timeout_s' in [sources.home] must be {A_DURATION}"),
        ("mode = 'smal'", f"some/b.toml:2: 'mode' in [sources.home] must be {A_MODE}"),
        ("inner = 3", "some/b.toml:2: 'inner' in [sources.home] must be a table"),
        ("inner = { dept = 3 }",
            "some/b.toml:2: unknown key 'dept' in [sources.home.inner]; did you mean 'depth'?"),
        ("\nwrods = []", "some/b.toml:3: unknown key 'wrods' in [sources.home]; did you mean 'words'?"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_an_error_with_its_place(text: str, expected: str) -> None:
    assert complaint(text) == expected


def test_a_missing_key_is_an_error_with_the_place_of_the_table() -> None:
    assert complaint("number = 3", Needy) == "some/b.toml:1: [sources.home] lacks 'name'"


def test_what_the_schema_itself_refuses_has_the_place_of_the_key() -> None:
    text = "name = 'a'\nnumber = 10"
    assert complaint(text, Needy) == "some/b.toml:3: [sources.home]: 'number' is 10, more than 9"


def test_a_schema_without_fields_takes_nothing() -> None:
    assert made("", NoConfig) == NoConfig()
    assert complaint("a = 1", NoConfig) == "some/b.toml:2: unknown key 'a' in [sources.home]"


def test_keys_of_the_framework_are_guessed_too() -> None:
    rest = table("tgas = ['a']").without(["tags", "host"])
    with pytest.raises(ConfigError, match=r"unknown key 'tgas' in .*; did you mean 'tags'"):
        make_config(Schema, rest)


def test_a_schema_may_not_claim_a_key_of_the_framework() -> None:
    with pytest.raises(PluginError, match=r"Schema may not have a field 'text': .* uses it itself"):
        make_config(Schema, table("").without(["text"]))


def test_a_plain_mapping_is_named_by_the_caller() -> None:
    assert make_config(Schema, {"number": 3, "words": ["a"]}, "the repository") == Schema(
        number=3, words=("a",)
    )
    with pytest.raises(ConfigError) as caught:
        make_config(Schema, {"nubmer": 3}, "the repository")
    assert str(caught.value) == "unknown key 'nubmer' in the repository; did you mean 'number'?"


def test_a_secret_is_resolved_by_whoever_the_caller_says() -> None:
    asked: list[SecretSource] = []

    def answer(source: SecretSource) -> Secret:
        asked.append(source)
        return Secret("hunter2")

    config = make_config(Schema, table("token = { env = 'TOKEN' }"), secrets=answer)
    assert config.token is not None
    assert config.token.reveal() == "hunter2"
    assert [(source.way, source.arguments, source.place) for source in asked] == [
        ("env", ("TOKEN",), "some/b.toml:2")
    ]


def test_a_secret_in_plain_text_is_refused() -> None:
    with pytest.raises(SecretError, match="does not belong in the file"):
        made("token = 'hunter2'")


@pytest.mark.parametrize("annotation", ["list[str]", "int | str", "Path", "tuple[int, int]", "Nowhere"])
def test_an_annotation_that_no_configuration_can_give_is_the_fault_of_the_plugin(annotation: str) -> None:
    schema = dataclass(frozen=True)(
        type("Odd", (), {"__annotations__": {"value": annotation}, "value": None})
    )
    with pytest.raises(PluginError, match=r"which no configuration can give|cannot be understood"):
        make_config(schema, {"value": [1]})
