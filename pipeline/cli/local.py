"""`pipeline local`."""

from typing import Annotated

import typer


def local(
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
) -> None:
    """Run only the embedded broker and the simulated API, until stopped."""
    from pipeline.config import load_settings
    from pipeline.local.environment import serve
    from pipeline.runtime import console
    from pipeline.stages.checks.scope import require_encoder

    if encoder:
        require_encoder()
    settings = load_settings()
    console.run_until_stopped(
        lambda stop: serve(
            settings,
            stop,
            console.line,
            broker=broker,
            kafka_port=kafka_port,
            api_port=api_port,
            faults=fault or (),
            api_options=["--encoder"] if encoder else (),
        )
    )
