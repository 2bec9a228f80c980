"""The tree keeps the rules of docs/style.md, and each rule finds what it is for."""

from __future__ import annotations

import sys

import pytest

from tidy import python_rules, tree_rules
from tidy.python_rules import Rule
from tidy.tree import ROOT, Module, Text, modules, texts
from tidy.verdict import found_nothing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.mark.parametrize("rule", python_rules.RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps(rule: Rule) -> None:
    found_nothing(finding for module in modules() for finding in rule(module))


def test_lines_are_short() -> None:
    found_nothing(tree_rules.lines_are_short(texts()))


def test_nothing_names_this_machine() -> None:
    found_nothing(tree_rules.nothing_names_this_machine(texts()))


def test_shell_scripts_are_strict() -> None:
    found_nothing(tree_rules.shell_scripts_are_strict(texts()))


def test_test_modules_have_unique_names() -> None:
    found_nothing(tree_rules.test_modules_have_unique_names(modules()))


def test_no_module_is_dead() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # The kit is for plugin authors; our own conformance tests stand for them.
    tests = [module for module in modules() if module.path.startswith("tests/")]
    kit = [
        name for test in tests for name in tree_rules.references(test) if name.startswith("bitbacker.testing")
    ]
    roots = [*tree_rules.entry_points(project), "bitbacker.__main__", *kit]
    found_nothing(tree_rules.modules_are_reached(modules(), roots))


LONG_FUNCTION = "def f():\n" + "    pass\n" * 70
SINS: list[tuple[Rule, str, str]] = [
    (python_rules.module_is_short, "bitbacker/app/x.py", "pass\n" * 601),
    (python_rules.functions_are_short, "bitbacker/app/x.py", LONG_FUNCTION),
    (python_rules.few_positional_parameters, "bitbacker/app/x.py", "def f(a, b, c, d, e, f): ..."),
    (
        python_rules.few_positional_parameters,
        "bitbacker/app/x.py",
        "class A:\n  def f(self, a, b, c, /, d, e, f): ...",
    ),
    (python_rules.module_has_a_telling_name, "bitbacker/app/utils.py", ""),
    (python_rules.module_has_a_telling_name, "bitbacker/core/x.py", ""),
    (python_rules.no_star_import, "bitbacker/app/x.py", "from os import *"),
    (python_rules.exemptions_have_a_reason, "tests/x.py", "x = 1  # noqa"),
    (python_rules.exemptions_have_a_reason, "tests/x.py", "x = 1  # noqa: S105"),
    (python_rules.exemptions_have_a_reason, "tests/x.py", "x = 1  # type: ignore[misc]"),
    (python_rules.exemptions_have_a_reason, "tests/x.py", "x = 1  # type: ignore  # a reason but no code"),
    (python_rules.contract_is_documented, "bitbacker/spi/x.py", "class A:\n  '''Doc.'''"),
    (python_rules.contract_is_documented, "bitbacker/spi/x.py", "'''Doc.'''\nclass A: ..."),
    (
        python_rules.contract_is_documented,
        "bitbacker/spi/x.py",
        "'''Doc.'''\nclass A:\n  '''Doc.'''\n  def f(self): ...",
    ),
    (python_rules.outside_imports_are_listed, "bitbacker/spi/x.py", "import numpy"),
    (
        python_rules.outside_imports_are_listed,
        "bitbacker/app/x.py",
        "def f():\n  from cryptography import x509",
    ),
    (python_rules.outside_imports_are_listed, "bitbacker/app/x.py", "importlib.import_module('keyring')"),
    (python_rules.outside_imports_are_listed, "plugins/bitbacker_plugins/keep/x.py", "import pluggy"),
    (
        python_rules.those_beside_keep_to_the_contract,
        "bitbacker/testing/x.py",
        "from bitbacker.format import block",
    ),
    (python_rules.those_beside_keep_to_the_contract, "bitbacker/server/x.py", "import bitbacker.repo"),
    (
        python_rules.those_beside_keep_to_the_contract,
        "plugins/bitbacker_plugins/keep/x.py",
        "import bitbacker",
    ),
    (
        python_rules.those_beside_keep_to_the_contract,
        "plugins/bitbacker_plugins/keep/x.py",
        "from bitbacker_plugins.gear import y",
    ),
    (python_rules.only_the_command_line_talks, "bitbacker/app/x.py", "print('done')"),
    (python_rules.only_the_command_line_talks, "bitbacker/app/x.py", "import sys\nsys.exit(1)"),
    (python_rules.only_the_command_line_talks, "bitbacker/app/x.py", "from sys import argv"),
    (python_rules.only_the_command_line_talks, "plugins/bitbacker_plugins/keep/x.py", "raise SystemExit"),
    (python_rules.only_config_reads_the_environment, "bitbacker/cli/x.py", "import os\nos.environ['HOME']"),
    (python_rules.only_config_reads_the_environment, "bitbacker/repo/x.py", "from os import getenv"),
    (python_rules.test_names_are_unique, "tests/test_x.py", "def test_a(): ...\ndef test_a(): ..."),
]
VIRTUES: list[tuple[Rule, str, str]] = [
    (python_rules.module_is_short, "bitbacker/app/x.py", "pass\n" * 600),
    (python_rules.functions_are_short, "bitbacker/app/x.py", LONG_FUNCTION.removesuffix("    pass\n")),
    (python_rules.few_positional_parameters, "bitbacker/app/x.py", "def f(a, b, c, d, e, *, f): ..."),
    (
        python_rules.exemptions_have_a_reason,
        "tests/x.py",
        "x = 1  # noqa: S105  # the name of a key, no secret",
    ),
    (python_rules.contract_is_documented, "bitbacker/spi/x.py", "'''Doc.'''\nclass _A: ..."),
    (python_rules.outside_imports_are_listed, "bitbacker/repo/x.py", "import os\nimport numpy as np"),
    (python_rules.those_beside_keep_to_the_contract, "bitbacker/server/x.py", "from bitbacker import config"),
    (python_rules.only_the_command_line_talks, "bitbacker/cli/x.py", "import sys\nprint(sys.argv)"),
    (python_rules.only_config_reads_the_environment, "bitbacker/config/x.py", "import os\nos.environ"),
    (python_rules.test_names_are_unique, "tests/test_x.py", "def test_a(): ...\ndef test_b(): ..."),
]


@pytest.mark.parametrize(("rule", "path", "text"), SINS, ids=lambda part: getattr(part, "__name__", ""))
def test_a_planted_sin_is_found(rule: Rule, path: str, text: str) -> None:
    assert [*rule(Module.parse(path, text))] != []


@pytest.mark.parametrize(("rule", "path", "text"), VIRTUES, ids=lambda part: getattr(part, "__name__", ""))
def test_what_is_allowed_passes(rule: Rule, path: str, text: str) -> None:
    assert [*rule(Module.parse(path, text))] == []


def test_every_rule_has_its_sin() -> None:
    assert {rule for rule, _, _ in SINS} == set(python_rules.RULES)


def test_a_long_line_is_found() -> None:
    assert [*map(str, tree_rules.lines_are_short([Text("a.c", "/" * 111)]))] == [
        "a.c:1: 111 columns, more than 110"
    ]


@pytest.mark.parametrize("name", ["https://pypi*.org/simple", "cd /wo*rk/main", "/ro*ot/.ssh", "npmjs*.com"])
def test_a_name_of_this_machine_is_found(name: str) -> None:
    """The stars keep this file clean itself."""
    planted = Text("README.md", "see " + name.replace("*", ""))
    assert [*tree_rules.nothing_names_this_machine([planted])] != []


@pytest.mark.parametrize("body", ["echo", "set -euo pipefail\nif true; then\n"])
def test_a_careless_shell_script_is_found(body: str) -> None:
    planted = Text("contrib/x", f"#!/usr/bin/env bash\n{body}\n")
    assert [*tree_rules.shell_scripts_are_strict([planted])] != []


def test_a_second_test_module_of_one_name_is_found() -> None:
    twins = [Module.parse("tests/a/test_x.py", ""), Module.parse("tests/b/test_x.py", "")]
    found = [*map(str, tree_rules.test_modules_have_unique_names(twins))]
    assert found == ["tests/b/test_x.py:1: has the name of tests/a/test_x.py"]


def test_a_dead_module_is_found() -> None:
    """Two modules that import only each other are as dead as one that nobody imports."""
    house = {
        "bitbacker/__init__.py": "",
        "bitbacker/cli/__init__.py": "COMMANDS = {'init': 'bitbacker.cli.named:app'}",
        "bitbacker/cli/main.py": "from bitbacker.cli import used",
        "bitbacker/cli/used.py": "from . import relative",
        "bitbacker/cli/relative.py": "",
        "bitbacker/cli/named.py": "",
        "bitbacker/cli/dead.py": "import bitbacker.cli.also_dead",
        "bitbacker/cli/also_dead.py": "import bitbacker.cli.dead",
    }
    planted = [Module.parse(path, text) for path, text in house.items()]
    found = [finding.path for finding in tree_rules.modules_are_reached(planted, ["bitbacker.cli.main"])]
    assert found == ["bitbacker/cli/also_dead.py", "bitbacker/cli/dead.py"]


def test_syntax_newer_than_python_3_10_is_found() -> None:
    with pytest.raises(SyntaxError):
        Module.parse("bitbacker/app/x.py", "try:\n  pass\nexcept* ValueError:\n  pass\n")
