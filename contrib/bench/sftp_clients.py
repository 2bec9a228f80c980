"""The clients in Python that `sftp.py` measures, each in a process of its own because of its memory.

    python contrib/bench/sftp_clients.py plugin|single put|get FOLDER URL KEY_FILE KNOWN_HOSTS

`plugin` is BitBacker's transport with its defaults, used from as many threads as it asks for.  `single` is
one connection with one request in flight: each 32 KiB wait for the answer to the 32 KiB before, and for
nothing else.  FOLDER holds what is put, or gets what is there.  Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import paramiko

from bitbacker.spi import Transport
from bitbacker_plugins import sftp

SEGMENTS = "segments"


def plugin(way: str, folder: Path, url: str, key_file: str, known_hosts: str) -> int:
    """Move all objects through the transport; the answer is how many calls it takes at once."""
    make = sftp.bitbacker_transport("sftp")
    assert make is not None
    transport = make(url, make.Config(key_file=key_file, known_hosts=known_hosts))

    def put(name: str) -> None:
        transport.put(f"{SEGMENTS}/{name}", (folder / name).read_bytes())

    def get(name: str) -> None:
        (folder / name).write_bytes(transport.get(f"{SEGMENTS}/{name}"))

    concurrency: int = transport.abilities.concurrency
    try:
        names = sorted(os.listdir(folder)) if way == "put" else _listed(transport)
        with ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(put if way == "put" else get, names))
    finally:
        transport.close()
    return concurrency


def _listed(transport: Transport) -> Sequence[str]:
    return [info.name.rpartition("/")[2] for info in transport.list(f"{SEGMENTS}/")]


def single(way: str, folder: Path, url: str, key_file: str, known_hosts: str) -> int:
    """Move all files through one connection, each request only when the last one is answered."""
    place = urlsplit(url)
    far = f"{place.path}/{SEGMENTS}"
    with paramiko.SSHClient() as client:
        client.load_host_keys(known_hosts)
        client.connect(
            str(place.hostname),
            place.port or 22,
            place.username,
            key_filename=key_file,
            allow_agent=False,
            look_for_keys=False,
        )
        with client.open_sftp() as session:
            # Nagle's algorithm would add another 40 ms to a request, which is not what is compared.
            client.get_transport().sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for name in sorted(os.listdir(folder) if way == "put" else session.listdir(far)):
                with session.open(f"{far}/{name}", "wb" if way == "put" else "rb") as file:
                    if way == "put":
                        file.write((folder / name).read_bytes())
                    else:
                        # Asked for nothing in particular, it would read 8 KiB at a time.
                        (folder / name).write_bytes(file.read(file.stat().st_size))
    return 1


def main() -> None:
    which, way, folder, url, key_file, known_hosts = sys.argv[1:]
    started = time.monotonic()
    move = plugin if which == "plugin" else single
    concurrency = move(way, Path(folder), url, key_file, known_hosts)
    elapsed_s = time.monotonic() - started
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"elapsed_s": elapsed_s, "peak_bytes": peak_bytes, "concurrency": concurrency}))


if __name__ == "__main__":
    main()
