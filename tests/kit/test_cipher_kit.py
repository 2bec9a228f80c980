"""The conformance suite of ciphers notices a broken one: no test of it can always pass."""

from __future__ import annotations

import pytest

from bitbacker.testing.contract import contract_tests
from kit import broken_ciphers
from kit.control_run import Suite, failed_tests, suites_of

SUITES = [suite for suite in suites_of(broken_ciphers) if suite.breaks]


@pytest.fixture(scope="module")
def failed() -> dict[str, set[str]]:
    return failed_tests(broken_ciphers)


def test_a_sound_cipher_passes(failed: dict[str, set[str]]) -> None:
    assert failed.get("TestSound", set()) == set()


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_a_broken_cipher_is_noticed(suite: Suite, failed: dict[str, set[str]]) -> None:
    assert failed[suite.__name__] == set(suite.breaks)


def test_every_test_of_the_suite_notices_something() -> None:
    noticing = {name for suite in SUITES for name in suite.breaks}
    assert set(contract_tests(broken_ciphers.TestSound)) - noticing == set()


def test_a_failure_says_what_was_found() -> None:
    cipher = broken_ciphers.WithAShortTag()
    suite = broken_ciphers.TestWithAShortTag()
    with pytest.raises(AssertionError, match="8 >= 16"):
        suite.test_key_and_tag_have_sound_sizes(cipher)
