"""What every test can rely on: directories of its own, a seed that is printed, quiet Hypothesis."""

from __future__ import annotations

import os
import random
import time
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Two shared cores make any deadline a coin toss; the blob reproduces a failure anywhere.
settings.register_profile("tests", deadline=None, print_blob=True)
settings.load_profile("tests")

# On a build machine pytest explains a failure in full, which takes hours for two objects of 4 MiB.
for _name in ("CI", "BUILD_NUMBER"):
    os.environ.pop(_name, None)

SEED = int(os.environ.get("BITBACKER_TEST_SEED", time.time_ns() % 1_000_000))


def pytest_report_header() -> str:
    return f"seed: {SEED} (repeat with BITBACKER_TEST_SEED={SEED})"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number of this test's own that follows from the seed of the run, shown when the test fails."""
    own = zlib.crc32(f"{SEED} {request.node.nodeid}".encode())
    print(f"seed of the run {SEED}, of this test {own}")
    return own


@pytest.fixture
def rng(seed: int) -> random.Random:
    """Random numbers from `seed`."""
    return random.Random(seed)


@pytest.fixture(autouse=True, scope="session")
def _private_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the caches, state or settings of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("CACHE", "CONFIG", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        for name in [name for name in os.environ if name.startswith("BITBACKER_")]:
            patch.delenv(name)
        yield
