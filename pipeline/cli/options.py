"""Arguments and options that several commands have."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
APlace = Annotated[str, typer.Argument(help="PARTITION:OFFSET, as `list` prints it.")]
Key = Annotated[str | None, typer.Option("--key", help="Its record's key.")]
Since = Annotated[
    str | None, typer.Option("--since", help="2026-11-22T10:00 (UTC), or how long ago: 15m, 2h.")
]
Until = Annotated[str | None, typer.Option("--until", help="The same; before that.")]
Newest = Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest of them.")]
