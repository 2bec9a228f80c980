"""Plugins that are one Python file beside the configuration."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType

from bitbacker.errors import PluginError


def import_file(path: str) -> ModuleType:
    """Run the file and return it as a module.  Raises `PluginError`."""
    if not Path(path).is_file():
        raise PluginError(
            f"the plugin file {path} does not exist", hint="see plugins = [...] in bitbacker.toml"
        )
    name = f"bitbacker_file_{Path(path).stem}_{zlib.crc32(path.encode(errors='surrogateescape')):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"the plugin file {path} is not a Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up the module of a class here to understand its annotations.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(
            f"the plugin file {path} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return module
