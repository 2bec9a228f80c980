"""The transport `s3` on buckets that keep objects: Object Lock, versions, and the clock of the server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any

import pytest

from bitbacker.errors import ObjectsLocked, StorageDenied
from bitbacker.spi import ObjectInfo
from bitbacker.testing.transport import MIB, segment
from bitbacker_plugins.s3 import S3Transport, locks
from s3_servers import S3Server, rclone_server
from s3_stub import Reply, Stub, error_reply, running_stub, stored_reply

DAY_S = 86_400.0
ENABLED = Reply(
    body=b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


class Bucket:
    """One that can keep objects, looked at from behind."""

    def __init__(self, server: S3Server, *, locked: bool = True, versioned: bool = False) -> None:
        self.server = server
        self.name = f"locks-{uuid.uuid4().hex[:16]}"
        server.make_bucket(self.name, ObjectLockEnabledForBucket=locked)
        if versioned:
            with server.client() as client:
                client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def transport(self, **options: Any) -> S3Transport:
        return S3Transport(self.server.url(self.name, "place"), self.server.config(**options))

    def held(self) -> list[str]:
        """Names of all versions, and of markers with a cross."""
        with self.server.client() as client:
            page = client.list_object_versions(Bucket=self.name)
        names = [row["Key"].removeprefix("place/") for row in page.get("Versions", [])]
        markers = [f"{row['Key'].removeprefix('place/')} x" for row in page.get("DeleteMarkers", [])]
        return sorted(names + markers)

    def status(self, name: str) -> dict[str, Any]:
        with self.server.client() as client:
            found: dict[str, Any] = client.head_object(Bucket=self.name, Key=f"place/{name}")
        return found


def names_in(transport: S3Transport) -> list[str]:
    return [row.name for row in transport.list("")]


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_a_put_says_how_long_its_object_is_kept(moto: S3Server, mode: str) -> None:
    bucket = Bucket(moto)
    transport = bucket.transport(lock_days=30, lock_mode=mode)
    before_s = time.time()
    transport.put(segment(1), b"data")
    status = bucket.status(segment(1))
    transport.close()
    assert mode.upper() == status["ObjectLockMode"]
    kept_s = status["ObjectLockRetainUntilDate"].timestamp() - before_s
    assert 30 * DAY_S - 2 <= kept_s <= 30 * DAY_S + 60


def test_large_objects_are_kept_too(stub: Stub) -> None:
    """Told by the requests, because moto does not keep what came in parts."""
    begun = Reply(
        body=b"<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
    )
    answers = {"GET object-lock": ENABLED, "POST uploads": begun}
    stub.answer = lambda asked: answers.get(asked.operation, stored_reply())
    with stub.transport(lock_days=30, multipart_above_bytes=5 * MIB) as transport:
        transport.put(segment(1), bytes(5 * MIB + 1))
    started, part, ended = stub.asked[1:]
    assert "GOVERNANCE" == started.headers["x-amz-object-lock-mode"]
    assert "content-md5" in part.headers
    assert "*" == ended.headers["if-none-match"]


def test_what_is_kept_stays_and_says_until_when_and_all_else_is_deleted(moto: S3Server) -> None:
    bucket = Bucket(moto)
    free, kept = bucket.transport(), bucket.transport(lock_days=7)
    free.put(segment(1), b"free")
    kept.put(segment(2), b"kept")
    kept.put(segment(3), b"kept")
    for transport in (kept, free):
        with pytest.raises(ObjectsLocked) as caught:
            transport.delete([segment(2), segment(1), segment(3), segment(4)])
        assert {segment(2), segment(3)} == caught.value.names
        assert 0 <= caught.value.free_at_s - time.time() - 7 * DAY_S + 60 <= 120
        assert [segment(2), segment(3)] == names_in(transport)
    assert [segment(2), segment(3)] == bucket.held(), "there is a marker, or a version too many"
    free.close()
    kept.close()


def test_what_was_kept_is_deleted_when_its_time_is_over(
    moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "DAY_S", 1.0)
    bucket = Bucket(moto)
    transport = bucket.transport(lock_days=3)
    transport.put(segment(1), b"data")
    with pytest.raises(ObjectsLocked) as caught:
        transport.delete([segment(1)])
    assert b"data" == transport.get(segment(1))
    time.sleep(max(0.0, caught.value.free_at_s - time.time()) + 0.5)
    transport.delete([segment(1)])
    transport.close()
    assert [] == bucket.held()


def test_a_legal_hold_has_no_end(moto: S3Server) -> None:
    bucket = Bucket(moto)
    transport = bucket.transport()
    transport.put(segment(1), b"data")
    with moto.client() as client:
        client.put_object_legal_hold(
            Bucket=bucket.name, Key=f"place/{segment(1)}", LegalHold={"Status": "ON"}
        )
    with pytest.raises(ObjectsLocked) as caught:
        transport.delete([segment(1)])
    transport.close()
    assert 9999 == datetime.fromtimestamp(caught.value.free_at_s, timezone.utc).year


def test_key_slots_that_are_kept_can_be_replaced_and_the_older_ones_stay_below(moto: S3Server) -> None:
    bucket = Bucket(moto)
    transport = bucket.transport(lock_days=7)
    transport.put("keyslots", b"old")
    transport.put("keyslots", b"newer", replace=True)
    assert b"newer" == transport.get("keyslots")
    assert [ObjectInfo("keyslots", 5)] == list(transport.list(""))
    with pytest.raises(ObjectsLocked):
        transport.delete(["keyslots"])
    assert b"newer" == transport.get("keyslots")
    assert ["keyslots", "keyslots"] == bucket.held()
    transport.close()


def test_what_lies_over_a_version_that_is_kept_stays_so_that_it_does_not_show_again(moto: S3Server) -> None:
    bucket = Bucket(moto)
    kept, free = bucket.transport(lock_days=7), bucket.transport()
    kept.put("keyslots", b"old")
    free.put("keyslots", b"new", replace=True)
    with pytest.raises(ObjectsLocked):
        free.delete(["keyslots"])
    assert b"new" == free.get("keyslots")
    kept.close()
    free.close()


def test_every_version_goes_where_none_is_kept(moto: S3Server) -> None:
    bucket = Bucket(moto)
    transport = bucket.transport()
    for data in (b"one", b"two", b"three"):
        transport.put("keyslots", data, replace=True)
    with moto.client() as client:
        client.delete_object(Bucket=bucket.name, Key="place/keyslots")
    assert ["keyslots", "keyslots", "keyslots", "keyslots x"] == bucket.held()
    transport.delete(["keyslots"])
    transport.close()
    assert [] == bucket.held()


def test_versions_without_locks_are_left_to_the_rules_of_the_bucket(moto: S3Server) -> None:
    bucket = Bucket(moto, locked=False, versioned=True)
    transport = bucket.transport()
    transport.put(segment(1), b"data")
    transport.delete([segment(1)])
    assert [] == names_in(transport)
    transport.put(segment(1), b"again")
    transport.close()
    assert [segment(1), segment(1), f"{segment(1)} x"] == bucket.held()


def test_a_bucket_that_can_keep_nothing_is_refused_with_locks(moto: S3Server) -> None:
    bucket = Bucket(moto, locked=False)
    transport = bucket.transport(lock_days=1)
    with pytest.raises(StorageDenied, match="lock_days"):
        transport.put(segment(1), b"data")
    transport.close()
    assert [] == bucket.held()


def test_rclone_that_would_keep_nothing_is_refused_with_locks() -> None:
    with rclone_server() as server:
        transport = S3Transport(server.fresh_url(), server.config(lock_days=1))
        with pytest.raises(StorageDenied, match="lock_days"):
            transport.put(segment(1), b"data")
        transport.close()


def test_the_time_is_that_of_the_server(stub: Stub) -> None:
    ahead_s = 5 * 3600.0

    stub.answer = lambda asked: ENABLED if asked.method == "GET" else stored_reply()
    stub.ahead_s = ahead_s
    with stub.transport(lock_days=1) as transport:
        transport.put(segment(1), b"data")
    until = stub.asked[-1].headers["x-amz-object-lock-retain-until-date"]
    told_s = datetime.fromisoformat(until.replace("Z", "+00:00")).timestamp() - time.time()
    assert abs(told_s - DAY_S - ahead_s) < 60


def test_who_may_not_ask_about_locks_sets_them_all_the_same(stub: Stub) -> None:
    stub.answer = lambda asked: error_reply(403, "AccessDenied") if asked.method == "GET" else stored_reply()
    with stub.transport(lock_days=1, lock_mode="compliance") as transport:
        transport.put(segment(1), b"data")
    assert "COMPLIANCE" == stub.asked[-1].headers["x-amz-object-lock-mode"]


def versions(name: str) -> Reply:
    row = f"<Version><Key>place/{name}</Key><VersionId>v1</VersionId><Size>1</Size></Version>"
    text = f"<ListVersionsResult><IsTruncated>false</IsTruncated>{row}</ListVersionsResult>"
    return Reply(body=text.encode())


def refused(name: str) -> Reply:
    row = f"<Error><Key>place/{name}</Key><VersionId>v1</VersionId><Code>AccessDenied</Code></Error>"
    return Reply(body=f"<DeleteResult>{row}</DeleteResult>".encode())


@pytest.mark.parametrize("age_days", [0, 2])
def test_a_refusal_that_no_lock_explains_is_one_of_permission(stub: Stub, age_days: int) -> None:
    """Who may not see how long an object is kept goes by its age."""
    stored = formatdate(time.time() - age_days * DAY_S, usegmt=True)
    answers = {
        "GET object-lock": ENABLED,
        "GET versions": versions(segment(1)),
        "POST delete": refused(segment(1)),
        "HEAD versionId": Reply(headers={"Last-Modified": stored}),
    }
    stub.answer = lambda asked: answers[asked.operation]
    expected = StorageDenied if age_days else ObjectsLocked
    with stub.transport(lock_days=1) as transport, pytest.raises(expected):
        transport.delete([segment(1)])


def test_what_is_gone_by_the_time_it_is_looked_at_is_deleted(stub: Stub) -> None:
    answers = {
        "GET object-lock": ENABLED,
        "GET versions": versions(segment(1)),
        "POST delete": refused(segment(1)),
        "HEAD versionId": Reply(404),
    }
    stub.answer = lambda asked: answers[asked.operation]
    with stub.transport(lock_days=1) as transport:
        transport.delete([segment(1)])
