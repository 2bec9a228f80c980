"""Backing up paths, a pipe, or a source of the configuration."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bitbacker
from bitbacker.app.access import Connection, Wiring
from bitbacker.config import SourceSpec, make_config
from bitbacker.engine.backup import BackupOptions, BackupResult, backup
from bitbacker.engine.observe import Observer
from bitbacker.errors import ConfigError, UsageError
from bitbacker.spi import Source

__all__ = ["BackupRequest", "BackupResult", "Job", "back_up", "configured_job", "job_of"]

COMMAND_LINE = "the command line"


@dataclass(frozen=True, slots=True)
class FilesRequest:
    """Paths from the command line and what is left out of them."""

    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    exclude_file: tuple[str, ...] = ()
    exclude_if_present: tuple[str, ...] = ()
    one_file_system: bool = False
    larger_than: str = ""
    include_caches: bool = False


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the command line asks for: paths, or a source's name, or standard input."""

    files: FilesRequest = FilesRequest()
    source: str = ""
    stdin: bool = False
    stdin_filename: str = "stdin"
    tags: tuple[str, ...] = ()
    host: str = ""
    read_all: bool = False
    dry_run: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One source, made, and how its snapshot is called."""

    name: str
    source: Source
    host: str
    tags: tuple[str, ...] = ()
    read_all: bool = False
    dry_run: bool = False
    strict: bool = False


def job_of(wiring: Wiring, request: BackupRequest) -> Job:
    """Make the source that is asked for.

    Raises `UsageError` when none or two are, and for options that the source refuses; `ConfigError`,
    `PluginError`.
    """
    asked = [bool(request.files.paths), bool(request.source), request.stdin]
    if sum(asked) > 1:
        raise UsageError("paths, --source and --stdin exclude each other")
    if request.source:
        _refuse_rules(request.files)
        spec = wiring.named_source(request.source)
        return configured_job(wiring, spec, request)
    if request.stdin:
        _refuse_rules(request.files)
        source = _made(wiring, "stdin", {"name": request.stdin_filename})
        return _job(request, request.stdin_filename, source)
    if not request.files.paths:
        raise UsageError(
            "nothing is named to back up",
            hint="name paths, --source NAME or --stdin; bitbacker run backs up what the configuration says",
        )
    if "" in request.files.paths:
        raise UsageError("an empty path is named to back up", hint="write . for this directory")
    paths = sorted({os.path.abspath(path) for path in request.files.paths})
    return _job(request, ", ".join(paths), _made(wiring, "files", _files_options(request.files, paths)))


def configured_job(wiring: Wiring, spec: SourceSpec, request: BackupRequest | None = None) -> Job:
    """Make a source of the configuration; the request may add tags and overrule the host."""
    request = request or BackupRequest()
    return Job(
        spec.name,
        wiring.source(spec),
        request.host or spec.host or this_host(),
        (*spec.tags, *(tag for tag in request.tags if tag not in spec.tags)),
        request.read_all,
        request.dry_run,
        request.strict,
    )


def back_up(connection: Connection, job: Job, observer: Observer) -> BackupResult:
    """Make a snapshot, strictly if the job or the configuration says so.  Closes the source.

    Raises `SourceMissing`, `StorageError`, `RaceLost`, `DamageError`.
    """
    configured = connection.wiring.config.repository
    options = BackupOptions(
        host=job.host,
        source=job.name,
        tags=job.tags,
        time_ns=time.time_ns(),
        program=f"bitbacker {bitbacker.__version__}",
        compression_level=configured.compression_level,
        read_all=job.read_all,
        dry_run=job.dry_run,
        strict=job.strict or configured.strict,
    )
    try:
        return backup(connection.repository, job.source, options, observer)
    finally:
        job.source.close()


@contextmanager
def command_line_errors() -> Iterator[None]:
    """What a plugin's configuration refuses is the command line's fault where it came from there."""
    try:
        yield
    except ConfigError as error:
        raise UsageError(error.message) from error


def this_host() -> str:
    """What this machine calls itself."""
    return socket.gethostname()


def _job(request: BackupRequest, name: str, source: Source) -> Job:
    host = request.host or this_host()
    return Job(name, source, host, request.tags, request.read_all, request.dry_run, request.strict)


def _made(wiring: Wiring, plugin: str, options: dict[str, Any]) -> Source:
    offered = wiring.host.source(plugin)
    with command_line_errors():
        return offered(make_config(offered.Config, options, COMMAND_LINE))


def _files_options(files: FilesRequest, paths: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "paths": tuple(paths),
        "exclude": files.exclude,
        "exclude_file": tuple(os.path.abspath(path) for path in files.exclude_file),
        "exclude_if_present": files.exclude_if_present,
        "exclude_caches": not files.include_caches,
        "one_file_system": files.one_file_system,
    }
    if files.larger_than:
        options["larger_than_bytes"] = files.larger_than
    return options


def _refuse_rules(files: FilesRequest) -> None:
    if files != FilesRequest():
        raise UsageError(
            "exclude rules on the command line go with paths",
            hint="write the rules of a source into the configuration",
        )
