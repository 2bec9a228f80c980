"""The entry point: parse, run, and turn whatever happens into an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from typer.completion import get_completion_inspect_parameters

from bitbacker.cli.arenas import one_arena
from bitbacker.cli.failures import CLOSED_PIPE, report
from bitbacker.cli.lazy import PipeClosed, root
from bitbacker.cli.table import WORDS
from bitbacker.errors import InterruptedByUser

INTERRUPTED = InterruptedByUser.exit_code


def main() -> None:
    """Run the command line of this process and end it."""
    one_arena()
    arguments = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        # An old locale must not turn a file name into a crash.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # they are text files here
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    before_dashes = list(arguments)[: arguments.index("--")] if "--" in arguments else list(arguments)
    try:
        # This is what makes Typer know the shells; the options that it returns are not wanted.
        get_completion_inspect_parameters()
        code = root(WORDS).main(list(arguments), prog_name="bitbacker", standalone_mode=False)
        sys.stdout.flush()
    except (PipeClosed, BrokenPipeError):
        # Python flushes again when it ends; then it shall not meet the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the last line of defence
        return report(error, as_json="--json" in before_dashes, verbose=_is_verbose(before_dashes))
    return code if isinstance(code, int) else 0


def _is_verbose(arguments: Sequence[str]) -> bool:
    return any(word == "--verbose" or word.startswith("-v") for word in arguments)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal unwinds the command; whoever cannot wait for that sends another one."""
    del number, frame
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, lambda *_: os._exit(INTERRUPTED))
    raise KeyboardInterrupt
