"""A server on loopback that answers what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from bitbacker.spi import Secret
from bitbacker_plugins.s3 import S3Transport
from bitbacker_plugins.s3.config import S3Config

ACCESS_KEY = "AKIASTUBSTUBSTUBSTUB"
SECRET_KEY = "the/secret/of/the/stub/0123456789abcdefg"
TOKEN = "token/of/a/session/" + "0123456789abcdef" * 8
LISTING = (
    '<?xml version="1.0"?><ListBucketResult><Name>bucket</Name><IsTruncated>{more}</IsTruncated>'
    "{rows}</ListBucketResult>"
)


@dataclass(frozen=True)
class Asked:
    """One request; names of headers are in small letters."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """Method and what the query is about: `PUT`, `POST delete`, `GET list-type`."""
        about = {"delete", "list-type", "object-lock", "uploads", "uploadId", "versionId", "versions"}
        return " ".join([self.method, *sorted(about & set(self.query))])


@dataclass(frozen=True)
class Reply:
    """`raw` goes out as it is, instead of all the rest; `length` is what is promised, if not the truth."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    length: int | None = None


Answering = Callable[[Asked], Reply]


def error_reply(status: int, code: str, message: str = "no words", more: str = "", **headers: str) -> Reply:
    """An error as S3 words it; `more` are further elements."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message>{more}'
        "<RequestId>4442587FB7D0A2F9</RequestId></Error>"
    )
    return Reply(status, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def listing_reply(*names: str, token: str = "") -> Reply:
    rows = "".join(f"<Contents><Key>{name}</Key><Size>1</Size></Contents>" for name in names)
    rows += f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return Reply(body=LISTING.format(more="true" if token else "false", rows=rows).encode())


def stored_reply(_: Asked | None = None) -> Reply:
    return Reply(headers={"ETag": '"0"'})


class Stub(ThreadingHTTPServer):
    """`answer` decides what comes back; `asked` is what came in; its clock is `ahead_s` ahead."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Answering = stored_reply
        self.asked: list[Asked] = []
        self.ahead_s = 0.0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def config(self, **options: object) -> S3Config:
        given: dict[str, object] = {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": Secret(ACCESS_KEY),
            "secret_access_key": Secret(SECRET_KEY),
            "timeout_s": 5.0,
        }
        return S3Config(**(given | options))  # type: ignore[arg-type]  # a test writes what it likes

    @contextmanager
    def transport(self, url: str = "s3://bucket/place", **options: object) -> Iterator[S3Transport]:
        transport = S3Transport(url, self.config(**options))
        try:
            yield transport
        finally:
            transport.close()


@contextmanager
def running_stub() -> Iterator[Stub]:
    with Stub() as stub:
        thread = threading.Thread(target=lambda: stub.serve_forever(poll_interval=0.02))
        thread.start()
        try:
            yield stub
        finally:
            stub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        query = parse_qs(parts.query, keep_blank_values=True)
        asked = Asked(self.command, parts.path, query, headers, body)
        self.server.asked.append(asked)
        reply = self.server.answer(asked)
        if reply.raw:
            self.wfile.write(reply.raw)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = len(reply.body) if reply.length is None else reply.length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815  # names that http.server calls

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + self.server.ahead_s)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that http.server has
        """Nothing is printed."""
