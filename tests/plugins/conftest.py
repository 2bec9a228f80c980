"""S3 servers, each for one module and started when its first test needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3_servers import S3Server, moto_server, rclone_server


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    """One that decides exclusive puts."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def rclone() -> Iterator[S3Server]:
    """One that does not."""
    with rclone_server() as server:
        yield server
