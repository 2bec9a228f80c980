"""Keys and seals: docs/format.md sections 3, 10 and 11.  Pure; ciphers come in by the plugin contract."""

from __future__ import annotations
