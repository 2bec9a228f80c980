"""From whatever went wrong to one line on standard error and an exit code."""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import typer

from bitbacker.cli.escape import escaped
from bitbacker.errors import BitBackerError, InterruptedByUser, UsageError

CLICK_ERROR: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""The root of what Click complains about; Typer does not export it."""

BUG_HINT = "this is a bug; -v shows where it happened, please report that"
CLOSED_PIPE = 141
"""What a shell reports for a program that wrote into a pipe which nobody reads."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as users see it; `bug` when nobody foresaw it."""

    code: str
    exit_code: int
    message: str
    hint: str = ""
    bug: bool = False


def understood(error: BaseException) -> Failure:
    """What to say about an error."""
    if isinstance(error, BitBackerError):
        return Failure(error.code, error.exit_code, error.message, error.hint)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return understood(InterruptedByUser("interrupted"))
    if isinstance(error, CLICK_ERROR):
        return _usage(error)
    if isinstance(error, MemoryError):
        return Failure("failed", 1, "there is not enough memory")
    return Failure("bug", 1, f"{type(error).__name__}: {error}", BUG_HINT, bug=True)


def _usage(error: Any) -> Failure:
    """Click's own complaint, in our form: a lower-case start and no full stop."""
    message = error.format_message().strip().rstrip(".")
    ctx = getattr(error, "ctx", None)
    hint = f"see {ctx.command_path} --help" if ctx else UsageError.default_hint
    return Failure(UsageError.code, UsageError.exit_code, message[:1].lower() + message[1:], hint)


def report(error: BaseException, *, as_json: bool, verbose: bool) -> int:
    """Tell the user; return the exit code."""
    failure = understood(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(str(error).rstrip() + "\n")
    elif as_json:
        sys.stderr.write(json.dumps(_record(failure)) + "\n")
    else:
        sys.stderr.write(f"bitbacker: error: {escaped(failure.message)}\n")
        if failure.hint:
            sys.stderr.write(f"hint: {escaped(failure.hint)}\n")
    if verbose and (failure.bug or error.__cause__ is not None):
        # Without local variables, which may hold secrets.
        traceback.print_exception(error, file=sys.stderr)
    sys.stderr.flush()
    return failure.exit_code


def _record(failure: Failure) -> dict[str, object]:
    return {
        "message_type": "error",
        "code": failure.code,
        "exit_code": failure.exit_code,
        "message": escaped(failure.message),
        "hint": escaped(failure.hint),
    }
