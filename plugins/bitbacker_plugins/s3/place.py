"""What a URL such as `s3://bucket/prefix` names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from bitbacker.errors import ConfigError, StorageError
from bitbacker.spi import NAME_PATTERN, Located

_PREFIX_PATTERN = re.compile(r"([a-z]+/)?")
_BUCKET_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# S3 takes keys of up to 1,024 bytes, and the longest name of an object has 41.
_PREFIX_MAX_BYTES = 960


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, and what every key in it begins with: nothing, or something that ends in a slash.

    `server` is the address of a server of one's own, for messages.
    """

    bucket: str
    prefix: str
    server: str = ""

    def key(self, name: str) -> str:
        """Of an object.  Raises `StorageError` for what is no name."""
        if not NAME_PATTERN.fullmatch(name):
            raise StorageError(f"{name!r} is no object name")
        return self.prefix + name

    def key_prefix(self, prefix: str) -> str:
        """Of a prefix of names.  Raises `StorageError` for what is none."""
        if not _PREFIX_PATTERN.fullmatch(prefix):
            raise StorageError(f"{prefix!r} is no prefix of object names")
        return self.prefix + prefix

    def __str__(self) -> str:
        url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return f"{url} at {self.server}" if self.server else url


def place_of(url: str, server: str = "") -> Place:
    """Raises `ConfigError` for a URL that names no bucket, or holds what does not belong into it."""
    where = f"{url.file}:{url.line}: " if isinstance(url, Located) and url.file else ""
    rest = url.removeprefix("s3://")
    bucket, _, path = rest.partition("/")
    if "@" in bucket:
        raise ConfigError(
            f"{where}the URL of a bucket holds no keys: they belong into the options "
            "access_key_id and secret_access_key, or into the environment"
        )
    if rest == url or not _BUCKET_PATTERN.fullmatch(bucket):
        raise ConfigError(f"{where}write s3:// and a bucket, for example s3://my-backups/laptop")
    if "?" in path or "#" in path or _LONE_PERCENT.search(path):
        raise ConfigError(f"{where}in a URL, write ? as %3F, # as %23 and % as %25")
    return Place(bucket, _prefix_of(path.strip("/"), where), server)


def _prefix_of(path: str, where: str) -> str:
    try:
        prefix = unquote(path, errors="strict")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}the prefix in the URL is not UTF-8") from error
    parts = prefix.split("/")
    if prefix and not all(part.strip(".") for part in parts):
        raise ConfigError(f"{where}the prefix {prefix!r} has a part that is empty or all dots")
    if _CONTROL.search(prefix) or len(prefix.encode()) > _PREFIX_MAX_BYTES:
        raise ConfigError(f"{where}the prefix in the URL has control characters or is too long")
    return f"{prefix}/" if prefix else ""
