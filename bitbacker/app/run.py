"""Everything that the configuration says: back up, forget, prune, check, and tell.

One remote or source that fails does not stop the others, and what was not backed up is not forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeVar

from bitbacker.app.access import Access, Connection, Prompt, Wiring
from bitbacker.app.backup import BackupRequest, back_up, configured_job
from bitbacker.app.check import check
from bitbacker.app.due import CHECKED, READ_DATA, CheckTimes
from bitbacker.app.forget import execute_forget, plan_source
from bitbacker.app.prune import PruneResult, free_at_ns, plan, prune
from bitbacker.app.telling import TellingObserver, fanout_of
from bitbacker.config import Remote, SourceSpec, choose_remotes, shown_url
from bitbacker.engine.backup import BackupResult
from bitbacker.engine.observe import Observer
from bitbacker.errors import (
    BitBackerError,
    ConfigError,
    DamageError,
    InterruptedByUser,
    RaceLost,
    RepositoryMissing,
    SourceMissing,
    SourceUnreadable,
)
from bitbacker.host import Fanout
from bitbacker.spi import (
    BackupFinished,
    CheckFinished,
    RetentionApplied,
    RunFailed,
    RunFinished,
    RunStarted,
)

COMMAND = "run"

T = TypeVar("T")

_MILD = (0, SourceUnreadable.exit_code, RaceLost.exit_code, SourceMissing.exit_code, BitBackerError.exit_code)
"""From the mildest on; what is not here is worse, and damage is the worst."""


def worst(exit_codes: Iterable[int]) -> int:
    """The exit code that says most about what has to be done."""

    def weight(code: int) -> int:
        if code == DamageError.exit_code:
            return len(_MILD) + 1
        return _MILD.index(code) if code in _MILD else len(_MILD)

    return max(exit_codes, key=weight, default=0)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that `run` has done or failed to do.

    `verb` is init, open, backup, forget, prune or check; `text` says what came of it.
    `error` is what it failed with, None when it did not; `source` is empty for a whole remote.
    """

    remote: str
    source: str
    verb: str
    text: str
    exit_code: int = 0
    error: BitBackerError | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of a run: of its progress, of each step, and of what everybody who writes must be told."""

    observer: Observer
    on_step: Callable[[Step], None]
    on_warning: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of all steps; `exit_code` is the worst of theirs."""

    steps: tuple[Step, ...]
    exit_code: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class RunRequest:
    """How to run; `strict` is how every backup is done, whatever the configuration says."""

    dry_run: bool = False
    strict: bool = False


def run(access: Access, prompt: Prompt | None, request: RunRequest, listener: Listener) -> RunResult:
    """Work through remotes and sources in the order of the file.

    Raises `ConfigError`, `UsageError`, `PluginError` before anything was done; later errors are steps.
    """
    wiring = Wiring(access, prompt)
    if not wiring.config.sources:
        raise ConfigError("there is nothing to run", hint="name a file with [sources.NAME] by --config FILE")
    remotes = choose_remotes(wiring.config, [access.remote] if access.remote else [])
    started = time.monotonic()
    fanout = fanout_of(wiring, listener.observer)
    fanout.send(RunStarted(time.time_ns(), COMMAND))
    running = _Running(wiring, request, listener, fanout)
    try:
        for remote in remotes:
            running.remote(remote)
        exit_code = worst(step.exit_code for step in running.steps)
        duration_s = time.monotonic() - started
        fanout.send(RunFinished(time.time_ns(), COMMAND, exit_code, duration_s))
    except KeyboardInterrupt:
        fanout.send(RunFailed(time.time_ns(), COMMAND, InterruptedByUser.code, "interrupted"))
        raise
    finally:
        fanout.close()
    return RunResult(tuple(running.steps), exit_code, duration_s)


class _Running:
    """One run: what has been done so far, and the steps still to do on each remote."""

    def __init__(self, wiring: Wiring, request: RunRequest, listener: Listener, fanout: Fanout) -> None:
        self.steps: list[Step] = []
        self._wiring = wiring
        self._request = request
        self._observer = listener.observer
        self._listener = listener
        self._fanout = fanout

    def remote(self, remote: Remote) -> None:
        """Everything that is to be done on one remote."""
        name = remote.name or shown_url(remote.url)
        sources = [
            spec for spec in self._wiring.config.sources if not remote.name or remote.name in spec.remotes
        ]
        connection = self._attempt(_Place(name), "open", lambda: self._open(name, remote))
        if connection is None:
            return
        if connection.warning and not self._request.dry_run:
            self._listener.on_warning(f"{name}: {connection.warning}")
        try:
            saved = [spec for spec in sources if self._back_up(_Place(name, spec.name), connection, spec)]
            forgotten = [spec for spec in saved if self._forget(_Place(name, spec.name), connection, spec)]
            wanted = [spec.retention for spec in forgotten if spec.retention and spec.retention.prune]
            if wanted:
                strict = any(retention.strict for retention in wanted)
                self._attempt(_Place(name), "prune", lambda: self._prune(name, connection, strict=strict))
            if not self._request.dry_run:
                self._attempt(_Place(name), "check", lambda: self._check(name, connection))
        finally:
            connection.close()

    def _open(self, name: str, remote: Remote) -> Connection:
        try:
            return self._wiring.open(remote)
        except RepositoryMissing:
            # Where a repository was used before, a new one would hide that the old one is gone.
            if not remote.create or self._request.dry_run or self._wiring.used_before(remote):
                raise
        connection = self._wiring.create(remote)
        self._did(Step(name, "", "init", f"repository made at {shown_url(remote.url)}"))
        return connection

    def _back_up(self, place: _Place, connection: Connection, spec: SourceSpec) -> bool:
        """Whether there is a new snapshot."""

        def work() -> BackupResult:
            request = BackupRequest(dry_run=self._request.dry_run, strict=self._request.strict)
            job = configured_job(self._wiring, spec, request)
            result = back_up(connection, job, TellingObserver(self._observer, self._fanout, spec.name))
            self._did(_backup_step(place, result, dry_run=self._request.dry_run))
            if not self._request.dry_run:
                self._fanout.send(_backup_event(spec.name, result))
            return result

        return self._attempt(place, "backup", work) is not None

    def _forget(self, place: _Place, connection: Connection, spec: SourceSpec) -> bool:
        """Whether something was forgotten."""

        def work() -> bool:
            planned = plan_source(connection, spec)
            gone = len(planned.forgotten)
            if self._request.dry_run:
                self._did(Step(*place.names, "forget", f"would keep {planned.kept}, forget {gone}"))
                return False
            execute_forget(connection, planned)
            self._did(Step(*place.names, "forget", f"kept {planned.kept}, forgot {gone}"))
            self._fanout.send(RetentionApplied(time.time_ns(), planned.kept, gone))
            return gone > 0

        return spec.retention is not None and bool(self._attempt(place, "forget", work))

    def _prune(self, name: str, connection: Connection, *, strict: bool) -> None:
        result = prune(connection, plan(connection, self._observer, strict=strict))
        text = f"removed {result.deleted_segments} segments{_locked_text(result)}"
        self._did(Step(name, "", "prune", text))

    def _check(self, name: str, connection: Connection) -> None:
        wanted = self._wiring.config.check
        times = CheckTimes(connection, time.time_ns())
        read_data = times.due(READ_DATA, wanted.read_data_every_s)
        if not read_data and not times.due(CHECKED, wanted.every_s):
            return
        problems = len(check(connection, self._observer, read_data=read_data).problems)
        self._fanout.send(CheckFinished(time.time_ns(), problems, read_data))
        text = f"found {problems} problems" if problems else "found nothing wrong"
        self._did(Step(name, "", "check", text, DamageError.exit_code if problems else 0))

    def _attempt(self, place: _Place, verb: str, work: Callable[[], T]) -> T | None:
        """Do it; a failure becomes a step, and the run goes on."""
        try:
            return work()
        except BitBackerError as error:
            found = error
        except Exception as error:  # noqa: BLE001  # a bug in one plugin must not stop the other backups
            found = BitBackerError(f"{type(error).__name__}: {error}", hint="this is a bug, please report it")
            found.__cause__ = error
        self._did(Step(*place.names, verb, found.message, found.exit_code, found))
        self._fanout.send(RunFailed(time.time_ns(), COMMAND, found.code, found.message))
        return None

    def _did(self, step: Step) -> None:
        self.steps.append(step)
        self._listener.on_step(step)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step belongs."""

    remote: str
    source: str = ""

    @property
    def names(self) -> tuple[str, str]:
        return self.remote, self.source


def _locked_text(result: PruneResult) -> str:
    if not result.locked_segments:
        return ""
    until_ns = free_at_ns(result)
    if until_ns is None:
        return f", {result.locked_segments} are locked"
    until = datetime.fromtimestamp(until_ns // 10**9, tz=timezone.utc)
    return f", {result.locked_segments} are locked until {until:%Y-%m-%d %H:%M:%S} UTC"


def _backup_step(place: _Place, result: BackupResult, *, dry_run: bool) -> Step:
    stats = result.snapshot.stats
    saved = "nothing stored" if dry_run else f"snapshot {result.snapshot.id[:8]} saved"
    text = f"{saved}: {stats.files_changed} new or changed, {stats.files_unmodified} unmodified"
    if not result.problems:
        return Step(*place.names, "backup", text)
    return Step(*place.names, "backup", f"{text}, {result.problems} problems", SourceUnreadable.exit_code)


def _backup_event(source: str, result: BackupResult) -> BackupFinished:
    stats = result.snapshot.stats
    return BackupFinished(
        time.time_ns(),
        source,
        result.snapshot.id,
        stats.files_changed,
        stats.files_unmodified,
        result.problems,
        stats.size_bytes,
        stats.added_bytes,
        stats.stored_bytes,
        stats.duration_ms / 1000,
    )
