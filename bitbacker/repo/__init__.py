"""A repository over a transport: one module per verb."""

from __future__ import annotations
