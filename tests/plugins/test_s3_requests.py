"""The transport `s3`: its URLs and options, and what goes over the wire for them."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from bitbacker.errors import ConfigError, NotExclusive, ObjectExists, StorageDenied, StorageError
from bitbacker.repo.create import probe_exclusive
from bitbacker.repo.storage import Storage
from bitbacker.spi import Abilities, Located, ObjectInfo, Secret
from bitbacker.testing.transport import MIB, head, payload, segment
from bitbacker_plugins.s3 import S3Transport
from bitbacker_plugins.s3.config import S3Config
from s3_servers import S3Server
from s3_stub import SECRET_KEY, Asked, Reply, Stub, error_reply, listing_reply, running_stub, stored_reply

UNSIGNED = "UNSIGNED-PAYLOAD"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


# URLs and options.


@pytest.mark.parametrize(
    ("url", "place", "key"),
    [
        ("s3://bucket", "s3://bucket", "keyslots"),
        ("s3://bucket/", "s3://bucket", "keyslots"),
        ("s3://bucket/a", "s3://bucket/a", "a/keyslots"),
        ("s3://bucket/a/b/", "s3://bucket/a/b", "a/b/keyslots"),
        ("s3://my.bucket-1/a%20b%25", "s3://my.bucket-1/a b%", "a b%/keyslots"),
        ("s3://bucket/\u00e4", "s3://bucket/\u00e4", "\u00e4/keyslots"),
    ],
)
def test_a_url_names_a_bucket_and_what_keys_begin_with(stub: Stub, url: str, place: str, key: str) -> None:
    with stub.transport(url) as transport:
        transport.put("keyslots", b"x")
        stub.answer = lambda _: error_reply(403, "AccessDenied")
        with pytest.raises(StorageDenied, match=place):
            transport.get("keyslots")
    bucket = url.removeprefix("s3://").partition("/")[0]
    assert f"/{bucket}/{key}" == unquote(stub.asked[0].path)


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///a",
        "s3:bucket",
        "bucket",
        "",
        "file:///srv",
        "s3://b",
        "s3://buc ket/a",
        "s3://bucket?a",
    ],
)
def test_a_url_without_a_bucket_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match="for example s3://"):
        S3Transport(url, S3Config())


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/a", "s3://key@bucket"])
def test_a_url_with_keys_is_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigError, match="access_key_id") as caught:
        S3Transport(Located(url, "bitbacker.toml", 3), S3Config())
    assert caught.value.message.startswith("bitbacker.toml:3: ")
    assert "secret@" not in caught.value.message


@pytest.mark.parametrize(
    "path", ["what?", "a#b", "100%", "%zz", "a//b", "a/../b", "./a", "a%00b", "a%0ab", "%ff", "x" * 1000]
)
def test_a_prefix_that_would_not_come_back_as_written_is_refused(path: str) -> None:
    with pytest.raises(ConfigError):
        S3Transport(f"s3://bucket/{path}", S3Config())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"endpoint": "server:9000"}, "'endpoint'"),
        ({"endpoint": "https://user:pass@server"}, "'endpoint'"),
        ({"access_key_id": Secret("a")}, "'secret_access_key'"),
        ({"secret_access_key": Secret("a")}, "'access_key_id'"),
        ({"session_token": Secret("a")}, "'session_token'"),
        ({"kms_key_id": "alias/a"}, "'kms_key_id'"),
        ({"kms_key_id": "alias/a", "server_side_encryption": "AES256"}, "'kms_key_id'"),
        ({"lock_days": -1}, "'lock_days'"),
        ({"connections": 0}, "'connections'"),
        ({"connections": 257}, "'connections'"),
        ({"timeout_s": 0.0}, "'timeout_s'"),
        ({"multipart_above_bytes": 5 * MIB - 1}, "'multipart_above_bytes'"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        S3Config(**options)


def test_it_may_be_called_from_as_many_threads_as_it_has_connections() -> None:
    transport = S3Transport("s3://bucket", S3Config(connections=7))
    assert Abilities(exclusive_put=True, concurrency=7) == transport.abilities
    assert 16 == S3Transport("s3://bucket", S3Config()).abilities.concurrency


def test_boto3_is_not_loaded_before_it_is_needed() -> None:
    made = (
        "from bitbacker_plugins.s3 import S3Transport as T; t = T('s3://bucket', T.Config('http://[::1]:1'))"
    )
    used = "import contextlib\nwith contextlib.suppress(Exception): t.get('keyslots')"
    assert "[]" == loaded_after(f"{made}; t.close()")
    assert "['boto3', 'botocore']" == loaded_after(f"{made}\n{used}"), "the control: a call loads it"


def loaded_after(code: str) -> str:
    seen = "import sys; print(sorted({'boto3', 'botocore'} & set(sys.modules)))"
    command = [sys.executable, "-c", f"{code}\n{seen}"]
    environment = {"AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(command, capture_output=True, check=True, text=True, env=environment).stdout.strip()


# Requests.


def test_an_exclusive_put_asks_for_it_and_a_replacing_one_does_not(stub: Stub) -> None:
    with stub.transport() as transport:
        transport.put("keyslots", b"first")
        transport.put("keyslots", b"second", replace=True)
    first, second = stub.asked
    assert ("PUT", "/bucket/place/keyslots", b"first") == (first.method, first.path, first.body)
    assert "*" == first.headers["if-none-match"]
    assert "if-none-match" not in second.headers
    assert b"second" == second.body


def test_a_put_is_one_request_without_hashes_and_waits_for_nothing(stub: Stub) -> None:
    with stub.transport() as transport:
        transport.put(segment(1), payload(4 * MIB))
    (asked,) = stub.asked
    assert payload(4 * MIB) == asked.body
    assert UNSIGNED == asked.headers["x-amz-content-sha256"]
    assert not {"expect", "content-md5", "x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"} & set(
        asked.headers
    )
    assert not any(name.startswith("x-amz-object-lock") for name in asked.headers)


def test_a_body_is_signed_where_the_options_say_so(stub: Stub) -> None:
    with stub.transport(sign_payload=True) as transport:
        transport.put(segment(1), b"data")
    assert 64 == len(stub.asked[0].headers["x-amz-content-sha256"])


@pytest.mark.parametrize("sign_payload", [False, True])
@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_servers_take_bodies_with_and_without_a_signature(
    server: str, sign_payload: bool, request: pytest.FixtureRequest
) -> None:
    running: S3Server = request.getfixturevalue(server)
    transport = S3Transport(running.fresh_url(), running.config(sign_payload=sign_payload))
    for size_bytes in (0, 1, 1_000_003):
        transport.put(segment(size_bytes), payload(size_bytes))
        assert payload(size_bytes) == transport.get(segment(size_bytes))
    transport.close()


def test_only_segments_go_into_another_storage_class(stub: Stub) -> None:
    with stub.transport(storage_class="GLACIER_IR") as transport:
        for name in (segment(1), head(1), "keyslots"):
            transport.put(name, b"x")
    classes = [asked.headers.get("x-amz-storage-class") for asked in stub.asked]
    assert ["GLACIER_IR", None, None] == classes


def test_every_object_is_encrypted_as_the_options_say(stub: Stub) -> None:
    options = {"server_side_encryption": "aws:kms", "kms_key_id": "alias/backup"}
    with stub.transport(**options) as transport:
        transport.put("keyslots", b"x")
    headers = stub.asked[0].headers
    assert "aws:kms" == headers["x-amz-server-side-encryption"]
    assert "alias/backup" == headers["x-amz-server-side-encryption-aws-kms-key-id"]


def test_every_request_names_the_owner_that_is_expected(stub: Stub) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.operation == "GET list-type":
            return listing_reply()
        if asked.operation == "POST delete":
            return Reply(body=b"<DeleteResult></DeleteResult>")
        return error_reply(404, "NoSuchKey") if asked.method == "GET" else stored_reply()

    stub.answer = answer
    with stub.transport(expected_bucket_owner="123456789012") as transport:
        transport.put(segment(1), b"x")
        list(transport.list(""))
        transport.delete([segment(1)])
        with pytest.raises(StorageError):
            transport.get(segment(1))
    assert 5 == len(stub.asked)
    assert ["123456789012"] * 5 == [asked.headers.get("x-amz-expected-bucket-owner") for asked in stub.asked]


def test_a_bucket_is_named_in_the_path_or_in_the_host(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    for addressing, path in (("auto", "/bucket/keyslots"), ("path", "/bucket/keyslots")):
        with stub.transport("s3://bucket", addressing=addressing) as transport:
            transport.put("keyslots", b"x")
        assert path == stub.asked[-1].path
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest: resolve("127.0.0.1", *rest))
    endpoint = stub.endpoint.replace("127.0.0.1", "localhost")
    with stub.transport("s3://bucket", addressing="virtual", endpoint=endpoint) as transport:
        transport.put("keyslots", b"x")
    assert "/keyslots" == stub.asked[-1].path
    assert stub.asked[-1].headers["host"].startswith("bucket.localhost")


def test_a_long_listing_goes_on_where_it_stopped(stub: Stub) -> None:
    pages = {
        "": listing_reply(f"place/{head(1)}", "place/heads/stray", f"place/{head(2)}", token="two"),
        "two": listing_reply("place/README", f"place/{segment(1)}", token="three"),
        "three": listing_reply(),
    }
    stub.answer = lambda asked: pages[asked.query.get("continuation-token", [""])[0]]
    with stub.transport() as transport:
        rows = list(transport.list(""))
        assert [ObjectInfo(name, 1) for name in (head(1), head(2), segment(1))] == rows
        assert 3 == len(stub.asked)
        assert head(1) == next(transport.list("heads/")).name
    assert 4 == len(stub.asked), "a listing that is left early asks for no page that nobody needs"
    assert ["place/"] == stub.asked[0].query["prefix"]
    assert ["place/heads/"] == stub.asked[3].query["prefix"]


def test_secrets_never_leave_this_machine(stub: Stub) -> None:
    with stub.transport() as transport:
        transport.put(segment(1), b"x")
    sent = repr(stub.asked)
    assert stub.asked[0].headers["authorization"] in sent
    assert SECRET_KEY not in sent


@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_an_odd_prefix_comes_back_as_it_is(server: str, request: pytest.FixtureRequest) -> None:
    running: S3Server = request.getfixturevalue(server)
    transport = S3Transport(f"{running.fresh_url()}/a b+c%25&d=e;\u00e4/~x", running.config())
    other = S3Transport(f"{running.fresh_url()}/a", running.config())
    transport.put("keyslots", b"keys")
    transport.put(head(1), b"head")
    assert [ObjectInfo(head(1), 4), ObjectInfo("keyslots", 4)] == list(transport.list(""))
    assert [ObjectInfo(head(1), 4)] == list(transport.list("heads/"))
    assert [] == list(other.list(""))
    assert b"head" == transport.get(head(1))
    transport.delete([head(1), "keyslots"])
    assert [] == list(transport.list(""))
    transport.close()
    other.close()


# Exclusive creation.


def test_the_probe_finds_that_moto_decides(moto: S3Server) -> None:
    transport = S3Transport(moto.fresh_url(), moto.config())
    probe_exclusive(Storage(transport))
    assert [] == list(transport.list(""))
    transport.close()


def test_the_probe_finds_that_rclone_does_not_decide(rclone: S3Server) -> None:
    transport = S3Transport(rclone.fresh_url(), rclone.config())
    with pytest.raises(StorageError) as caught:
        probe_exclusive(Storage(transport))
    # Of writers at the same moment rclone may answer one with an internal error.
    assert type(caught.value) is NotExclusive or "InternalError" in caught.value.message
    transport.close()


# Large objects.


@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_a_large_object_goes_in_parts_and_comes_back_whole(
    server: str, request: pytest.FixtureRequest
) -> None:
    running: S3Server = request.getfixturevalue(server)
    url = running.fresh_url()
    transport = S3Transport(url, running.config(multipart_above_bytes=5 * MIB))
    data = payload(20 * MIB + 1)
    transport.put(segment(1), data)
    assert data == transport.get(segment(1))
    if running.decides:
        with pytest.raises(ObjectExists):
            transport.put(segment(1), payload(5 * MIB + 1))
        assert data == transport.get(segment(1))
    transport.put(segment(1), payload(5 * MIB + 1), replace=True)
    assert payload(5 * MIB + 1) == transport.get(segment(1))
    with running.client() as client:
        bucket = url.split("/")[2]
        assert [] == client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    transport.close()


def test_large_objects_are_told_by_their_size(stub: Stub) -> None:
    """The control: what is not above the limit goes in one request."""
    with stub.transport(multipart_above_bytes=5 * MIB) as transport:
        transport.put(segment(1), bytes(5 * MIB))
        assert ["PUT"] == [asked.operation for asked in stub.asked]


@pytest.mark.parametrize("failing", ["part", "end"])
def test_parts_do_not_stay_when_the_upload_fails(stub: Stub, failing: str) -> None:
    def answer(asked: Asked) -> Reply:
        if "uploads" in asked.query:
            body = b"<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
            return Reply(body=body)
        if asked.method == "DELETE":
            return Reply(204)
        fails = asked.method == {"part": "PUT", "end": "POST"}[failing]
        return error_reply(500, "InternalError") if fails else stored_reply()

    stub.answer = answer
    with stub.transport(multipart_above_bytes=5 * MIB) as transport, pytest.raises(StorageError) as caught:
        transport.put(segment(1), bytes(5 * MIB + 1))
    assert caught.value.retryable
    assert ("DELETE", ["7"]) == (stub.asked[-1].method, stub.asked[-1].query["uploadId"])
    ends = [asked for asked in stub.asked if asked.operation == "POST uploadId"]
    assert ["*"] * len(ends) == [asked.headers.get("if-none-match") for asked in ends]
    assert (failing == "end") is bool(ends)


# Deleting.


def test_a_thousand_objects_are_deleted_by_one_request(stub: Stub) -> None:
    def answer(asked: Asked) -> Reply:
        return (
            error_reply(404, "X") if asked.method == "GET" else Reply(body=b"<DeleteResult></DeleteResult>")
        )

    stub.answer = answer
    with stub.transport() as transport:
        transport.delete(segment(number) for number in range(1_001))
    assert ["GET object-lock", "POST delete", "POST delete"] == [asked.operation for asked in stub.asked]
    assert [1_000, 1] == [asked.body.count(b"<Key>") for asked in stub.asked[1:]]


@pytest.mark.parametrize(
    "refusal",
    [
        error_reply(501, "NotImplemented"),
        error_reply(400, "MalformedXML"),
        error_reply(400, "InvalidRequest", "Missing required header for this request: Content-MD5"),
        error_reply(405, "MethodNotAllowed"),
        Reply(501),
    ],
)
def test_a_server_that_cannot_delete_many_is_asked_for_one_at_a_time(stub: Stub, refusal: Reply) -> None:
    replies = {"GET": error_reply(404, "X"), "POST": refusal, "DELETE": Reply(204)}
    stub.answer = lambda asked: replies[asked.method]
    names = [segment(number) for number in range(5)]
    with stub.transport() as transport:
        transport.delete(names)
        transport.delete(names)
    deleted = sorted(asked.path for asked in stub.asked if asked.method == "DELETE")
    assert sorted([f"/bucket/place/{name}" for name in names] * 2) == deleted
    assert 1 == sum(asked.method == "POST" for asked in stub.asked), "it is not asked again and again"


def partly(code: str) -> Reply:
    rows = f"<Error><Key>place/{segment(2)}</Key><Code>{code}</Code><Message>words</Message></Error>"
    return Reply(body=f"<DeleteResult>{rows}</DeleteResult>".encode())


@pytest.mark.parametrize(
    ("code", "expected"), [("AccessDenied", StorageDenied), ("InternalError", StorageError)]
)
def test_what_one_request_did_not_delete_is_an_error(
    stub: Stub, code: str, expected: type[StorageError]
) -> None:
    stub.answer = lambda asked: error_reply(404, "X") if asked.method == "GET" else partly(code)
    with stub.transport() as transport, pytest.raises(StorageError, match=segment(2)) as caught:
        transport.delete([segment(1), segment(2)])
    assert expected is type(caught.value)


def test_what_was_gone_already_is_none(stub: Stub) -> None:
    """The control: the same answer about an object that is absent."""
    stub.answer = lambda asked: error_reply(404, "X") if asked.method == "GET" else partly("NoSuchKey")
    with stub.transport() as transport:
        transport.delete([segment(1), segment(2)])


def test_bodies_come_with_a_hash_that_is_right_where_there_are_locks(stub: Stub) -> None:
    enabled = (
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
    )
    stub.answer = lambda asked: Reply(body=enabled) if asked.method == "GET" else stored_reply()
    with stub.transport(lock_days=1) as transport:
        transport.put(segment(1), b"abc")
    assert (
        base64.b64encode(bytes.fromhex("900150983cd24fb0d6963f7d28e17f72")).decode()
        == (stub.asked[-1].headers["content-md5"])
    )
