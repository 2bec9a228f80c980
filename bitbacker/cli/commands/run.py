"""`bitbacker run`."""

from __future__ import annotations

import typer

from bitbacker.app.run import Listener, RunRequest, Step
from bitbacker.app.run import run as run_all
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.escape import escaped
from bitbacker.cli.failures import report
from bitbacker.cli.options import DryRun, Globals, StrictBackup
from bitbacker.cli.output import Output, duration
from bitbacker.cli.progress import observing


def run(ctx: typer.Context, strict: StrictBackup = False, dry_run: DryRun = False) -> int:
    """Do everything that the configuration says.

    For each remote: make the repository if it may, back up each source, forget by its policy, prune,
    and check when it is time. What fails is reported, to notifiers too, and does not stop the rest; the
    exit code is the worst of all steps.

    --strict is for the backups: a machine without a cache then fetches the list of all files, about 5.7
    bytes each, and the index. Prunes are strict where [retention] says so.

    Examples:
      bitbacker run --config bitbacker.toml
      bitbacker run -r offsite
      bitbacker run --dry-run --json
    """
    chosen: Globals = ctx.obj
    out = Output(chosen)

    def on_step(step: Step) -> None:
        _show(out, step)
        if step.error is not None:
            report(step.error, as_json=chosen.json, verbose=bool(chosen.verbose))

    with observing(chosen) as observer:
        request = RunRequest(dry_run=dry_run, strict=strict)
        listener = Listener(observer, on_step, lambda text: out.warn(escaped(text)))
        result = run_all(access_of(chosen), password_prompt(), request, listener)
    failed = sum(step.error is not None for step in result.steps)
    out.detail(f"{len(result.steps)} steps, {failed} failed, in {duration(result.duration_s)}")
    out.record(
        "summary",
        steps=len(result.steps),
        failed=failed,
        exit_code=result.exit_code,
        duration_s=round(result.duration_s, 3),
    )
    return result.exit_code


def _show(out: Output, step: Step) -> None:
    where = f"{step.remote}: {step.source}: " if step.source else f"{step.remote}: "
    # What a step failed with stands on standard error.
    out.text(escaped(f"{where}{step.verb}: {'failed' if step.error is not None else step.text}"))
    out.record(
        "step",
        remote=step.remote,
        source=step.source,
        verb=step.verb,
        text=escaped(step.text),
        exit_code=step.exit_code,
        code=step.error.code if step.error is not None else "",
    )
