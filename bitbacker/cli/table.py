"""The words of the command line, where their functions are, and what the help says of them.

Listing and completing words needs this table only; a function's module is imported when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A command, or a group of them when it has `words`.

    `target` is `module:function`; its docstring is the help.  A group has its help here, as `text`.
    """

    name: str
    summary: str
    target: str = ""
    words: tuple[Word, ...] = ()
    text: str = ""


WORDS = (
    Word("init", "Make a new repository.", "bitbacker.cli.commands.init:init"),
    Word("backup", "Back up paths or a configured source.", "bitbacker.cli.commands.backup:backup"),
    Word("run", "Do everything that the configuration says.", "bitbacker.cli.commands.run:run"),
    Word("snapshots", "List snapshots.", "bitbacker.cli.commands.snapshots:snapshots"),
    Word("ls", "List the files of a snapshot.", "bitbacker.cli.commands.ls:ls"),
    Word("restore", "Write files of a snapshot into a directory.", "bitbacker.cli.commands.restore:restore"),
    Word("dump", "Write one file of a snapshot to standard output.", "bitbacker.cli.commands.dump:dump"),
    Word(
        "forget",
        "Remove snapshots by name or by rules.",
        "bitbacker.cli.commands.forget:forget",
    ),
    Word("prune", "Free the space that no snapshot needs.", "bitbacker.cli.commands.prune:prune"),
    Word("check", "Prove that the repository is whole.", "bitbacker.cli.commands.check:check"),
    Word("stats", "Show how big the repository is.", "bitbacker.cli.commands.stats:stats"),
    Word(
        "witness",
        "Print a line that detects a rollback, or check one.",
        "bitbacker.cli.commands.witness:witness",
    ),
    Word("leaks", "Show what the storage has learnt so far.", "bitbacker.cli.commands.leaks:leaks"),
    Word(
        "key",
        "Manage passwords and recovery codes.",
        words=(
            Word(
                "add",
                "Add a password or a recovery code.",
                "bitbacker.cli.commands.key:add",
            ),
            Word("list", "List passwords and recovery codes.", "bitbacker.cli.commands.key:list_"),
            Word("remove", "Remove a password or a recovery code.", "bitbacker.cli.commands.key:remove"),
        ),
        text="""
Manage passwords and recovery codes.

Each of them opens the same repository; there is room for seven.

Examples:
  bitbacker key list
  bitbacker key add --label laptop
  bitbacker key add --recovery-code
""",
    ),
    Word("plugins", "List the plugins that are installed.", "bitbacker.cli.commands.plugins:plugins"),
    Word(
        "config",
        "Check and show the configuration.",
        words=(
            Word("check", "Check the configuration and its plugins.", "bitbacker.cli.commands.config:check"),
            Word("show", "Show every value that holds.", "bitbacker.cli.commands.config:show"),
        ),
        text="""
Check and show the configuration.

It is the file that --config names, else BITBACKER_CONFIG, else bitbacker.toml in this directory, in
the user's configuration directory, or in /etc/bitbacker.

Examples:
  bitbacker config check
  bitbacker --config bitbacker.toml config show
""",
    ),
    Word("explain", "Say why a path is backed up or not.", "bitbacker.cli.commands.explain:explain"),
)
