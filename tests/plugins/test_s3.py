"""The transport `s3`: the whole contract, on servers of different makers."""

from __future__ import annotations

import pytest

from bitbacker.spi import Transport
from bitbacker.testing.patience import patient
from bitbacker.testing.transport import Connect, TransportContract
from bitbacker_plugins.s3 import S3Transport, bitbacker_transport
from s3_servers import VARIABLE, S3Server, environment_server

OVERWRITES = "rclone serve s3 overwrites, whatever If-None-Match says"
CUTS = "rclone serve s3 may answer with the bytes of a new object, cut to the size of the old one"


def connector(server: S3Server) -> Connect:
    url = server.fresh_url()
    return lambda: patient(S3Transport(url, server.config()))


class TestS3KeepsTheContractOnMoto(TransportContract):
    # More than a page, and moto takes 10 ms for each.
    listing_length = 1_100

    @pytest.fixture
    def connect(self, moto: S3Server) -> Connect:
        return connector(moto)


class TestS3KeepsTheContractOnRclone(TransportContract):
    """All but the overwrite rule: rclone does not look at If-None-Match, which `init` finds out.

    And now and then it cuts a replaced object, unless the new one has the size of the old one, as all that
    the framework replaces has.
    """

    listing_length = 2_100

    @pytest.fixture
    def connect(self, rclone: S3Server) -> Connect:
        return connector(rclone)

    @pytest.mark.xfail(reason=OVERWRITES, strict=True, raises=pytest.fail.Exception)
    @pytest.mark.parametrize("second", [b"other"])
    def test_an_existing_name_is_never_changed(
        self, transport: Transport, other: Transport, second: bytes
    ) -> None:
        super().test_an_existing_name_is_never_changed(transport, other, second)

    @pytest.mark.xfail(reason=OVERWRITES, strict=True, raises=pytest.fail.Exception)
    def test_replace_changes_an_existing_object(self, transport: Transport, other: Transport) -> None:
        super().test_replace_changes_an_existing_object(transport, other)

    @pytest.mark.xfail(reason=OVERWRITES, strict=True, raises=AssertionError)
    def test_of_racing_puts_exactly_one_wins(self, connect: Connect) -> None:
        super().test_of_racing_puts_exactly_one_wins(connect)

    # Not strict, because most answers are right.
    @pytest.mark.xfail(reason=CUTS, strict=False, raises=AssertionError)
    def test_a_replaced_object_is_the_old_or_the_new_one(
        self, transport: Transport, other: Transport
    ) -> None:
        super().test_a_replaced_object_is_the_old_or_the_new_one(transport, other)


class TestS3KeepsTheContractOnTheServerOfTheEnvironment(TransportContract):
    listing_length = 1_100

    @pytest.fixture
    def connect(self) -> Connect:
        server = environment_server()
        if server is None:
            pytest.skip(f"{VARIABLE} names no bucket to test with")
        return connector(server)


def test_it_answers_to_the_scheme_of_its_urls_only() -> None:
    assert bitbacker_transport("s3") is S3Transport
    assert bitbacker_transport("s3s") is None
