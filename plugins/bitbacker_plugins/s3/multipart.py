"""An object that is too large for one request, in parts; it appears whole at the end or not at all."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bitbacker_plugins.s3.body import Body
from bitbacker_plugins.s3.config import MIB

_PART_BYTES = 16 * MIB
_PARTS_MAX = 10_000


def put_in_parts(
    client: Any, where: Mapping[str, Any], view: memoryview, options: Mapping[str, Any], *, exclusive: bool
) -> None:
    """Store `view`.  Nothing of it stays behind on the server when it fails, if the server can be told.

    `where` names bucket, key and owner, and goes with every request; `options` say how it is stored.
    Raises what boto3 raises.
    """
    upload = {**where, "UploadId": client.create_multipart_upload(**where, **options)["UploadId"]}
    try:
        parts = _parts(client, upload, view)
        condition = {"IfNoneMatch": "*"} if exclusive else {}
        client.complete_multipart_upload(**upload, **condition, MultipartUpload={"Parts": parts})
    except BaseException:
        with suppress(Exception):
            client.abort_multipart_upload(**upload)
        raise


def md5_of(view: memoryview) -> str:
    """As the header Content-MD5 has it."""
    return base64.b64encode(hashlib.md5(view, usedforsecurity=False).digest()).decode()


def _parts(client: Any, upload: Mapping[str, Any], view: memoryview) -> list[dict[str, Any]]:
    size_bytes = max(_PART_BYTES, -(-len(view) // _PARTS_MAX))
    parts = []
    for number, begin in enumerate(range(0, len(view), size_bytes), 1):
        body = Body(view[begin : begin + size_bytes])
        checksum = md5_of(view[begin : begin + size_bytes])
        tag = client.upload_part(**upload, PartNumber=number, ContentMD5=checksum, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    return parts
