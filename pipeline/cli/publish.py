"""`pipeline publish`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Json


def publish(
    stage: Annotated[str, typer.Argument(help="Whose raw topic: tickets, invoices, images, ...")],
    paths: Annotated[
        list[Path], typer.Argument(help="JSON Lines, files, folders, or - for standard input.")
    ],
    key_field: Annotated[
        str, typer.Option(help="Field of a JSON event that becomes the record's key.")
    ] = "id",
    validate: Annotated[
        bool, typer.Option("--validate/--no-validate", help="Leave out what the stage cannot take.")
    ] = True,
    json: Json = False,
) -> None:
    """Put raw events on a stage's topic."""
    from pipeline.config import load_settings
    from pipeline.observe.logging import configure_logging
    from pipeline.operators import publish as publishing
    from pipeline.runtime import console
    from pipeline.stages.api import stage_named

    settings = load_settings()
    configure_logging(settings.log)
    the_stage = stage_named(settings.stages, stage)
    items = publishing.read_items(paths, key_field=key_field)
    with console.progress("Publishing", publishing.count_items(paths)) as done:
        result = console.run(
            publishing.publish(settings, the_stage, items, validate=validate, on_done=done)
        )
    for refusal in result.refusals:
        console.note(f"{refusal.place}: {refusal.reason}: {refusal.detail}")
    if json:
        console.as_json(result)
    else:
        console.line(f"{result.published} published to {result.topic}, {result.refused} refused")
    if result.refused:
        raise typer.Exit(console.FAILED)
