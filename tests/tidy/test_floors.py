"""The import contracts of pyproject.toml hold, and they catch whoever breaks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tidy.tree import ROOT

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
FLOORS = "A floor imports only floors below it, and no sibling"
KIT = "The conformance kit needs the contract and the errors only"
NO_KIT = "No floor needs the conformance kit"
PLUGIN = "A plugin knows the contract and the errors, nothing else of ours"
NAMELESS = "The framework names no plugin"
STRANGERS = "Plugins do not see each other"


def test_imports_keep_to_the_floors() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("contract", "sins"),
    [
        (FLOORS, {"bitbacker/spi/planted.py": "import bitbacker.format.planted"}),
        (FLOORS, {"bitbacker/format/planted.py": "import bitbacker.crypto.planted"}),
        (FLOORS, {"bitbacker/host/planted.py": "import bitbacker.config.planted"}),
        (FLOORS, {"bitbacker/engine/planted.py": "import bitbacker.app.planted"}),
        (KIT, {"bitbacker/testing/planted.py": "import bitbacker.format.planted"}),
        (NO_KIT, {"bitbacker/app/planted.py": "import bitbacker.testing.planted"}),
        (PLUGIN, {"plugins/bitbacker_plugins/planted/__init__.py": "import bitbacker.repo.planted"}),
        (NAMELESS, {"bitbacker/host/planted.py": "import bitbacker_plugins.planted"}),
        (
            STRANGERS,
            {
                "plugins/bitbacker_plugins/planted/__init__.py": "import bitbacker_plugins.other",
                "plugins/bitbacker_plugins/other/__init__.py": "",
            },
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else next(iter(part)),
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, contract: str, sins: Mapping[str, str]) -> None:
    house = build_house(tmp_path, sins)
    assert f"{contract} BROKEN" in lint_imports(house).stdout


def test_a_folder_on_no_floor_is_found(tmp_path: Path) -> None:
    house = build_house(tmp_path, {"bitbacker/attic/__init__.py": ""})
    done = lint_imports(house)
    assert done.returncode != 0
    assert "attic" in done.stdout


def test_the_house_without_sins_keeps_every_contract(tmp_path: Path) -> None:
    """Without this, the planted sins would prove nothing: the house itself might be broken."""
    house = build_house(tmp_path, {})
    done = lint_imports(house)
    assert done.returncode == 0, done.stdout + done.stderr


def build_house(top: Path, sins: Mapping[str, str]) -> Path:
    """An empty copy of the tree: our contracts, every floor with one module, and what is planted."""
    shutil.copy(ROOT / "pyproject.toml", top)
    floors = [path.parent.name for path in (ROOT / "bitbacker").glob("*/__init__.py")]
    house = {f"bitbacker/{floor}/{name}.py": "" for floor in floors for name in ("__init__", "planted")}
    house |= {
        "bitbacker/__init__.py": "",
        "bitbacker/errors.py": "",
        "plugins/bitbacker_plugins/__init__.py": "",
        "plugins/bitbacker_plugins/planted/__init__.py": "",
    }
    for name, text in {**house, **sins}.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def lint_imports(top: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT_IMPORTS, "--no-cache", "--no-logo"]
    search = os.pathsep.join([str(top), str(top / "plugins")])
    # A console this wide breaks no line in the middle of a contract's name.
    environment = {**os.environ, "PYTHONPATH": search, "COLUMNS": "200"}
    return subprocess.run(command, cwd=top, env=environment, check=False, capture_output=True, text=True)
