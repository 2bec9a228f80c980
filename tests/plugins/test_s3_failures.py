"""The transport `s3`: what each way to fail is called, and that no message gives anything away."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bitbacker.errors import (
    ClockSkewed,
    CredentialRefused,
    HostUnknown,
    NotExclusive,
    ObjectExists,
    ObjectMissing,
    PlaceMissing,
    SizeWrong,
    StorageDenied,
    StorageError,
    StorageFull,
)
from bitbacker.spi import Located, ObjectInfo, Secret, Transport
from bitbacker.testing.transport import head, payload, segment
from bitbacker_plugins.s3 import S3Transport
from bitbacker_plugins.s3.config import S3Config
from s3_servers import S3Server, make_certificate, moto_server
from s3_stub import (
    ACCESS_KEY,
    SECRET_KEY,
    TOKEN,
    Asked,
    Reply,
    Stub,
    error_reply,
    listing_reply,
    running_stub,
    stored_reply,
)


@pytest.fixture(autouse=True)
def _nobodys_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test meets the keys of whoever runs it, or asks a machine of Amazon for some."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def _stub() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture(scope="module")
def transport(_stub: Stub) -> Iterator[S3Transport]:
    """One for all tests that need none of their own: to make a client takes boto3 long."""
    with _stub.transport() as transport:
        yield transport


@pytest.fixture
def stub(_stub: Stub) -> Stub:
    """Nobody has asked it anything yet."""
    _stub.asked.clear()
    _stub.answer = stored_reply
    return _stub


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server over TLS whose certificate nobody has signed; it names `certificate`."""
    with moto_server(make_certificate(tmp_path_factory.mktemp("tls"))) as server:
        yield server


def put(transport: Transport) -> None:
    transport.put(segment(1), b"data")


def get(transport: Transport) -> None:
    transport.get(segment(1))


def listed(transport: Transport) -> None:
    list(transport.list(""))


def delete(transport: Transport) -> None:
    transport.delete([segment(1)])


ACTIONS = [put, get, listed, delete]


def failure_of(transport: Transport, act: Callable[[Transport], None]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        act(transport)
    return caught.value


# What the server says.


@pytest.mark.parametrize("act", ACTIONS)
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", StorageDenied),
        (403, "AllAccessDisabled", StorageDenied),
        (403, "InvalidAccessKeyId", CredentialRefused),
        (403, "SignatureDoesNotMatch", CredentialRefused),
        (400, "ExpiredToken", CredentialRefused),
        (400, "InvalidToken", CredentialRefused),
        (400, "TokenRefreshRequired", CredentialRefused),
        (404, "NoSuchBucket", PlaceMissing),
        (400, "InvalidBucketName", PlaceMissing),
        (301, "PermanentRedirect", PlaceMissing),
        (400, "AuthorizationHeaderMalformed", PlaceMissing),
        (400, "IllegalLocationConstraintException", PlaceMissing),
        (403, "RequestTimeTooSkewed", ClockSkewed),
        (403, "RequestExpired", ClockSkewed),
        (403, "QuotaExceeded", StorageFull),
        (507, "InsufficientStorage", StorageFull),
        (507, "XMinioStorageFull", StorageFull),
        (503, "SlowDown", StorageError),
        (503, "ServiceUnavailable", StorageError),
        (500, "InternalError", StorageError),
        (502, "SomethingNew", StorageError),
        (400, "RequestTimeout", StorageError),
        (409, "OperationAborted", StorageError),
        (429, "TooManyRequests", StorageError),
        (422, "SomethingWrong", StorageDenied),
    ],
)
def test_an_answer_means_one_error(
    stub: Stub,
    transport: S3Transport,
    *,
    status: int,
    code: str,
    expected: type[StorageError],
    act: Callable[[Transport], None],
) -> None:
    stub.answer = lambda _: error_reply(status, code, "words of the server")
    error = failure_of(transport, act)
    assert expected is type(error)
    assert error.retryable is (expected is StorageError)
    assert code in error.message
    assert "words of the server" in error.message


def test_an_answer_without_an_error_is_none(stub: Stub, transport: S3Transport) -> None:
    """The control: the same calls pass when the server has nothing against them."""
    answers = {
        "GET": Reply(body=b"data"),
        "GET list-type": listing_reply(),
        "GET object-lock": error_reply(404, "ObjectLockConfigurationNotFoundError"),
        "PUT": stored_reply(),
        "POST delete": Reply(body=b"<DeleteResult></DeleteResult>"),
    }
    stub.answer = lambda asked: answers[asked.operation]
    for act in ACTIONS:
        act(transport)


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (409, "Conflict")])
def test_the_transport_does_not_repeat_by_itself(
    stub: Stub, transport: S3Transport, status: int, code: str
) -> None:
    stub.answer = lambda _: error_reply(status, code)
    failure_of(transport, put)
    assert [asked.method for asked in stub.asked] == ["PUT"]


def test_an_expired_credential_says_so(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: error_reply(400, "ExpiredToken", "The provided token has expired.")
    assert "expired" in failure_of(transport, get).hint


@pytest.mark.parametrize("act", ACTIONS)
def test_a_bucket_in_another_region_is_named_with_its_region(
    stub: Stub, transport: S3Transport, act: Callable[[Transport], None]
) -> None:
    stub.answer = lambda _: error_reply(301, "PermanentRedirect", x_amz_bucket_region="eu-central-1")
    error = failure_of(transport, act)
    assert "eu-central-1" in error.message
    assert "'region'" in error.hint


def test_a_region_that_is_wrong_is_named_with_the_right_one(stub: Stub, transport: S3Transport) -> None:
    more = "<Region>eu-west-3</Region>"
    stub.answer = lambda _: error_reply(400, "AuthorizationHeaderMalformed", "the region is wrong", more)
    error = failure_of(transport, listed)
    assert "eu-west-3" in error.message
    assert error.exit_code == PlaceMissing.exit_code


def test_an_object_in_an_archive_says_how_to_get_it(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: error_reply(403, "InvalidObjectState", "not valid for the storage class")
    error = failure_of(transport, get)
    assert type(error) is StorageDenied
    assert "restore" in error.hint


# Exclusive puts.


def test_a_precondition_that_failed_means_that_the_object_exists(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: error_reply(412, "PreconditionFailed")
    error = failure_of(transport, put)
    assert isinstance(error, ObjectExists)
    assert error.name == segment(1)


def test_a_conflict_may_be_tried_again(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: error_reply(409, "ConditionalRequestConflict")
    assert type(failure_of(transport, put)) is StorageError


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(501, "NotImplemented", "A header you provided implies functionality that is absent"),
        error_reply(400, "InvalidArgument", "Unsupported header 'If-None-Match' received for this API call"),
        error_reply(400, "UnsupportedOperation", "conditional writes are not supported"),
        Reply(304),
    ],
)
def test_a_server_that_cannot_decide_is_not_exclusive(
    stub: Stub, transport: S3Transport, reply: Reply
) -> None:
    stub.answer = lambda _: reply
    assert type(failure_of(transport, put)) is NotExclusive


def test_only_an_exclusive_put_is_about_being_exclusive(stub: Stub, transport: S3Transport) -> None:
    """The control: the same answer to a put that replaces is another error."""
    stub.answer = lambda _: error_reply(501, "NotImplemented", "A header you provided")
    error = failure_of(transport, lambda transport: transport.put("keyslots", b"x", replace=True))
    assert type(error) is StorageDenied


def test_an_option_that_the_server_does_not_know_is_not_about_being_exclusive(stub: Stub) -> None:
    stub.answer = lambda _: error_reply(501, "NotImplemented", "no key service is configured")
    with stub.transport(server_side_encryption="aws:kms") as transport:
        error = failure_of(transport, put)
        assert type(error) is StorageDenied
        assert "options" in error.hint
        stub.answer = lambda _: error_reply(501, "NotImplemented", "If-None-Match is not supported")
        assert type(failure_of(transport, put)) is NotExclusive


# Answers that are none.


def test_an_absent_object_is_not_an_absent_bucket(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: error_reply(404, "NoSuchKey")
    assert type(failure_of(transport, get)) is ObjectMissing


def test_an_object_that_is_too_large_is_not_read(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: Reply(body=b"x", length=64 * 1024 * 1024 + 1)
    with pytest.raises(SizeWrong):
        get(transport)
    stub.answer = lambda _: Reply(body=b"x")
    assert b"x" == transport.get(segment(1))


def test_an_object_that_ends_early_may_be_read_again(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: Reply(body=b"only a part", length=100)
    error = failure_of(transport, get)
    assert type(error) is StorageError
    assert "early" in error.message


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_an_object_may_come_in_chunks_and_must_come_whole(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: Reply(raw=CHUNKED)
    assert b"fourtwo" == transport.get(segment(1))
    for cut in range(CHUNKED.index(b"4"), CHUNKED.index(b"0\r\n\r\n")):
        reply = Reply(raw=CHUNKED[:cut])
        stub.answer = lambda _, reply=reply: reply  # type: ignore[misc]  # mypy knows no default of a lambda
        assert failure_of(transport, get).retryable


def test_what_may_not_be_read_may_be_absent(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: error_reply(403, "AccessDenied")
    assert "s3:ListBucket" in failure_of(transport, get).hint
    assert "s3:ListBucket" not in failure_of(transport, put).hint


PAGE = b"<html><body>Welcome to our network</body></html>"


@pytest.mark.parametrize("act", [put, listed])
def test_the_page_of_somebody_else_is_no_answer(
    stub: Stub, transport: S3Transport, act: Callable[[Transport], None]
) -> None:
    stub.answer = lambda _: Reply(body=PAGE, headers={"Content-Type": "text/html"})
    assert failure_of(transport, act).retryable


@pytest.mark.parametrize("cut", [20, 40, 60])
def test_a_listing_cut_off_within_its_headers_is_not_empty(
    stub: Stub, transport: S3Transport, cut: int
) -> None:
    whole = (
        b"HTTP/1.0 200 OK\r\nServer: stub\r\nContent-Type: application/xml\r\n"
        b"Content-Length: %d\r\n\r\n" % len(listing_reply(f"place/{head(1)}").body)
    )
    stub.answer = lambda _: Reply(raw=whole[:cut])
    assert type(failure_of(transport, listed)) is StorageError
    stub.answer = lambda _: Reply(raw=whole + listing_reply(f"place/{head(1)}").body)
    assert [ObjectInfo(head(1), 1)] == list(transport.list(""))


@pytest.mark.parametrize("second", [head(1), head(2)])
def test_a_listing_whose_pages_are_out_of_order_is_refused(
    stub: Stub, transport: S3Transport, second: str
) -> None:
    pages = {
        "": listing_reply(f"place/{head(2)}", token="two"),
        "two": listing_reply(f"place/{second}"),
    }
    stub.answer = lambda asked: pages[asked.query.get("continuation-token", [""])[0]]
    assert "order" in failure_of(transport, listed).message


def test_the_rows_of_a_page_are_put_in_order_each_once(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: listing_reply(f"place/{head(2)}", f"place/{head(1)}", f"place/{head(2)}")
    assert [ObjectInfo(head(1), 1), ObjectInfo(head(2), 1)] == list(transport.list(""))


def test_a_listing_that_does_not_go_on_is_refused(stub: Stub, transport: S3Transport) -> None:
    stub.answer = lambda _: listing_reply(f"place/{head(1)}", token="again")
    failure_of(transport, listed)
    assert len(stub.asked) == 2


# The network.


def test_a_server_that_does_not_answer_is_given_up_in_time(moto: S3Server) -> None:
    transport = S3Transport(moto.fresh_url(), moto.config(timeout_s=1.0))
    put(transport)
    moto.freeze()
    try:
        for act in ACTIONS:
            begin = time.monotonic()
            error = failure_of(transport, act)
            assert 0.9 <= time.monotonic() - begin < 20
            assert type(error) is StorageError
    finally:
        moto.thaw()
    get(transport)
    transport.close()


def test_a_refused_connection_may_be_tried_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = S3Config(f"http://127.0.0.1:{port}", "r", "", Secret(ACCESS_KEY), Secret(SECRET_KEY))
    transport = S3Transport("s3://bucket", config)
    error = failure_of(transport, put)
    transport.close()
    assert type(error) is StorageError
    assert "refused" in error.message


@pytest.mark.parametrize(
    ("number", "expected"), [(socket.EAI_NONAME, PlaceMissing), (socket.EAI_AGAIN, StorageError)]
)
def test_an_unknown_server_is_a_missing_place_and_an_absent_network_is_not(
    monkeypatch: pytest.MonkeyPatch, number: int, expected: type[StorageError]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "words of the resolver")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    config = S3Config("http://s3.example", "r", "", Secret(ACCESS_KEY), Secret(SECRET_KEY))
    transport = S3Transport("s3://bucket", config)
    error = failure_of(transport, put)
    transport.close()
    assert type(error) is expected
    assert "words of the resolver" in error.message


# Keys.


def test_wrong_keys_are_refused(rclone: S3Server) -> None:
    url = rclone.fresh_url()
    for options in ({"access_key_id": Secret("A" * 20)}, {"secret_access_key": Secret("b" * 40)}):
        transport = S3Transport(url, rclone.config(**options))
        for act in ACTIONS:
            assert type(failure_of(transport, act)) is CredentialRefused
        transport.close()


def test_keys_that_are_nowhere_are_a_refused_credential() -> None:
    transport = S3Transport("s3://bucket", S3Config("http://127.0.0.1:1"))
    assert type(failure_of(transport, put)) is CredentialRefused
    transport.close()


def test_a_profile_that_is_nowhere_is_a_refused_credential() -> None:
    transport = S3Transport("s3://bucket", S3Config("http://127.0.0.1:1", profile="of-nobody"))
    error = failure_of(transport, put)
    assert type(error) is CredentialRefused
    assert "of-nobody" in error.message
    transport.close()


def test_keys_come_from_the_environment_where_the_options_have_none(
    moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = moto.fresh_url()
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    transport = S3Transport(url, S3Config())
    put(transport)
    assert b"data" == transport.get(segment(1))
    transport.close()


@pytest.mark.parametrize("server", ["moto", "rclone"])
@pytest.mark.parametrize("act", ACTIONS)
def test_a_bucket_that_is_not_there_is_a_missing_place(
    server: str, act: Callable[[Transport], None], request: pytest.FixtureRequest
) -> None:
    running: S3Server = request.getfixturevalue(server)
    transport = S3Transport("s3://nobodys-bucket/place", running.config())
    assert type(failure_of(transport, act)) is PlaceMissing
    transport.close()


# Secrets.


def test_no_message_gives_a_secret_away(stub: Stub) -> None:
    """Also when the server repeats everything that it got, in the worst of words."""
    seen: list[str] = []

    def repeat(asked: Asked) -> Reply:
        sent = [*asked.headers.values(), TOKEN, f"{asked.headers['authorization']}; {TOKEN},"]
        seen.append(asked.headers["authorization"].rpartition("Signature=")[2])
        return error_reply(403, "AccessDenied", " ".join(sent))

    stub.answer = repeat
    with stub.transport(session_token=Secret(TOKEN)) as transport:
        errors = [failure_of(transport, act) for act in ACTIONS]
    assert len(seen) >= 4
    for error in errors:
        shown = f"{error.message} {error.hint} {error!r}"
        assert "AccessDenied" in shown
        for secret in (SECRET_KEY, TOKEN, TOKEN[:40], *seen):
            assert secret not in shown


def test_the_place_of_a_missing_server_is_no_secret_but_its_request_is() -> None:
    config = S3Config("http://127.0.0.1:1", "r", "", Secret(ACCESS_KEY), Secret(SECRET_KEY), Secret(TOKEN))
    transport = S3Transport("s3://bucket/place", config)
    for act in ACTIONS:
        message = failure_of(transport, act).message
        assert "s3://bucket/place" in message
        assert "?" not in message
    transport.close()


def test_a_closed_transport_refuses_everything(moto: S3Server) -> None:
    transport = S3Transport(moto.fresh_url(), moto.config())
    put(transport)
    transport.close()
    for act in ACTIONS:
        assert "closed" in failure_of(transport, act).message


# TLS.


def test_a_server_with_a_strange_certificate_is_unknown(certified: S3Server) -> None:
    transport = S3Transport("s3://bucket/place", certified.config(ca_bundle=None))
    error = failure_of(transport, put)
    transport.close()
    assert type(error) is HostUnknown
    assert "ca_bundle" in error.hint


def test_a_certificate_that_the_options_name_is_believed(certified: S3Server) -> None:
    """The control: the same server, with its certificate named."""
    transport = S3Transport(certified.fresh_url(), certified.config())
    put(transport)
    assert b"data" == transport.get(segment(1))
    transport.close()


def test_a_server_without_options_is_used_as_that_of_amazon_is(
    certified: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a checksum of each object, which AWS compares with what came."""
    url = certified.fresh_url()
    for name, value in certified.environment().items():
        monkeypatch.setenv(name, value)
    transport = S3Transport(url, S3Config(ca_bundle=Located(certified.certificate)))
    data = payload(200_000)
    transport.put(segment(1), data)
    transport.put("keyslots", b"", replace=True)
    assert data == transport.get(segment(1))
    assert [ObjectInfo("keyslots", 0), ObjectInfo(segment(1), len(data))] == list(transport.list(""))
    with pytest.raises(ObjectExists):
        transport.put(segment(1), b"other")
    transport.delete([segment(1)])
    transport.close()


def test_a_bundle_that_is_not_there_is_named(certified: S3Server, tmp_path: Path) -> None:
    absent = Located(str(tmp_path / "absent.pem"))
    transport = S3Transport("s3://bucket", certified.config(ca_bundle=absent))
    assert "absent.pem" in failure_of(transport, put).message
    transport.close()
