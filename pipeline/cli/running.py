"""`pipeline run` and `pipeline backfill`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Json


def run(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Which; those of the setting `enabled` if none.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes, restarted when they die.")
    ] = 1,
    json: Annotated[
        bool, typer.Option("--json", help="Say in JSON where the dashboard is, once all is up.")
    ] = False,
) -> None:
    """Consume, ask, publish: the pipeline itself, until stopped."""
    from pipeline.app import Running
    from pipeline.config import load_settings
    from pipeline.observe.logging import configure_logging
    from pipeline.operators.inspection import chosen
    from pipeline.runtime import console
    from pipeline.runtime.process import collect_seldom
    from pipeline.workers.fleet import ends_within, serve

    settings = load_settings()
    configure_logging(settings.log)
    served = chosen(settings, stages)

    def announce(running: Running) -> None:
        if json:
            console.as_json({"dashboard": running.address, "delivery": running.delivery,
                             "because": running.why, "stages": served})  # fmt: skip
        else:
            console.note(f"{', '.join(served)}: {running.delivery.replace('_', ' ')}, because "
                         f"{running.why} The dashboard is at {running.address}")  # fmt: skip

    collect_seldom()
    code = console.run_until_stopped(
        lambda stop: serve(settings, served, stop, workers=workers, announce=announce),
        ends_within=ends_within(settings, workers),
    )
    raise typer.Exit(code)


def backfill(
    stage: Annotated[str, typer.Argument(help="Whose events: tickets, invoices, images, ...")],
    file: Annotated[
        Path | None,
        typer.Argument(help="JSON Lines, a file or a folder; the stage's topic if none."),
    ] = None,
    *,
    key_field: Annotated[
        str, typer.Option(help="Field of a file's JSON event that becomes the record's key.")
    ] = "id",
    normal_lane: Annotated[
        bool,
        typer.Option(
            "--normal-lane",
            help="Ask at full price what was claimed and is in no batch, or in one that is lost.",
        ),
    ] = False,
    http: Annotated[
        bool, typer.Option("--http", help="Serve the dashboard and /metrics meanwhile.")
    ] = False,
    json: Json = False,
) -> None:
    """Enrich a topic's backlog, or a file, through message batches at half the price.

    It may be stopped or killed at any time: started again it goes on where it was.
    """
    from pipeline.backfill.attempt import Wish
    from pipeline.backfill.attempt import backfill as do
    from pipeline.backfill.progress import document_of, on_terminal, sentence
    from pipeline.config import load_settings
    from pipeline.observe.logging import configure_logging
    from pipeline.runtime import console

    settings = load_settings()
    configure_logging(settings.log)
    wish = Wish(stage, file, key_field, normal_lane)
    with console.progress(f"Backfilling {stage}") as bar:
        watcher = on_terminal(bar, console.note)
        report = console.run_until_stopped(
            lambda stop: do(settings, wish, watcher, stop, http=http)
        )
    if json:
        console.as_json(document_of(report))
    else:
        console.line(sentence(report))
    if not report.done:
        raise typer.Exit(console.FAILED)
