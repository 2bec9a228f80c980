"""An event as one line of text or JSON, also of classes that came after this module."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from bitbacker.spi import CheckFinished, Event, RunFailed, RunFinished, SourceProblem

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def json_line(event: Event) -> str:
    """An object with `event`, `time` (ISO 8601, UTC) and the fields; never a line break inside."""
    fields = {"event": event_name(event), "time": _time(event), **_fields(event)}
    return json.dumps(fields, default=str)


def text_line(event: Event) -> str:
    """Time, name, and `key=value` with quotes where a value needs them."""
    values = [f"{key}={_text(value)}" for key, value in _fields(event).items()]
    return " ".join([_time(event), event_name(event), *values])


def event_name(event: Event) -> str:
    """The class in small letters: `backup_finished`."""
    return _CAPITAL.sub("_", type(event).__name__).lower()


def level_of(event: Event) -> int:
    """How loud an event is for `logging`."""
    if isinstance(event, RunFailed) or (isinstance(event, CheckFinished) and event.problems):
        return logging.ERROR
    if isinstance(event, SourceProblem) or (isinstance(event, RunFinished) and event.exit_code):
        return logging.WARNING
    return logging.INFO


def _fields(event: Event) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(event) if field.name != "time_ns"]
    return {name: getattr(event, name) for name in names}


def _time(event: Event) -> str:
    moment = _EPOCH + timedelta(microseconds=event.time_ns // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    # Quoting as JSON does leaves no control character, no line break and no surrogate.
    return text if re.fullmatch(r"[!#-~]+", text) else json.dumps(text)
