"""The commands, nothing else: one file each.

Each imports what it needs when it runs, so that `--help` and completion are quick.
"""

from pipeline.cli.entry import app, main, program

__all__ = ["app", "main", "program"]
