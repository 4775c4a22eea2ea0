"""`pipeline lag`."""

from typing import Annotated

import typer

from pipeline.cli.options import Json


def lag(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Which; the enabled ones if none.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until stopped.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    json: Json = False,
) -> None:
    """Show how far each stage is behind, by topic and partition."""
    from pipeline.config import load_settings
    from pipeline.operators import lag as lagging
    from pipeline.runtime import console

    def show(found: list[lagging.StageLag]) -> None:
        if json:
            console.as_json(found)
            return
        if watch:
            console.clear()
        console.table(lagging.HEADINGS, lagging.rows(found))
        for note in lagging.notes(found):
            console.note(note)

    samples = lagging.lags(load_settings(), stages, interval=interval)
    if watch:
        console.run_endless(lagging.show_all(samples, show))
    else:
        console.run(lagging.show_once(samples, show))
