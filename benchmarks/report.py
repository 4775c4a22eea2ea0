"""Where measurements say what they came to: the terminal, and a section of a document."""

import argparse
import asyncio
import json
import os
import platform
import re
import sys
from collections.abc import Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.goals import Goal, Part, Table

DOCUMENT = Path(__file__).parents[1] / "docs" / "GATEWAY.md"
_SECTION = "<!-- measured: {name} -->\n{text}<!-- end: {name} -->\n"


def parser(name: str, about: str | None, *, document: Path = DOCUMENT) -> argparse.ArgumentParser:
    """The command line that all parts share."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--write", action="store_true", help=f"put what was measured into docs/{document.name}"
    )
    return made


def conclude(work: Coroutine[None, None, Part], *, write: bool, document: Path = DOCUMENT) -> int:
    """Run a part, say what it came to, and return its exit code: 0 where every goal is held.

    Args:
        work: The part.
        write: Whether its section of the document is written again.
        document: That has the section, or gets it at its end.
    """
    part = asyncio.run(work)
    if write:
        write_section(part, document)
    show(part)
    return 0 if part.ok else 1


def show(part: Part) -> None:
    """Print tables and goals, and one JSON object as the last line."""
    write = sys.stdout.write
    write(f"{part.title}\n\n")
    for table in part.tables:
        write(_aligned(table) + "\n")
    for goal in part.goals:
        write(f"{_verdict(goal):<6} {goal.what}: {goal.found} (wanted: {goal.wanted})\n")
    write(json.dumps(part.as_json()) + "\n")
    sys.stdout.flush()


def write_section(part: Part, document: Path = DOCUMENT) -> None:
    """Put a part into a document, in place of what was there of it."""
    section = _SECTION.format(name=part.name, text=_markdown(part))
    text = document.read_text()
    name = re.escape(part.name)
    pattern = re.compile(rf"<!-- measured: {name} -->\n.*?<!-- end: {name} -->\n", re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: section, text)
    else:
        text = f"{text.rstrip()}\n\n{section}"
    document.write_text(text)


def machine() -> str:
    """What it was measured on, and when."""
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    python = platform.python_version()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"Measured {moment}: {os.cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" Python {python}, load average {load} at the end."
    )


def _markdown(part: Part) -> str:
    command = f"`python -m benchmarks.{part.name}`"
    pieces = [
        f"## {part.title}",
        part.about,
        f"{command}. {machine()}",
        *(_markdown_table(table.headings, table.rows) for table in part.tables),
        _markdown_table(
            ("goal", "wanted", "found", ""),
            [(goal.what, goal.wanted, goal.found, _verdict(goal)) for goal in part.goals],
        ),
        *part.remarks,
    ]
    return "\n\n".join(pieces) + "\n"


def _markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _aligned(table: Table) -> str:
    lines = [table.headings, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headings))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def _verdict(goal: Goal) -> str:
    return "held" if goal.held else "MISSED"
