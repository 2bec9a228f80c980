"""What became of each entry of a restore."""

from __future__ import annotations

from collections.abc import Callable

from bitbacker.engine.observe import Observer, Progress
from bitbacker.engine.restore_plan import RestorePlan
from bitbacker.engine.target import end_of_target
from bitbacker.errors import FormatError, TargetError


class Ledger:
    """Counts what is made, and tells the observer what is not.

    `over` says of each entry that nothing more is to be done for it; `absent` entries could not be
    made, and of those `lost` ones because their content is damaged or missing.
    """

    def __init__(self, plan: RestorePlan, observer: Observer) -> None:
        self._plan = plan
        self._observer = observer
        self.over = bytearray(plan.settled)
        self.absent: set[int] = set()
        self.lost: set[int] = set()
        self.files = 0
        self.bytes = 0
        self.problems = 0

    def begin(self) -> None:
        """Tell what is expected, and what is lost already."""
        self._observer.expected(self._plan.files, self._plan.size_bytes)
        for loss in self._plan.losses:
            self._complain(loss.path, loss.text)

    def attempt(self, entry: int, action: Callable[[int], str]) -> None:
        """Do something with an entry; what goes wrong is its problem alone.  Raises `TargetError`."""
        try:
            problem = action(entry)
        except (OSError, FormatError) as error:
            self.failed(entry, error)
        else:
            if problem:
                self.warn(entry, problem)

    def failed(self, entry: int, error: OSError | FormatError) -> None:
        """An entry could not be made.  Raises `TargetError` when no other could be either."""
        self.over[entry] = True
        self.absent.add(entry)
        if isinstance(error, FormatError):
            self.lost.add(entry)
            self.warn(entry, error.message)
            return
        if why := end_of_target(error):
            raise TargetError(f"{self._plan.target} takes no more: {why}") from error
        self.warn(entry, f"cannot be restored: {error.strerror or error}")

    def warn(self, entry: int, text: str) -> None:
        """Something is wrong with an entry, which may be there all the same."""
        self._complain(self._plan.entries.path(entry), text)

    def note(self, entry: int, text: str) -> None:
        """Something is worth knowing about an entry."""
        path = self._plan.entries.path(entry).decode("utf-8", "backslashreplace")
        self._observer.note(f"/{path}: {text}")

    def progress(self, entry: int) -> None:
        """Tell how far it is; `entry` is the one that was worked on."""
        path = self._plan.entries.path(entry).decode("utf-8", "backslashreplace")
        self._observer.progress(Progress(self.files, self.bytes, path))

    def _complain(self, path: bytes, text: str) -> None:
        self.problems += 1
        self._observer.problem(b"/" + path, text)
