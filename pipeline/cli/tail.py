"""`pipeline tail`."""

from typing import Annotated

import typer


def tail(
    name: Annotated[str, typer.Argument(help="A stage, for its results, or a topic.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until stopped.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Begin with what comes from now on.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Records at most.")
    ] = None,
    pretty: Annotated[bool, typer.Option("--pretty", help="Indent.")] = False,
) -> None:
    """Print enriched records, or those of any topic, as JSON Lines."""
    from pipeline.config import load_settings
    from pipeline.operators import tail as tailing
    from pipeline.runtime import console

    settings = load_settings()
    reading = tailing.tail(
        settings,
        tailing.topic_of(settings, name),
        console.line,
        start="end" if new else "beginning",
        follow=follow or new,
        limit=limit,
        pretty=pretty,
    )
    console.run_endless(reading) if follow or new else console.run(reading)
