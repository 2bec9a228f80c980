"""`log`: every event as a line, in a file or through Python's `logging`.

```toml
[notifiers.log]
plugin = "log"
file = "~/bitbacker.log"    # without it: the logger "bitbacker", which goes to the journal in a service
format = "json"             # or "text"
```

A file is opened for each event and appended to, so that it may be rotated at any time.  It is made with
mode 0600, because the names of files that could not be read are in it.  Through `logging`, failures are
errors, problems are warnings and everything else is information.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import ClassVar, Literal

from bitbacker.errors import BitBackerError
from bitbacker.spi import Event, Notifier, hookimpl, path
from bitbacker_plugins.log.lines import json_line, level_of, text_line

LOGGER = "bitbacker"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where lines go, and what they look like."""

    file: str = path(default="")
    format: Literal["text", "json"] = "text"


class LogNotifier:
    """Writes events down."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[LogConfig]] = LogConfig

    def __init__(self, config: LogConfig) -> None:
        self._file = config.file
        self._line = json_line if config.format == "json" else text_line

    def notify(self, event: Event) -> None:
        """One event, one line.  Raises `BitBackerError` when the file cannot be written."""
        line = self._line(event)
        if self._file:
            self._append(line)
        else:
            logging.getLogger(LOGGER).log(level_of(event), "%s", line)

    def close(self) -> None:
        """Nothing is held between events."""

    def _append(self, line: str) -> None:
        try:
            # One write of O_APPEND keeps the lines of several processes whole.
            fd = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, f"{line}\n".encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise BitBackerError(
                f"the log {self._file} cannot be written: {error.strerror}", hint="check [notifiers]"
            ) from error


@hookimpl
def bitbacker_notifier(name: str) -> type[Notifier] | None:
    return LogNotifier if name == "log" else None
