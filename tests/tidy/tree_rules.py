"""The rules of docs/style.md that only several files together can break."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from tidy.tree import Finding, Module, Text

LINE_COLUMNS = 110
CODE_SUFFIXES = frozenset({".c", ".h", ".py", ".toml", ".sh"})


def lines_are_short(files: Iterable[Text]) -> Iterator[Finding]:
    for file in files:
        if PurePosixPath(file.path).suffix in CODE_SUFFIXES:
            for number, line in enumerate(file.lines, 1):
                if len(line) > LINE_COLUMNS:
                    yield file.found(number, f"{len(line)} columns, more than {LINE_COLUMNS}")


def nothing_names_this_machine(files: Iterable[Text]) -> Iterator[Finding]:
    """No host of a package registry, no path that exists on one developer's machine only."""
    registries = r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|deb\.debian\.org|snapshot\.debian|crates\.io"
    machine_paths = r"(?<![\w.$})*~-])/(work|root|Users)/|/tmp/(venv|bash)"
    pattern = re.compile(f"{registries}|{machine_paths}")
    for file in files:
        for number, line in enumerate(file.lines, 1):
            if match := pattern.search(line):
                yield file.found(number, f"names {match[0]!r}")


def shell_scripts_are_strict(files: Iterable[Text]) -> Iterator[Finding]:
    """A script of bash stops at the first failure, and bash can read it."""
    for file in files:
        if not file.text.startswith("#!/usr/bin/env bash\n"):
            continue
        if "\nset -euo pipefail\n" not in file.text:
            yield file.found(1, "does not say: set -euo pipefail")
        read = subprocess.run(["bash", "-n"], input=file.text, check=False, capture_output=True, text=True)
        if read.returncode != 0:
            yield file.found(1, read.stderr.strip())


def test_modules_have_unique_names(modules: Iterable[Module]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for module in modules:
        name = PurePosixPath(module.path).name
        if module.path.startswith("tests/") and name.startswith("test_"):
            if name in first:
                yield module.found(1, f"has the name of {first[name]}")
            first.setdefault(name, module.path)


test_modules_have_unique_names.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


def modules_are_reached(modules: Sequence[Module], roots: Iterable[str]) -> Iterator[Finding]:
    """Nothing is dead: every module is reached by imports from an entry point.

    A string that is the name of a module counts as an import of it, because commands and plugins are
    loaded by name.
    """
    product = {module.name: module for module in modules if module.is_product}
    reached: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in product or name in reached:
            continue
        reached.add(name)
        todo += [name.rpartition(".")[0], *references(product[name])]
    for name in sorted(product.keys() - reached):
        yield product[name].found(1, "is imported by nothing that an entry point reaches")


def references(module: Module) -> Iterator[str]:
    """Every dotted name that the module could mean by an import or by a string."""
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _import_base(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(":")[0]


def entry_points(project: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """The modules that pyproject's tables of scripts and entry points name."""
    groups = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    for group in groups:
        assert isinstance(group, Mapping)
        yield from (str(value).partition(":")[0] for value in group.values())


def _import_base(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parent = package.split(".")
    parent = parent[: len(parent) - node.level + 1]
    return ".".join([*parent, *([node.module] if node.module else [])])
