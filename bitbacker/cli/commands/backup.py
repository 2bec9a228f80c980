"""`bitbacker backup`."""

from __future__ import annotations

from typing import Annotated

import typer

from bitbacker.app.access import Wiring
from bitbacker.app.backup import BackupRequest, BackupResult, FilesRequest, back_up, job_of
from bitbacker.cli.asking import access_of, password_prompt
from bitbacker.cli.options import DryRun, StrictBackup
from bitbacker.cli.output import Output, duration, size
from bitbacker.cli.progress import observing
from bitbacker.cli.records import snapshot_fields
from bitbacker.errors import SourceUnreadable

Texts = list[str] | None

Paths = Annotated[Texts, typer.Argument(metavar="PATH", help="Files and directories.", show_default=False)]
SourceName = Annotated[
    str, typer.Option(metavar="NAME", help="A source of the configuration.", show_default=False)
]
Exclude = Annotated[
    Texts,
    typer.Option("--exclude", "-e", metavar="RULE", help="Leave out, as in .gitignore; may be repeated."),
]
ExcludeFile = Annotated[
    Texts, typer.Option(metavar="FILE", help="Rules from a file, one a line; may be repeated.")
]
ExcludeIfPresent = Annotated[
    Texts, typer.Option(metavar="NAME", help="Leave out directories that hold such a file; may be repeated.")
]
LargerThan = Annotated[str, typer.Option(metavar="SIZE", help="Leave out larger files.", show_default=False)]
IncludeCaches = Annotated[
    bool, typer.Option("--include-caches", help="Also directories that a CACHEDIR.TAG marks.")
]
OneFileSystem = Annotated[
    bool, typer.Option("--one-file-system", "-x", help="Stay on the file systems of the paths.")
]
Stdin = Annotated[bool, typer.Option("--stdin", help="Back up what is piped in.")]
StdinFilename = Annotated[str, typer.Option(metavar="NAME", help="What the file from --stdin is called.")]
NewTags = Annotated[Texts, typer.Option(metavar="TAG", help="Put this on the snapshot; may be repeated.")]
HostName = Annotated[
    str,
    typer.Option("--host", "-H", metavar="NAME", help="Instead of this machine's name.", show_default=False),
]
ReadAll = Annotated[bool, typer.Option("--read-all", help="Read every file, also those that look unchanged.")]


def backup(
    ctx: typer.Context,
    *,
    paths: Paths = None,
    source: SourceName = "",
    exclude: Exclude = None,
    exclude_file: ExcludeFile = None,
    exclude_if_present: ExcludeIfPresent = None,
    larger_than: LargerThan = "",
    include_caches: IncludeCaches = False,
    one_file_system: OneFileSystem = False,
    stdin: Stdin = False,
    stdin_filename: StdinFilename = "stdin",
    tag: NewTags = None,
    host: HostName = "",
    read_all: ReadAll = False,
    strict: StrictBackup = False,
    dry_run: DryRun = False,
) -> int:
    """Back up paths or a configured source, or what is piped in.

    Only what has changed is read and stored. Exit code 3 means that there is a snapshot, but some
    files could not be read.

    A snapshot belongs to a source: that of the configuration, or one that is called like the paths or
    the piped file. It is compared with the last snapshot of its source.

    The storage sees how much of the last snapshot is fetched. With --strict, or `strict = true` in
    [repository], a machine without a cache fetches the whole list of its files, about 5.7 bytes each,
    and the index, whatever has changed.

    Examples:
      bitbacker -r file:///srv/backup backup ~/documents ~/pictures
      bitbacker -r file:///srv/backup backup / -x -e '*.tmp' -e /var/cache
      bitbacker --config bitbacker.toml -r offsite backup --source home
      pg_dump shop | bitbacker -r file:///srv/backup backup --stdin --stdin-filename shop.sql
    """
    out = Output(ctx.obj)
    files = FilesRequest(
        tuple(paths or ()),
        tuple(exclude or ()),
        tuple(exclude_file or ()),
        tuple(exclude_if_present or ()),
        one_file_system=one_file_system,
        larger_than=larger_than,
        include_caches=include_caches,
    )
    request = BackupRequest(
        files,
        source,
        stdin,
        stdin_filename,
        tuple(tag or ()),
        host,
        read_all=read_all,
        dry_run=dry_run,
        strict=strict,
    )
    wiring = Wiring(access_of(ctx.obj), password_prompt(stdin_is_data=stdin))
    job = job_of(wiring, request)
    connection = wiring.open(wiring.remote)
    try:
        if not dry_run:
            out.warn(connection.warning)
        with observing(ctx.obj) as observer:
            result = back_up(connection, job, observer)
    finally:
        connection.close()
    show_backup(out, result, dry_run=dry_run)
    return SourceUnreadable.exit_code if result.problems else 0


def show_backup(out: Output, result: BackupResult, *, dry_run: bool) -> None:
    """The summary at the end."""
    stats = result.snapshot.stats
    would = "Would add:" if dry_run else "Added:"
    out.detail(f"Files:   {stats.files_changed} new or changed, {stats.files_unmodified} unmodified")
    out.detail(f"{would:<8} {size(stats.added_bytes)}")
    out.detail(f"Stored:  {size(stats.stored_bytes)}")
    out.detail(
        f"Seen:    {stats.files} files, {size(stats.size_bytes)} in {duration(stats.duration_ms / 1000)}"
    )
    if result.problems:
        out.text(f"{result.problems} problems: the snapshot lacks what could not be read")
    out.text("nothing was stored" if dry_run else f"snapshot {result.snapshot.id[:8]} saved")
    out.record(
        "summary",
        dry_run=dry_run,
        snapshot=snapshot_fields(result.snapshot),
        problems=result.problems,
        unchanged=result.unchanged,
    )
