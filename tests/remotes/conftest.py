"""Places that run for the whole session, and machines that use them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from remote_places import PLACES, Places


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """The servers, which start when they are needed."""
    made = Places(tmp_path_factory.mktemp("places"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session", params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """The name of each place."""
    return str(request.param)
