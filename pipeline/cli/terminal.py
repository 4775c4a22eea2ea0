"""What every command needs when it runs, and nothing before: it takes long to import."""

from collections.abc import Iterable

from pipeline.config import load_settings
from pipeline.runtime import console

__all__ = ["console", "load_settings", "output"]


def output(document: object, lines: Iterable[str], *, json: bool) -> None:
    """Print what a command found: as JSON for a program, else line by line."""
    if json:
        console.as_json(document)
        return
    for line in lines:
        console.line(line)
