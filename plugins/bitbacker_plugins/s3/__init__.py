"""Transport `s3`: a repository in a bucket of Amazon S3 or of a server that speaks its protocol.

`segments/<name>` is the key `prefix/segments/<name>`.  A put is one request, which the server carries
out whole or not at all, and `If-None-Match: *` lets the server decide which of two came first.
docs/transports.md says what this asks of the server.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, ClassVar

from bitbacker.errors import ObjectMissing, SizeWrong, StorageDenied, StorageError
from bitbacker.spi import NAME_PATTERN, Abilities, Buffer, ObjectInfo, Transport, hookimpl
from bitbacker_plugins.s3.body import Body
from bitbacker_plugins.s3.client import Connection
from bitbacker_plugins.s3.config import MIB, S3Config
from bitbacker_plugins.s3.failures import answer_of, storage_errors
from bitbacker_plugins.s3.locks import Locks
from bitbacker_plugins.s3.multipart import md5_of, put_in_parts
from bitbacker_plugins.s3.place import place_of
from bitbacker_plugins.s3.removal import Doomed, Removal

# No object is larger than 4 MiB; whoever can write here cannot make a reader take up all memory.
_SIZE_MAX_BYTES = 64 * MIB
_FORBIDDEN_HINT = (
    "check the permissions of the credential on the bucket: without s3:ListBucket also an object "
    "that is absent is forbidden"
)


class S3Transport:
    """A bucket as storage.  One client of boto3 serves all threads."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[S3Config]] = S3Config

    def __init__(self, url: str, config: S3Config) -> None:
        """Raises `ConfigError` for a URL that names no bucket."""
        self._place = place_of(url, config.endpoint)
        self._config = config
        self._connection = Connection(config)
        self._where: dict[str, Any] = {"Bucket": self._place.bucket}
        if config.expected_bucket_owner:
            self._where["ExpectedBucketOwner"] = config.expected_bucket_owner
        self._removal = Removal(self._where, config.connections)
        self._locks = Locks(config, self._where, self._removal)

    @property
    def abilities(self) -> Abilities:
        """A server that cannot decide shows when the repository is made."""
        return Abilities(exclusive_put=True, concurrency=self._config.connections)

    def put(self, name: str, data: Buffer, *, replace: bool = False) -> None:
        where = {**self._where, "Key": self._place.key(name)}
        view = memoryview(data).cast("B")
        with storage_errors(f"store {name} in {self._place}"):
            from botocore.exceptions import ClientError

            client = self._connection.client()
            options = self._put_options(client, name)
            try:
                if len(view) > self._config.multipart_above_bytes:
                    put_in_parts(client, where, view, options, exclusive=not replace)
                else:
                    self._put_whole(client, where, view, options, exclusive=not replace)
            except ClientError as error:
                decided = None if replace else answer_of(error).condition_error(name, plain=not options)
                if decided is not None:
                    raise decided from error
                raise

    def get(self, name: str) -> bytes:
        key = self._place.key(name)
        with storage_errors(f"read {name} from {self._place}"):
            from botocore.exceptions import ClientError

            try:
                answer = self._connection.client().get_object(**self._where, Key=key)
            except ClientError as error:
                refusal = answer_of(error)
                if refusal.code == "NoSuchKey":
                    raise ObjectMissing(name) from error
                if refusal.code == "AccessDenied":
                    reason = f"cannot read {name} from {self._place}: {refusal.reason}"
                    raise StorageDenied(reason, hint=_FORBIDDEN_HINT) from error
                raise
            with closing(answer["Body"]) as body:
                return _read_whole(name, body, answer.get("ContentLength"))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        options = {**self._where, "Prefix": self._place.key_prefix(prefix)}
        last = ""
        while True:
            with storage_errors(f"list {self._place}"):
                page = self._connection.client().list_objects_v2(**options)
            if "IsTruncated" not in page:
                # A page of a hotel's network, say, must not pass for an empty bucket.
                raise StorageError(f"cannot list {self._place}: the answer is no listing")
            # While an object is stored again, rclone mixes up the rows of a page and lists it twice.
            rows = {str(row["Key"]): row for row in page.get("Contents", [])}
            for key in sorted(rows):
                name = key.removeprefix(self._place.prefix)
                if not NAME_PATTERN.fullmatch(name):
                    continue
                if name <= last:
                    raise StorageError(f"{self._place} lists {name} after {last}, which is out of order")
                last = name
                yield ObjectInfo(name, int(rows[key]["Size"]))
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == options.get("ContinuationToken"):
                raise StorageError(f"{self._place} lists a part of what is there and not how to go on")
            options["ContinuationToken"] = token

    def delete(self, names: Iterable[str]) -> None:
        keys = {self._place.key(name): name for name in names}
        if not keys:
            return
        with storage_errors(f"delete objects in {self._place}"):
            client = self._connection.client()
            if self._locks.are_in_force(client):
                self._locks.delete(client, keys)
                return
            refused = self._removal.remove(client, [Doomed(key) for key in keys])
        for refusal in refused:
            raise refusal.answer.error(f"delete {keys.get(refusal.doomed.key, 'objects')} in {self._place}")

    def close(self) -> None:
        self._connection.close()

    def _put_whole(
        self,
        client: Any,
        where: dict[str, Any],
        view: memoryview,
        options: dict[str, Any],
        *,
        exclusive: bool,
    ) -> None:
        condition = {"IfNoneMatch": "*"} if exclusive else {}
        checksum = self._checksum(view, options)
        body = Body(view)
        stored = client.put_object(**where, **options, **condition, **checksum, Body=body)
        if "ETag" not in stored:
            # Whoever answers in place of the server has stored nothing.
            raise StorageError(f"the answer to storing {where['Key']} is none of S3")

    def _checksum(self, view: memoryview, options: dict[str, Any]) -> dict[str, str]:
        """What the server compares the bytes with.  S3 demands it for what it has to keep."""
        if not self._config.endpoint:
            return {"ChecksumCRC32": base64.b64encode(zlib.crc32(view).to_bytes(4, "big")).decode()}
        return {"ContentMD5": md5_of(view)} if "ObjectLockMode" in options else {}

    def _put_options(self, client: Any, name: str) -> dict[str, Any]:
        """How an object is stored.  Heads and key slots are read at once, so no archive is good for them."""
        config = self._config
        options = self._locks.put_options(client)
        if config.storage_class and name.startswith("segments/"):
            options["StorageClass"] = config.storage_class
        if config.server_side_encryption:
            options["ServerSideEncryption"] = config.server_side_encryption
        if config.kms_key_id:
            options["SSEKMSKeyId"] = config.kms_key_id
        return options


def _read_whole(name: str, body: Any, size_bytes: int | None) -> bytes:
    """The size is None when the server, or something before it, sends the object in chunks."""
    data: bytes = b""
    if size_bytes is None:
        data = body.read(_SIZE_MAX_BYTES + 1)
        size_bytes = len(data)
    if size_bytes > _SIZE_MAX_BYTES:
        raise SizeWrong(f"{name} has {size_bytes} bytes or more, which no object has")
    data = data or body.read()
    if len(data) != size_bytes:
        raise StorageError(f"cannot read {name}: it has {size_bytes} bytes and {len(data)} of them came")
    return data


@hookimpl
def bitbacker_transport(name: str) -> type[Transport] | None:
    return S3Transport if name == "s3" else None
