"""Finds, loads and checks plugins: only what is named is ever imported.

`catalog` lists what is installed and imports nothing.  `Host` returns the class of one plugin by its
name.  `Fanout` tells every notifier what happened.
"""

from __future__ import annotations

from bitbacker.host.catalog import Kind, Plugin, catalog
from bitbacker.host.fanout import Fanout
from bitbacker.host.load import Host

__all__ = ["Fanout", "Host", "Kind", "Plugin", "catalog"]
