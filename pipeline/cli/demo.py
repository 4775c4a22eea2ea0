"""`pipeline demo`."""

from typing import Annotated

import typer

from pipeline.cli.options import Json


def demo(
    real: Annotated[
        bool, typer.Option("--real", help="Ask the real API; needs ANTHROPIC_API_KEY, costs money.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep all of it running afterwards, until stopped.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the main job on this machine: samples in, enriched records out, all accounted for."""
    from pipeline.config import load_settings
    from pipeline.local import demo as presentation
    from pipeline.runtime import console

    settings = load_settings()
    summary = console.run_until_stopped(
        lambda stop: presentation.present(settings, stop, real=real, keep=keep, json=json)
    )
    if not summary.ok:
        raise typer.Exit(console.FAILED)
