"""Builds the C extension; everything else about this distribution is in pyproject.toml.

It is a file of its own because one question has to be answered at build time: the limited API knows
buffers from Python 3.11 on, and free-threaded builds have none.  Where it can be used, one wheel
serves all later versions; elsewhere the same source makes an extension for that version alone.
"""

from __future__ import annotations

import sys
import sysconfig

from setuptools import Extension, setup

limited = sys.version_info >= (3, 11) and not sysconfig.get_config_var("Py_GIL_DISABLED")

FOLDER = "plugins/bitbacker_plugins/gear"
SOURCES = ["_scan.c", "_sizes.c", "_gear.c", "_toeplitz.c", "_toeplitz_x86.c", "_aes.c"]
HEADERS = ["_sizes.h", "_gear.h", "_toeplitz.h", "_toeplitz_lanes.h", "_aes.h"]

scan = Extension(
    "bitbacker_plugins.gear._scan",
    [f"{FOLDER}/{name}" for name in SOURCES],
    depends=[f"{FOLDER}/{name}" for name in HEADERS],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if limited else [],
    extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
    py_limited_api=limited,
    # Without a compiler the NumPy version of the same function is used.
    optional=True,
)

setup(ext_modules=[scan], options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {})
