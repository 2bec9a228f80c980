"""The fields of JSON lines that several commands write; docs/reference/json.md explains them."""

from __future__ import annotations

from dataclasses import asdict

from bitbacker.app.select import Snapshot
from bitbacker.cli.output import json_text, json_time


def snapshot_fields(snapshot: Snapshot) -> dict[str, object]:
    """A snapshot without its content."""
    return {
        "id": snapshot.id,
        "time": json_time(snapshot.time_ns),
        "host": snapshot.host,
        **json_text(snapshot.source, "source"),
        "roots": [json_text(root, "path") for root in snapshot.roots],
        "tags": list(snapshot.tags),
        "parent": snapshot.parent.hex() if snapshot.parent else None,
        "partial": snapshot.partial,
        "program": snapshot.program,
        "stats": asdict(snapshot.stats),
    }
