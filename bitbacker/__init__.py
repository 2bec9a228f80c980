"""BitBacker: encrypted, deduplicating, leak-free backup, made of plugins."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
