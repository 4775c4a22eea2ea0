"""`pipeline run`."""

from typing import Annotated

import typer


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
    from pipeline.operators.topics import chosen
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
