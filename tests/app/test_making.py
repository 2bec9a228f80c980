"""Plugins that are part of a repository: what is written down of them, and how they come back."""

from __future__ import annotations

import json

import pytest

from bitbacker.app.making import HostMaker, choice_of
from bitbacker.config import PluginSpec, Table
from bitbacker.errors import ConfigError, FormatError, PluginMissing
from bitbacker.format.keyslots import PluginChoice
from bitbacker.host import Host, Kind

KEY = bytes(32)


def spec(name: str, **options: object) -> PluginSpec:
    return PluginSpec(name, Table("[repository.chunker]", options))


def test_every_parameter_is_written_down_because_a_default_may_change() -> None:
    choice = choice_of(Host(), Kind.CHUNKER, spec("gear", max_size_bytes="4 MiB"))
    parameters = json.loads(choice.parameters)
    assert parameters["max_size_bytes"] == 4 * 1024**2
    assert set(parameters) >= {"min_size_bytes", "average_size_bytes", "max_size_bytes"}
    assert choice.distribution.startswith("bitbacker>=")


def test_a_chunker_comes_back_as_it_was_chosen() -> None:
    choice = choice_of(Host(), Kind.CHUNKER, spec("gear", max_size_bytes="3 MiB"))
    assert HostMaker(Host()).chunker(choice, KEY).max_size_bytes == 3 * 1024**2


def test_a_cipher_without_parameters_needs_none() -> None:
    choice = choice_of(Host(), Kind.CIPHER, spec("aes-256-gcm"))
    assert choice.parameters == ""
    assert HostMaker(Host()).cipher(choice).tag_size_bytes == 16


def test_a_missing_plugin_says_what_to_install() -> None:
    with pytest.raises(PluginMissing) as caught:
        HostMaker(Host()).cipher(PluginChoice("enigma", "", "bitbacker-enigma>=1.2"))
    assert caught.value.hint == "install bitbacker-enigma>=1.2"


@pytest.mark.parametrize("parameters", ["{", "[]", "3"])
def test_parameters_that_are_no_table_are_damage(parameters: str) -> None:
    with pytest.raises(FormatError):
        HostMaker(Host()).cipher(PluginChoice("aes-256-gcm", parameters, ""))


def test_a_parameter_that_the_plugin_does_not_know_is_an_error() -> None:
    with pytest.raises(ConfigError, match="rotors"):
        HostMaker(Host()).cipher(PluginChoice("aes-256-gcm", '{"rotors":3}', ""))
