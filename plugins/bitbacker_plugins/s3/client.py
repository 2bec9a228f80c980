"""The one client of boto3, made at the first call, because making it takes long."""

from __future__ import annotations

import os
from http import HTTPStatus
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bitbacker.errors import PlaceMissing, StorageError
from bitbacker.spi import Secret
from bitbacker_plugins.s3.config import S3Config
from bitbacker_plugins.s3.framing import refuse_cut_answers

if TYPE_CHECKING:
    from botocore.config import Config

_CONNECT_MAX_S = 10.0
# A server of one's own has no regions, but a signature needs the name of one.
_REGION_OF_OTHERS = "us-east-1"


class Connection:
    """Makes the client once and keeps it; a client of boto3 may be used by many threads."""

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._lock = Lock()
        self._client: Any = None
        self._closed = False

    def client(self) -> Any:
        """Raises `StorageError` when it is closed already, and what boto3 raises."""
        with self._lock:
            if self._closed:
                raise StorageError("the connection to the bucket is closed already")
            if self._client is None:
                self._client = _make_client(self._config)
            return self._client

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            client.close()


def _make_client(config: S3Config) -> Any:
    import boto3

    if config.ca_bundle and not os.path.exists(config.ca_bundle):
        raise PlaceMissing(
            f"'ca_bundle' names {str(config.ca_bundle)!r}, which is not there",
            hint="check the options of this remote",
        )
    # Sessions are not safe for threads, so nobody else uses this one.
    session = boto3.session.Session(
        profile_name=config.profile or None,
        region_name=config.region or None,
        aws_access_key_id=_revealed(config.access_key_id),
        aws_secret_access_key=_revealed(config.secret_access_key),
        aws_session_token=_revealed(config.session_token),
    )
    region = session.region_name or (_REGION_OF_OTHERS if config.endpoint else None)
    client = session.client(
        "s3",
        region_name=region,
        endpoint_url=config.endpoint or None,
        verify=str(config.ca_bundle) if config.ca_bundle else None,
        config=_client_config(config),
    )
    # An answer before the body would cost a round trip for each segment.
    client.meta.events.register("before-sign.s3", _expect_nothing)
    client.meta.events.register("before-parse.s3", refuse_cut_answers)
    client.meta.events.register("before-call.s3.HeadBucket", _ask_nobody)
    return client


def _client_config(config: S3Config) -> Config:
    from botocore.config import Config

    own = bool(config.endpoint)
    addressing = config.addressing if config.addressing != "auto" or not own else "path"
    return Config(
        connect_timeout=min(config.timeout_s, _CONNECT_MAX_S),
        read_timeout=config.timeout_s,
        tcp_keepalive=True,
        # One more than the engine's threads use, for a listing beside them.
        max_pool_connections=config.connections + 1,
        retries={"total_max_attempts": 1},
        # Many servers do not understand the checksums that botocore would send, and it would send bodies
        # in pieces so large that a slow line needs longer than the timeout for one.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing, "payload_signing_enabled": config.sign_payload},
    )


def _expect_nothing(request: Any, **_: Any) -> None:
    del request.headers["Expect"]


def _ask_nobody(**_: Any) -> tuple[Any, dict[str, Any]]:
    """Answer in place of the server.

    botocore asks for the region of a bucket when the server sends it elsewhere without saying where.
    The same server answers that in the same way, so botocore would ask until its stack is full.
    """
    return SimpleNamespace(status_code=HTTPStatus.OK), {"ResponseMetadata": {"HTTPHeaders": {}}}


def _revealed(value: Secret | None) -> str | None:
    return value.reveal() if value is not None else None
