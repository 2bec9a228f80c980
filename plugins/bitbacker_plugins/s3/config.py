"""The options of a remote whose URL begins with `s3://`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from bitbacker.errors import ConfigError
from bitbacker.spi import Located, Secret, path, secret

MIB = 1024 * 1024
PART_MIN_BYTES = 5 * MIB
"""S3 takes no smaller part of a multipart upload, but for the last one."""

_CONNECTIONS_MAX = 256


@dataclass(frozen=True, slots=True)
class S3Config:
    """How the bucket is reached and how objects lie in it; docs/transports.md explains each key.

    Without keys the usual places of the AWS tools are asked: environment, profile, role of the machine.
    Raises `ConfigError` when it makes no sense.
    """

    endpoint: str = ""
    region: str = ""
    profile: str = ""
    access_key_id: Secret | None = secret()  # noqa: RUF009  # it makes a field
    secret_access_key: Secret | None = secret()  # noqa: RUF009  # it makes a field
    session_token: Secret | None = secret()  # noqa: RUF009  # it makes a field
    addressing: Literal["auto", "path", "virtual"] = "auto"
    sign_payload: bool = False
    ca_bundle: Located | None = path(default=None)  # noqa: RUF009  # it makes a field
    storage_class: str = ""
    server_side_encryption: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = ""
    kms_key_id: str = ""
    expected_bucket_owner: str = ""
    lock_days: int = 0
    lock_mode: Literal["governance", "compliance"] = "governance"
    connections: int = 16
    timeout_s: float = 60.0
    multipart_above_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        if "@" in self.endpoint:
            raise ConfigError("'endpoint' holds a user or password: use access_key_id and secret_access_key")
        if self.endpoint and not _is_address(self.endpoint):
            raise ConfigError(
                f"'endpoint' is {self.endpoint!r} and must begin with https:// or http:// and name a host"
            )
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigError("'access_key_id' and 'secret_access_key' go together: one of them is absent")
        if self.session_token is not None and self.access_key_id is None:
            raise ConfigError("'session_token' needs 'access_key_id' and 'secret_access_key'")
        if self.kms_key_id and not self.server_side_encryption.startswith("aws:kms"):
            raise ConfigError("'kms_key_id' needs server_side_encryption = 'aws:kms'")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.lock_days < 0:
            raise ConfigError(f"'lock_days' is {self.lock_days}, but 0 (no lock) is the least")
        if not 1 <= self.connections <= _CONNECTIONS_MAX:
            raise ConfigError(
                f"'connections' is {self.connections} and must lie between 1 and {_CONNECTIONS_MAX}"
            )
        if self.timeout_s <= 0:
            raise ConfigError(f"'timeout_s' is {self.timeout_s:g} and must be more than 0")
        if self.multipart_above_bytes < PART_MIN_BYTES:
            raise ConfigError(
                f"'multipart_above_bytes' is {self.multipart_above_bytes}, but S3 takes no part "
                f"of less than {PART_MIN_BYTES} bytes"
            )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        # A port that is no number.
        return False
