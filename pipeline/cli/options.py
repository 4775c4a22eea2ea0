"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Strings = list[str] | None
OptionalPath = Path | None
Json = Annotated[bool, Option("--json", help="Print JSON, for programs.")]
APlace = Annotated[str, Argument(help="PARTITION:OFFSET, as `list` prints it.")]
KeyField = Annotated[str, Option(help="Field of a JSON event that becomes the record's key.")]
Key = Annotated[str | None, Option("--key", help="Its record's key.")]
Since = Annotated[str | None, Option("--since", help="2026-11-22T10:00 (UTC), or 15m, 2h ago.")]
Until = Annotated[str | None, Option("--until", help="The same; before that.")]
Newest = Annotated[int, Option("--limit", "-n", min=1, help="The newest of them.")]
As = Annotated[str | None, Option("--as", metavar="NAME", help="Who you are, for the audit topic.")]
