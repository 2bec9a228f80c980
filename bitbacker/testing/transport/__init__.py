"""The promises of `bitbacker.spi.transport` as tests: subclass `TransportContract`, override `connect`.

    class TestMyTransport(TransportContract):
        @pytest.fixture
        def connect(self, my_server: str) -> Connect:
            return lambda: MyTransport(f"mine://{my_server}/", MyTransport.Config())

A transport that leads to a real server is handed out by `bitbacker.testing.patience.patient`.

The storage must be fresh and empty for every test, and writable.  What an append-only credential may
not do is tested to be denied, when the transport's abilities say `append_only`.  What needs a power
cut is not tested here; docs/transports.md says how a transport can test that itself.
"""

from __future__ import annotations

from bitbacker.testing.transport.changing import Changing
from bitbacker.testing.transport.content import Content
from bitbacker.testing.transport.listing import Listing
from bitbacker.testing.transport.overwriting import Overwriting
from bitbacker.testing.transport.stage import KIB, MIB, Connect, head, in_threads, payload, put_all, segment
from bitbacker.testing.transport.using import Using

__all__ = [
    "KIB",
    "MIB",
    "Connect",
    "TransportContract",
    "head",
    "in_threads",
    "payload",
    "put_all",
    "segment",
]


class TransportContract(Using, Content, Overwriting, Changing, Listing, kit=True):
    """Everything that a transport promises."""
