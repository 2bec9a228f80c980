"""Answers that were cut off are told from whole ones.

http.client takes the end of the connection for the end of the headers, and botocore makes an empty
result of an empty body.  So a connection that breaks within the headers of a listing would show as a
bucket with nothing in it, and one that breaks in a refusal as a refusal for another reason.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def refuse_cut_answers(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """A handler of boto3's event `before-parse`.  Raises `IncompleteReadError`."""
    if operation_model.http["method"] == "HEAD" or response_dict["status_code"] in _BODILESS:
        return
    headers, body = response_dict["headers"], response_dict["body"]
    # Half a date would be an error of another kind, and nobody asks when an object was stored.
    headers.pop("last-modified", None)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return
    expected = headers.get("content-length", "")
    # The body of an object is a stream, which looks at its length itself.
    came = str(len(body)) if isinstance(body, bytes) else expected
    if not expected.isdecimal() or int(came) != int(expected):
        from botocore.exceptions import IncompleteReadError

        raise IncompleteReadError(actual_bytes=came or 0, expected_bytes=expected or "more")
