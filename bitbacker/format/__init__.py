"""Bytes to values and back, as docs/format.md says: pure functions, no I/O, no keys."""

from __future__ import annotations
