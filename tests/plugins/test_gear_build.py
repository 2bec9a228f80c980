"""The C extension is built where it can be, and nobody needs a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

needs_setuptools = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import setuptools"], capture_output=True, check=False).returncode
    != 0,
    reason="setuptools is not installed, so nothing can be built",
)


def build(where: Path, compiler: str) -> list[Path]:
    """Build the extension alone, and return what came of it."""
    made = ["--build-lib", str(where / "lib"), "--build-temp", str(where / "temp")]
    command = [sys.executable, "setup.py", "-q", "build_ext", *made]
    environment = {**os.environ, "CC": compiler}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    return list(where.glob("lib/bitbacker_plugins/gear/_scan.*"))


@needs_setuptools
def test_without_a_compiler_the_installation_goes_on(tmp_path: Path) -> None:
    assert build(tmp_path, "false") == []


@needs_setuptools
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler called cc")
def test_with_a_compiler_the_extension_is_built(tmp_path: Path) -> None:
    assert len(build(tmp_path, "cc")) == 1


def test_a_change_of_a_header_builds_again() -> None:
    """Otherwise an editable installation would keep what it was built from before."""
    folder = ROOT / "plugins" / "bitbacker_plugins" / "gear"
    named = (ROOT / "setup.py").read_text()
    files = [path.name for path in folder.glob("*.[ch]")]
    assert files
    assert [name for name in files if f'"{name}"' not in named] == []


@pytest.mark.parametrize(
    "names",
    [
        "gear import GearChunker as C, GearConfig as O",
        "gear.toeplitz import ToeplitzAesChunker as C, ToeplitzAesConfig as O",
    ],
    ids=["gear", "toeplitz-aes"],
)
def test_without_the_extension_numpy_does_its_work(names: str) -> None:
    program = (
        "import sys; sys.modules['bitbacker_plugins.gear._scan'] = None\n"
        f"from bitbacker_plugins.{names}\n"
        "chunker = C(O(), bytes(32))\n"
        "print(chunker.implementation, chunker.cut(bytes(3 << 20), final=True))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "numpy [2097152, 3145728]\n"
