"""What the process starts with: ready for Ctrl-C before anything slow is loaded."""

from __future__ import annotations

import os
import signal
from types import FrameType

from bitbacker.errors import InterruptedByUser


def main() -> None:
    """Load the command line and run it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _not_begun)
    # Loading takes a tenth of a second, in which an interrupt must not end in a traceback.
    from bitbacker.cli.main import main as run

    run()


def _not_begun(number: int, frame: FrameType | None) -> None:
    del number, frame
    os.write(2, b"bitbacker: error: interrupted before anything was begun\n")
    os._exit(InterruptedByUser.exit_code)
