"""`python -m bitbacker` is the command `bitbacker`."""

from __future__ import annotations

from bitbacker.cli.entry import main

main()
