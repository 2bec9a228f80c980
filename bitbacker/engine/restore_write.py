"""Writing the content of files as it is delivered."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitbacker.engine.restore_fetch import Delivery
from bitbacker.engine.restore_holes import Layout
from bitbacker.engine.restore_ledger import Ledger
from bitbacker.engine.restore_plan import RestorePlan
from bitbacker.engine.target import Target
from bitbacker.engine.target_files import PendingFiles
from bitbacker.engine.target_metadata import Attributes
from bitbacker.errors import FormatError
from bitbacker.format.entries import MARK_CHANGED_WHILE_READ


class ContentWriter:
    """Files of one chunk are made in one go, others as their chunks come, in any order."""

    def __init__(self, plan: RestorePlan, target: Target, pending: PendingFiles, ledger: Ledger) -> None:
        self._plan = plan
        self._entries = plan.entries
        self._target = target
        self._pending = pending
        self._ledger = ledger
        self._remaining: dict[int, int] = {}
        self._layouts: dict[int, Layout] = {}
        self._simple = (np.diff(plan.entries.first_chunk) == 1) & ~plan.with_holes
        self._changed = (plan.entries.marks & MARK_CHANGED_WHILE_READ) > 0

    def deliver(self, delivery: Delivery) -> None:
        """Write the chunks of one block.  Raises `TargetError`."""
        numbers = self._plan.chunks.entry[delivery.chunks]
        over = self._ledger.over
        simple = self._simple[numbers].tolist()
        positions = self._plan.chunks.position[delivery.chunks].tolist()
        several = zip(numbers.tolist(), positions, simple, delivery.data, strict=True)
        attributes = self._attributes(numbers)
        for (entry, position, alone, data), own in zip(several, attributes, strict=True):
            if over[entry]:
                continue
            if data is None:
                self._failed(entry, FormatError(delivery.problem))
                continue
            try:
                if alone:
                    self._write_whole(entry, data, own)
                else:
                    self._write_piece(entry, position, data)
            except (OSError, FormatError) as error:
                self._failed(entry, error)
        self._ledger.progress(int(numbers[-1]))

    def make_empty(self, entry: int) -> str:
        """Make a file without content, which may still have a size: all of it one hole."""
        parent, name = self._entries.parent(entry), self._entries.name(entry)
        attributes = self._entries.attributes(entry)
        if not self._plan.sizes[entry]:
            problem = self._target.write_file(parent, name, b"", attributes)
        else:
            self._pending.begin(entry, parent, name, int(self._plan.sizes[entry]))
            problem = self._pending.finish(entry, attributes)
        self._finished(entry, problem)
        return ""

    def _attributes(self, numbers: npt.NDArray[np.uint32]) -> list[Attributes]:
        rows = self._entries.rows[numbers]
        columns = (rows[name].tolist() for name in ("mode", "uid", "gid", "mtime_ns"))
        return list(map(Attributes, *columns))

    def _failed(self, entry: int, error: OSError | FormatError) -> None:
        self._pending.abandon(entry)
        self._ledger.failed(entry, error)

    def _write_whole(self, entry: int, data: memoryview, attributes: Attributes) -> None:
        entries = self._entries
        if entry in entries.raw_extras:
            attributes = entries.attributes(entry)
        problem = self._target.write_file(entries.parent(entry), entries.name(entry), data, attributes)
        self._ledger.bytes += len(data)
        self._finished(entry, problem)

    def _write_piece(self, entry: int, position: int, data: memoryview) -> None:
        if entry not in self._pending:
            self._begin(entry)
        layout = self._layouts.get(entry)
        if layout is None:
            self._pending.write(entry, data, position)
        else:
            for offset, part in layout.place(position, data):
                self._pending.write(entry, part, offset)
        self._ledger.bytes += len(data)
        self._remaining[entry] -= 1
        if not self._remaining[entry]:
            del self._remaining[entry]
            self._layouts.pop(entry, None)
            self._finished(entry, self._pending.finish(entry, self._entries.attributes(entry)))

    def _begin(self, entry: int) -> None:
        extents = self._entries.extras(entry).extents
        size = None
        if extents is not None:
            self._layouts[entry] = Layout(extents)
            size = int(self._plan.sizes[entry])
        self._pending.begin(entry, self._entries.parent(entry), self._entries.name(entry), size)
        chunks = self._entries.first_chunk[entry : entry + 2]
        self._remaining[entry] = int(chunks[1] - chunks[0])

    def _finished(self, entry: int, problem: str) -> None:
        self._ledger.over[entry] = True
        self._ledger.files += 1
        if problem:
            self._ledger.warn(entry, problem)
        if self._changed[entry]:
            self._ledger.note(entry, "was being written while it was backed up")
