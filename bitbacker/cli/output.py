"""What commands write to standard output: calm text, or one JSON object a line."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

import typer

from bitbacker.cli.escape import escaped
from bitbacker.cli.options import Globals

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_KIB = 1024


class Output:
    """Where results go; a command gives both forms, and the one that was asked for is written."""

    def __init__(self, chosen: Globals) -> None:
        self.as_json = chosen.json
        self.verbose = chosen.verbose
        self.quiet = chosen.quiet

    def text(self, text: str = "") -> None:
        """One line for people; its parts from outside have been escaped."""
        if not self.as_json:
            typer.echo(text)

    def detail(self, text: str) -> None:
        """A line that -q leaves out."""
        if not self.quiet:
            self.text(text)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
        """Aligned columns under a head; the numbers in `right` are columns aligned to the right."""
        if not self.as_json:
            for line in aligned([head, *rows], right):
                typer.echo(line)

    def warn(self, text: str) -> None:
        """One line on standard error, for people or for programs; no text, no line."""
        if text and self.as_json:
            typer.echo(json.dumps({"message_type": "warning", "message": text}), err=True)
        elif text:
            typer.echo(f"bitbacker: warning: {text}", err=True)

    def record(self, message_type: str, **fields: object) -> None:
        """One line for programs."""
        if self.as_json:
            typer.echo(json.dumps({"message_type": message_type, **fields}))


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as lines with two spaces between columns; every cell is escaped."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return lines


def size(count: int) -> str:
    """Bytes for people: `1.205 GiB`."""
    value, unit = float(count), 0
    while value >= _KIB and unit < len(_UNITS) - 1:
        value, unit = value / _KIB, unit + 1
    return f"{value:.3f} {_UNITS[unit]}" if unit else f"{count} B"


def duration(seconds: float) -> str:
    """`0:07`, `12:34` or `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def local_time(time_ns: int) -> str:
    """To the second, in the time zone of whoever reads it."""
    return (
        datetime.fromtimestamp(time_ns // 10**9, tz=timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    )


def json_time(time_ns: int) -> str:
    """RFC 3339 in UTC, to the nanosecond."""
    seconds, rest = divmod(time_ns, 10**9)
    day = datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{day}.{rest:09}Z"


def json_path(path: bytes, key: str = "path") -> dict[str, str]:
    """A path without loss: text, and when its bytes are not UTF-8, those too, in base64."""
    try:
        return {key: path.decode()}
    except UnicodeDecodeError:
        return {key: path.decode(errors="replace"), f"{key}_base64": base64.b64encode(path).decode()}


def json_text(text: str, key: str) -> dict[str, str]:
    """The same for text that may hold undecodable bytes."""
    return json_path(os.fsencode(text), key)
