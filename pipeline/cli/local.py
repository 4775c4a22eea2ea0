"""`pipeline local`."""

from pathlib import Path
from typing import Annotated

import typer


def local(
    *,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="After --: a command to run with the environment set; both end together."
        ),
    ] = None,
    kafka_port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    broker: Annotated[
        str, typer.Option(help="noida (comes along) or kafka (needs Java 17+ and mvn).")
    ] = "noida",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong in the API, e.g. overloaded:0.1; may be repeated."),
    ] = None,
    encoder: Annotated[
        bool,
        typer.Option(
            "--encoder", help="Simulated answers choose labels by meaning (extra `encoder`)."
        ),
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(help="Write the variables there while it runs, to be read with `. PATH`."),
    ] = None,
) -> None:
    """Run the embedded broker and the simulated API, for a command or until stopped."""
    from pipeline.config import load_settings
    from pipeline.local.environment import local_environment, serve
    from pipeline.runtime import console
    from pipeline.stages.checks.scope import require_encoder

    if encoder:
        require_encoder()
    settings = load_settings()
    environment = local_environment(
        settings,
        broker=broker,
        kafka_port=kafka_port,
        api_port=api_port,
        faults=fault or (),
        api_options=["--encoder"] if encoder else (),
    )
    code = console.run_until_stopped(
        lambda stop: serve(
            environment, stop, console.line, command=command or (), env_file=env_file
        )
    )
    raise typer.Exit(code)
