"""The benchmark of the transport sftp: a tiny run with all clients, and what its figures rest on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BENCH = Path(__file__).parents[2] / "contrib" / "bench"
HOST = "127.0.0.1"
OBJECTS, OBJECT_BYTES = 3, 100_000


def test_a_run_ends_in_tables(tmp_path: Path) -> None:
    done = bench(tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    loopback = ["upload, put and get", "upload, put -f", "upload, transport"]
    loopback += ["download, put and get", "download, transport"]
    delayed = [
        f"{way}, {client}"
        for way in ("upload", "download")
        for client in ("one request in flight", "transport")
    ]
    assert ["loopback", *loopback, "5 ms added", *delayed] == [row[0] for row in rows[:-2]]
    assert {"1.00"} == {row[2] for row in rows if row[0].endswith(("put and get", "in flight"))}
    assert f"4 x {OBJECT_BYTES / 2**20:g} + 100" in rows[-1][1]
    assert not (tmp_path / "run").exists(), "it cleans up"


def test_a_download_that_is_not_what_was_uploaded_ends_the_run(tmp_path: Path) -> None:
    """The control of the benchmark's own check: a program `sftp` that uploads one byte more."""
    program = tmp_path / "bin" / "sftp"
    program.parent.mkdir()
    run = tmp_path / "run"
    spoil = "for name in *; do echo >> $name; done"
    program.write_text(f"#!/bin/sh\ncd {run}/far/*/segments && cp {run}/objects/* . && {spoil}\n")
    program.chmod(0o755)
    done = bench(tmp_path, path=str(program.parent))
    assert done.returncode == 1
    assert "is not what is in" in done.stderr


def test_the_delay_is_added_once_to_a_round_trip() -> None:
    with echo() as port, delayed(port, 0.05) as slow:
        near, far = round_trip_s(port), round_trip_s(slow)
    assert 0.1 <= far - near < 0.15


def test_the_delay_takes_no_throughput_away() -> None:
    """64 MiB on the way at once, which a proxy that waits for each piece would take minutes for."""
    with echo() as port, delayed(port, 0.05) as slow, socket.create_connection((HOST, slow)) as connection:
        data = bytes(1 << 20)
        received = 0
        started = time.monotonic()
        sender = threading.Thread(target=lambda: [connection.sendall(data) for _ in range(64)])
        sender.start()
        while received < 64 << 20:
            received += len(connection.recv(1 << 20))
        sender.join()
    assert time.monotonic() - started < 5


def bench(work: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "sftp.py"), "--work", str(work), "--rounds", "1", "--sampled", "1"]
    command += ["--objects", f"{OBJECTS}", "--object-bytes", f"{OBJECT_BYTES}", "--delay-ms", "5"]
    environment = {**os.environ, "PATH": os.pathsep.join(filter(None, [path, os.environ["PATH"]]))}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=200)


@contextmanager
def delayed(port: int, each_way_s: float) -> Iterator[int]:
    """The proxy of the benchmark, before a server."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        own = listener.getsockname()[1]
    command = [sys.executable, str(BENCH / "loopback.py"), str(port), str(each_way_s), str(own)]
    with subprocess.Popen(command) as proxy:
        try:
            for _ in range(1000):
                with suppress(OSError), socket.create_connection((HOST, own)):
                    break
                time.sleep(0.02)
            yield own
        finally:
            proxy.terminate()


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=[connection]).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(1 << 20):
                connection.sendall(data)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def round_trip_s(port: int) -> float:
    """The shortest of a few."""
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = []
        for _ in range(10):
            started = time.monotonic()
            connection.sendall(b"?")
            assert b"?" == connection.recv(1)
            took.append(time.monotonic() - started)
    return min(took)
