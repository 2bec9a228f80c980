"""The rules of docs/style.md that one Python module can break by itself.

A rule takes a module and yields what is wrong with it.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from tidy.tree import Finding, Module

Rule = Callable[[Module], Iterator[Finding]]
Function = ast.FunctionDef | ast.AsyncFunctionDef

MODULE_LINES = 600
FUNCTION_LINES = 70
POSITIONAL_PARAMETERS = 5
BANNED_NAMES = frozenset({"common", "core", "helper", "helpers", "manager", "misc", "util", "utils"})
# Python 3.10 does not have tomllib yet; the module that reads it falls back to tomli there.
STANDARD_LIBRARY = sys.stdlib_module_names | {"tomllib"}

OUTSIDE: dict[str, frozenset[str]] = {
    "bitbacker/spi": frozenset({"pluggy"}),
    "bitbacker/format": frozenset({"numpy", "zstandard"}),
    "bitbacker/crypto": frozenset({"blake3", "cryptography"}),
    "bitbacker/host": frozenset({"pluggy"}),
    "bitbacker/config": frozenset({"keyring", "platformdirs", "tomli"}),
    "bitbacker/repo": frozenset({"numpy"}),
    "bitbacker/engine": frozenset({"blake3", "numpy", "zstandard"}),
    "bitbacker/app": frozenset({"matplotlib"}),
    "bitbacker/cli": frozenset({"click", "rich", "typer"}),
    "bitbacker/testing": frozenset({"hypothesis", "pytest"}),
    "plugins/aes256gcm": frozenset({"cryptography"}),
    "plugins/chacha20poly1305": frozenset({"cryptography"}),
    "plugins/files": frozenset({"numpy"}),
    "plugins/fixed": frozenset({"numpy"}),
    "plugins/gear": frozenset({"cryptography", "numpy"}),
    "plugins/s3": frozenset({"boto3", "botocore"}),
    "plugins/sftp": frozenset({"paramiko"}),
}
"""Which packages of other people a floor or a plugin may import; none where there is no line."""

CONTRACT = frozenset({"bitbacker.spi", "bitbacker.errors"})
BESIDE: dict[str, frozenset[str]] = {
    "bitbacker/server": CONTRACT | {"bitbacker.config"},
    "bitbacker/testing": CONTRACT,
}
"""What the packages beside the floors may import of ours; a plugin may import `CONTRACT`."""


def module_is_short(module: Module) -> Iterator[Finding]:
    length = len(module.lines)
    if length > MODULE_LINES:
        yield module.found(length, f"{length} lines, more than {MODULE_LINES}: split it by verb")


def functions_are_short(module: Module) -> Iterator[Finding]:
    for function in _functions(module.tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES:
            what = f"{function.name} has {length} lines, more than {FUNCTION_LINES}"
            yield module.found(function.lineno, what)


def few_positional_parameters(module: Module) -> Iterator[Finding]:
    for function in _functions(module.tree):
        names = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
        if names[:1] in (["self"], ["cls"]):
            del names[0]
        if len(names) > POSITIONAL_PARAMETERS:
            what = (
                f"{function.name} takes {len(names)} positional parameters: make the later ones keyword-only"
            )
            yield module.found(function.lineno, what)


def module_has_a_telling_name(module: Module) -> Iterator[Finding]:
    for part in PurePosixPath(module.path).with_suffix("").parts:
        if part.strip("_") in BANNED_NAMES:
            yield module.found(1, f"{part!r} says nothing, so anything would go in")


def no_star_import(module: Module) -> Iterator[Finding]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield module.found(node.lineno, f"import * from {node.module}")


def exemptions_have_a_reason(module: Module) -> Iterator[Finding]:
    """A `noqa` or `type: ignore` names its rule and says in words why it stands there."""
    directive = re.compile(r"#\s*(noqa|type:\s*ignore)(?P<code>:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[\w\-, ]+\])?")
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        match = directive.search(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        reason = directive.sub("", token.string[match.start() :])
        if match["code"] is None:
            yield module.found(token.start[0], f"{match[1]} does not name the rule")
        if len(re.findall(r"[^\W\d_]{2,}", reason)) < 2:
            yield module.found(token.start[0], f"{match[1]} has no reason beside it")


def contract_is_documented(module: Module) -> Iterator[Finding]:
    """Everything public in bitbacker/spi says in a docstring what it is for."""
    if module.floor != "bitbacker/spi":
        return
    for path, node in _public_definitions(module.tree, ""):
        if ast.get_docstring(node) is None:
            yield module.found(getattr(node, "lineno", 1), f"{path or 'the module'} has no docstring")


def outside_imports_are_listed(module: Module) -> Iterator[Finding]:
    if not module.is_product:
        return
    allowed = STANDARD_LIBRARY | OUTSIDE.get(module.floor, frozenset()) | {"bitbacker", "bitbacker_plugins"}
    for line, name in _imports(module):
        if name.partition(".")[0] not in allowed:
            yield module.found(line, f"{module.floor} may not import {name}")


def those_beside_keep_to_the_contract(module: Module) -> Iterator[Finding]:
    """Plugins, server and conformance kit import few of our packages, and never `bitbacker` as a whole."""
    allowed = CONTRACT if module.floor.startswith("plugins") else BESIDE.get(module.floor)
    if allowed is None:
        return
    home = ".".join(module.name.split(".")[:2])
    for line, name in _imports(module):
        ours = ".".join(name.split(".")[:2])
        if ours.partition(".")[0] in {"bitbacker", "bitbacker_plugins"} and ours not in {*allowed, home}:
            yield module.found(line, f"{module.floor} may not import {name}")


def only_the_command_line_talks(module: Module) -> Iterator[Finding]:
    """Nobody but bitbacker/cli prints, reads the arguments or ends the process."""
    if not module.is_product or module.floor == "bitbacker/cli" or module.path == "bitbacker/__main__.py":
        return
    taken = {"sys.argv", "sys.exit", "sys.stdout", "os._exit"}
    yield from _uses(module, taken, "bitbacker/cli")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _dotted(node.func) in {"print", "exit", "quit", "input"}:
            yield module.found(node.lineno, f"{_dotted(node.func)}() belongs to bitbacker/cli")
        elif isinstance(node, ast.Raise) and "SystemExit" in ast.dump(node):
            yield module.found(node.lineno, "raise SystemExit belongs to bitbacker/cli")


def only_config_reads_the_environment(module: Module) -> Iterator[Finding]:
    if not module.is_product or module.floor == "bitbacker/config":
        return
    taken = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}
    yield from _uses(module, taken, "bitbacker/config")


def test_names_are_unique(module: Module) -> Iterator[Finding]:
    """Of two tests of one name in one place, Python keeps the second and pytest never sees the first."""
    if not PurePosixPath(module.path).name.startswith("test_"):
        return
    scopes = [node for node in ast.walk(module.tree) if isinstance(node, ast.Module | ast.ClassDef)]
    for scope in scopes:
        seen: set[str] = set()
        for node in scope.body:
            if isinstance(node, Function) and node.name in seen:
                yield module.found(node.lineno, f"a second {node.name} hides the first")
            seen.add(getattr(node, "name", ""))


test_names_are_unique.__test__ = False  # type: ignore[attr-defined]  # pytest takes the rule for a test

RULES: tuple[Rule, ...] = (
    module_is_short,
    functions_are_short,
    few_positional_parameters,
    module_has_a_telling_name,
    no_star_import,
    exemptions_have_a_reason,
    contract_is_documented,
    outside_imports_are_listed,
    those_beside_keep_to_the_contract,
    only_the_command_line_talks,
    only_config_reads_the_environment,
    test_names_are_unique,
)


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every absolute import, by name too; `from a import b` counts as `a.b`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _dotted(node.func).endswith(("import_module", "__import__")):
            yield from (
                (node.lineno, str(arg.value)) for arg in node.args[:1] if isinstance(arg, ast.Constant)
            )


def _uses(module: Module, taken: set[str], owner: str) -> Iterator[Finding]:
    """Where one of these names is read as an attribute or imported by name."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and _dotted(node) in taken:
            yield module.found(node.lineno, f"{_dotted(node)} belongs to {owner}")
    yield from (
        module.found(line, f"{name} belongs to {owner}") for line, name in _imports(module) if name in taken
    )


def _dotted(node: ast.AST) -> str:
    """`a.b` for such an expression, `a` for a name that is read, else nothing."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _public_definitions(
    node: ast.Module | ast.ClassDef, path: str
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | Function]]:
    yield path, node
    for child in node.body:
        if not isinstance(child, ast.ClassDef | Function) or child.name.startswith("_"):
            continue
        name = f"{path}.{child.name}".lstrip(".")
        if isinstance(child, ast.ClassDef):
            yield from _public_definitions(child, name)
        else:
            yield name, child
